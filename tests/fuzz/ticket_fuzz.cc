// Any bytes as a ticket's content and as a stream of MQTT packets: what is taken apart is put together the same.
#include <cstdint>
#include <span>
#include <string_view>

#include "proxy/mqtt/mqtt_frame.h"
#include "proxy/tls/ticket.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto ticket = sallyport::decode_ticket(bytes)) {
    const std::string again = sallyport::encode_ticket(*ticket);
    const auto back = sallyport::decode_ticket(again);
    if (!again.empty() && (!back || back->listener != ticket->listener || back->chain_id != ticket->chain_id)) {
      __builtin_trap();
    }
  }
  // Cut anywhere, a stream has the same boundaries.
  sallyport::MqttFraming whole, parts;
  whole.advance({data, size});
  const std::size_t cut = size == 0 ? 0 : data[0] % size;
  parts.advance({data, cut});
  const std::size_t rest = parts.rest_of_packet({data + cut, size - cut});
  if (rest > size - cut) __builtin_trap();
  parts.advance({data + cut, size - cut});
  if (whole.at_boundary() != parts.at_boundary()) __builtin_trap();
  return 0;
}
