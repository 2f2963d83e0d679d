// A plain MQTT endpoint that answers and forgets: where a real broker would be what is measured. CONNECT, SUBSCRIBE,
// PINGREQ and QoS 1 publishes are acknowledged, everything else is counted. A subscription to "down/BYTES" is answered
// with that many bytes of payload in publishes of 64 KiB. One thread.
#pragma once

#include <string>

namespace load {

// Serves until SIGTERM or SIGINT; prints "listening on HOST:PORT" when it does.
int run_sink(const std::string& listen);

}  // namespace load
