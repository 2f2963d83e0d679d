// What does it cost to read an MQTT CONNECT, in 3.1.1 and in 5, small and with a large will? And to write it anew with
// the identity of a certificate in it?
//
// Expected, from the pieces: it copies and allocates nothing, so a small packet is a few dozen branches and the check
// of its strings as UTF-8, about a nanosecond a byte: 50 ns, and 100 ns with the properties of MQTT 5. The will's
// payload is skipped, so 16 KB of it cost what its topic and its properties cost, another 50 ns. A refusal needs only
// the bytes it is about: below 20 ns. None of it matters beside a handshake of 400 us.
// Writing it anew reads it once more, makes two or three short strings from the identity, and copies: half a
// microsecond; with 64 hex digits for each of the two ids of the user properties 1 us. Allowed are 3 us.
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bench/scale.h"
#include "proxy/config/identity_template.h"
#include "proxy/mqtt/connect_rewrite.h"
#include "proxy/mqtt/mqtt_connect.h"

namespace sallyport::bench {
namespace {

using namespace std::string_literals;
using State = ConnectProgress::State;

constexpr std::size_t kMostBytes = 64 * 1024;
constexpr std::size_t kLargeWill = 16 * 1024;
constexpr char kWillAndName = '\x86';  // user name, a will, clean start

std::string field(const std::string& text) {
  return std::string{static_cast<char>(text.size() >> 8), static_cast<char>(text.size() & 0xFF)} + text;
}
std::string counted(const std::string& body) {
  std::string out;
  std::size_t n = body.size();
  do {
    out += static_cast<char>(n % 128 | (n > 127 ? 0x80 : 0));
    n /= 128;
  } while (n > 0);
  return out + body;
}
std::string packet(const std::string& body) {
  return "\x10" + counted(body);
}
std::string head(char level, char flags) {
  return field("MQTT") + std::string{level, flags, 0, 60};
}

std::string small_v311() {
  return packet(head(4, '\x82') + field("meter-00004711") + field("plant-7"));
}
std::string large_will_v311() {
  return packet(head(4, kWillAndName) + field("meter-00004711") + field("plant-7/meter-00004711/state") +
                field(std::string(kLargeWill, 'w')) + field("plant-7"));
}
// Session expiry, receive maximum, and two user properties.
std::string properties() {
  const std::string user = "\x26" + field("firmware") + field("4.7.11") + "\x26" + field("site") + field("plant-7");
  return counted("\x11\x00\x00\x0E\x10"s + "\x21\x00\x20"s + user);
}
std::string small_v5() {
  return packet(head(5, '\x82') + properties() + field("meter-00004711") + field("plant-7"));
}
std::string large_will_v5() {
  // Will delay, payload format indicator, content type.
  const std::string will = counted("\x18\x00\x00\x00\x1E"s + "\x01\x01"s + "\x03" + field("text/plain"));
  return packet(head(5, kWillAndName) + properties() + field("meter-00004711") + will +
                field("plant-7/meter-00004711/state") + field(std::string(kLargeWill, 'w')) + field("plant-7"));
}

void parse(benchmark::State& state, const std::string& bytes, ConnectProgress::State expected) {
  const std::span<const std::uint8_t> all(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  for (auto _ : state) {
    auto view = all;
    benchmark::DoNotOptimize(view);
    const ConnectProgress progress = parse_connect(view, kMostBytes);
    if (progress.state != expected) {
      state.SkipWithError("another outcome than expected");
      break;
    }
  }
  state.SetLabel(std::to_string(bytes.size()) + " bytes");
}
BENCHMARK_CAPTURE(parse, small_v311, small_v311(), State::Complete);
BENCHMARK_CAPTURE(parse, large_will_v311, large_will_v311(), State::Complete);
BENCHMARK_CAPTURE(parse, small_v5, small_v5(), State::Complete);
BENCHMARK_CAPTURE(parse, large_will_v5, large_will_v5(), State::Complete);
BENCHMARK_CAPTURE(parse, half_of_large_will_v5, large_will_v5().substr(0, kLargeWill / 2), State::NeedMore);
BENCHMARK_CAPTURE(parse, http_refused, "GET / HTTP/1.1\r\n\r\n"s, State::Refused);

// As a session does it (proxy/session/session_identity.cc), its buffer included.
void rewrite(benchmark::State& state, const std::string& bytes, bool user_properties) {
  const std::span<const std::uint8_t> all(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  Identity identity;
  identity.cns = {"meter-00004711"};
  const auto user_name = IdentityTemplate::parse("{cn}");
  const auto client_id = IdentityTemplate::parse("{cn}-{serial}");
  identity.serial = std::string(20, '\x5A');
  for (auto _ : state) {
    const ConnectProgress progress = parse_connect(all, kMostBytes);
    const auto name = user_name->value(identity, progress.connect.client_id);
    const auto id = client_id->value(identity, progress.connect.client_id);
    const std::string device = to_hex(identity.fingerprint), ca = to_hex(identity.ca_id);
    const UserProperty properties[] = {
        {"sallyport-device", device}, {"sallyport-ca", ca}, {"sallyport-cn", identity.cns.front()}};
    ConnectChanges changes;
    changes.user_name = *name;
    changes.client_id = *id;
    if (user_properties) changes.user_properties = properties;
    const auto size = rewritten_bytes(progress.connect, changes);
    const auto out = std::make_unique_for_overwrite<std::uint8_t[]>(*size);
    write_rewritten(progress.connect, changes, {out.get(), *size});
    benchmark::DoNotOptimize(out[*size - 1]);
  }
  state.SetLabel(std::to_string(bytes.size()) + " bytes");
}
BENCHMARK_CAPTURE(rewrite, small_v311, small_v311(), false);
BENCHMARK_CAPTURE(rewrite, large_will_v311, large_will_v311(), false);
BENCHMARK_CAPTURE(rewrite, small_v5, small_v5(), false);
BENCHMARK_CAPTURE(rewrite, small_v5_user_properties, small_v5(), true);
BENCHMARK_CAPTURE(rewrite, large_will_v5_user_properties, large_will_v5(), true);

}  // namespace
}  // namespace sallyport::bench

BENCHMARK_MAIN();
