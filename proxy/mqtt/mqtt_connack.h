// What a broker's first bytes say about its answer to a CONNECT: whether it is the broker's word, which goes to the
// client, or that another server should be asked (MQTT 3.1.1, section 3.2.2.3; 5.0, section 3.2.2.2). Pure; looks at
// eight bytes at most.
#pragma once

#include <cstdint>
#include <span>

#include "proxy/mqtt/mqtt_connect.h"

namespace sallyport {

enum class BrokerWord : std::uint8_t {
  NeedMore,
  Spoken,       // a CONNACK that lets the client in or refuses it, or an AUTH of MQTT 5: the client's to read
  Unavailable,  // a CONNACK that says that this server is unavailable, busy or has moved
  NotMqtt,      // neither
};

BrokerWord broker_word(MqttVersion version, std::span<const std::uint8_t> said);

}  // namespace sallyport
