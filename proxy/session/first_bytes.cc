#include "proxy/session/first_bytes.h"

#include <algorithm>
#include <array>

#include "proxy/proxy_protocol/proxy_header.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint8_t kTlsHandshake = 0x16;  // RFC 8446, section 5.1
constexpr std::uint8_t kConnect = 0x10;       // MQTT 5.0, section 3.1.1
constexpr std::size_t kLengthBytes = 4;       // at most: section 1.5.5

// RFC 9110, section 9, and what HTTP/2 begins with: RFC 9113, section 3.4.
constexpr std::array<std::string_view, 9> kHttp = {"GET ",     "HEAD ",  "POST ",  "PUT ",       "DELETE ",
                                                   "CONNECT ", "TRACE ", "PATCH ", "PRI * HTTP/"};
constexpr std::string_view kHttpOptions = "OPTIONS ";
constexpr std::array<std::string_view, 2> kMqttNames = {std::string_view("\0\4MQTT", 6),
                                                        std::string_view("\0\6MQIsdp", 8)};

Begins begins_with(Bytes bytes, std::string_view whole) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), whole.size()));
  if (whole.substr(0, text.size()) != text) return Begins::No;
  return text.size() == whole.size() ? Begins::Yes : Begins::Perhaps;
}

template <class Texts>
Begins begins_with_any(Bytes bytes, const Texts& texts) {
  Begins best = Begins::No;
  for (const std::string_view each : texts) best = std::max(best, begins_with(bytes, each));
  return best;
}

Begins begins_http(Bytes bytes) {
  return std::max(begins_with_any(bytes, kHttp), begins_with(bytes, kHttpOptions));
}

// A CONNECT packet: its type, its length, the protocol's name.
Begins begins_mqtt(Bytes bytes) {
  if (bytes[0] != kConnect) return Begins::No;
  bytes = bytes.subspan(1);
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    if (bytes.empty()) return Begins::Perhaps;
    const bool last = (bytes[0] & 0x80) == 0;
    bytes = bytes.subspan(1);
    if (last) return begins_with_any(bytes, kMqttNames);
  }
  return Begins::No;
}

}  // namespace

FirstBytes look_at_first_bytes(Bytes bytes) {
  if (bytes.empty() || bytes[0] == kTlsHandshake) return {};
  const Begins proxy = begins_proxy_header(bytes), mqtt = begins_mqtt(bytes), http = begins_http(bytes);
  if (proxy == Begins::Yes) {
    return {false, Reason::BadProxyHeader, "a PROXY header from a peer that proxy_protocol_from does not name"};
  }
  if (mqtt == Begins::Yes) return {false, Reason::TlsError, "plain MQTT where TLS is spoken"};
  if (http == Begins::Yes) return {false, Reason::TlsError, "plain HTTP where TLS is spoken"};
  return {.undecided = std::max({proxy, mqtt, http}) == Begins::Perhaps, .reason = Reason::None, .what = {}};
}

}  // namespace sallyport
