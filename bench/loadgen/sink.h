// A plain MQTT endpoint that answers and forgets: where a real broker would be what is measured. CONNECT, SUBSCRIBE,
// PINGREQ and QoS 1 publishes are acknowledged, everything else is counted. A subscription to "down/BYTES" is answered
// with that many bytes of payload in publishes of 64 KiB. One thread.
#pragma once

#include <cstdint>
#include <string>

namespace load {

// What a client must say of who is behind it, or it is left: nothing; a PROXY header, v1 or v2, before its CONNECT; a
// user name in its CONNECT.
enum class Expects : std::uint8_t { Nothing, Proxy, UserName };

// Serves until SIGTERM or SIGINT; prints "listening on HOST:PORT" when it does.
int run_sink(const std::string& listen, Expects expects);

}  // namespace load
