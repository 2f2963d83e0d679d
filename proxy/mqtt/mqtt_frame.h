// Where one MQTT packet ends and the next begins, in the stream from the broker to the client: what a proxy
// that ends a session must know before it can say DISCONNECT (MQTT 5.0, sections 2.1 and 3.14). Pure; a few
// bytes of state; reads only the fixed headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sallyport {

class MqttFraming {
 public:
  void advance(std::span<const std::uint8_t> bytes);
  // No packet is open; also before the first. False for ever once a length field was malformed.
  bool at_boundary() const { return step_ == Step::Header; }
  bool any_packet() const { return any_; }  // at least the first byte of one has passed
  // How many of the `bytes` that follow belong to the packet now open.
  std::size_t rest_of_packet(std::span<const std::uint8_t> bytes) const;

 private:
  enum class Step : std::uint8_t { Header, Length, Body, Lost };
  Step step_ = Step::Header;
  bool any_ = false;
  std::uint8_t shift_ = 0;
  std::uint32_t missing_ = 0;
};

// A DISCONNECT of MQTT 5 with a reason code. `out` takes at least 3 bytes; returns the length.
std::size_t write_disconnect(std::uint8_t reason_code, std::span<std::uint8_t> out);

// A DISCONNECT, or a CONNACK that refuses, which sends the client elsewhere (sections 3.14.2.2.5, 3.2.2.3.16 and 4.11);
// `out` takes kMovedBytes and the text.
enum class MovedBy : std::uint8_t { Connack, Disconnect };
std::size_t write_moved(MovedBy packet, std::string_view server_reference, std::span<std::uint8_t> out);

inline constexpr std::size_t kMovedBytes = 16;
inline constexpr std::size_t kLongestReference = 1024;
inline constexpr std::uint8_t kServerShuttingDown = 0x8B;
inline constexpr std::uint8_t kAdministrativeAction = 0x98;

}  // namespace sallyport
