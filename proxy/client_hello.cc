#include "proxy/client_hello.h"

#include <cstddef>

namespace sallyport {

namespace {

constexpr std::size_t kKeyName = 16;
constexpr std::uint8_t kHandshakeRecord = 22, kClientHello = 1;
constexpr std::size_t kSessionTicket = 35, kPreSharedKey = 41;

// Takes fields off the front; once something is missing, everything is.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  std::span<const std::uint8_t> take(std::size_t n) {
    if (n > rest_.size()) {
      rest_ = {};
      return {};
    }
    const auto taken = rest_.first(n);
    rest_ = rest_.subspan(n);
    return taken;
  }
  std::size_t number(std::size_t bytes) {
    std::size_t value = 0;
    for (const std::uint8_t byte : take(bytes)) value = value << 8 | byte;
    return value;
  }
  // A vector with its length in front: RFC 8446, section 3.4.
  std::span<const std::uint8_t> vector(std::size_t length_bytes) { return take(number(length_bytes)); }
  bool empty() const { return rest_.empty(); }

 private:
  std::span<const std::uint8_t> rest_;
};

}  // namespace

std::span<const std::uint8_t> offered_ticket_key(std::span<const std::uint8_t> bytes) {
  Reader record(bytes);
  if (record.number(1) != kHandshakeRecord) return {};
  record.take(2);  // the record's version says nothing: RFC 8446, section 5.1
  Reader message(record.vector(2));
  if (message.number(1) != kClientHello) return {};
  Reader hello(message.vector(3));
  hello.take(2 + 32);  // legacy_version and random
  hello.vector(1);     // legacy_session_id
  hello.vector(2);     // cipher_suites
  hello.vector(1);     // legacy_compression_methods
  Reader extensions(hello.vector(2));
  std::span<const std::uint8_t> found;
  while (!extensions.empty()) {
    const std::size_t type = extensions.number(2);
    const auto content = extensions.vector(2);
    if (type == kSessionTicket && content.size() >= kKeyName) found = content.first(kKeyName);
    if (type == kPreSharedKey) {
      Reader identities(Reader(content).vector(2));
      const auto identity = identities.vector(2);
      if (identity.size() >= kKeyName) return identity.first(kKeyName);
    }
  }
  return found;
}

}  // namespace sallyport
