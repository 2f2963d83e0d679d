// Any bytes as a first packet, whole and in two pieces: the verdict never depends on where it was cut once
// it is final, nothing is read outside, and no accepted packet is larger than allowed.
#include <cstddef>
#include <cstdint>
#include <span>

#include "proxy/mqtt/mqtt_connect.h"

using sallyport::ConnectProgress;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kMax = 4096;
  const std::span<const std::uint8_t> all(data, size);
  const ConnectProgress whole = sallyport::parse_connect(all, kMax);
  if (whole.state == ConnectProgress::State::Complete) {
    if (whole.connect.packet_bytes > size || whole.connect.packet_bytes > kMax) __builtin_trap();
    const auto* begin = reinterpret_cast<const char*>(data);
    const std::string_view id = whole.connect.client_id;
    if (!id.empty() && (id.data() < begin || id.data() + id.size() > begin + size)) __builtin_trap();
  }
  const ConnectProgress half = sallyport::parse_connect(all.first(size / 2), kMax);
  if (half.state == ConnectProgress::State::Refused && whole.state == ConnectProgress::State::Complete)
    __builtin_trap();
  if (half.state == ConnectProgress::State::Complete && whole.state != ConnectProgress::State::Complete)
    __builtin_trap();
  return 0;
}
