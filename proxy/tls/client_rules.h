// What the RFCs forbid a client and OpenSSL lets it do, or ends with another alert than theirs. Our own handshakes hold
// to the RFCs themselves; of OpenSSL's handshakes the engine looks at these messages first. What OpenSSL does otherwise
// and nobody can mend from outside stands in tests/proxy/tls/alerts_test.cc. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace sallyport {

struct BrokenRule {
  int reason = 0;           // OpenSSL's code for it, SSL_R_*: the log's detail
  std::uint8_t alert = 0;   // SSL_AD_*: what the client is told
  std::string_view what{};  // static
};

// By a whole ClientHello (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2), header included: an extension that is
// there twice; in TLS 1.3 compression; in TLS 1.2 point formats without the uncompressed one. Nothing for what keeps to
// these, and for what cannot be read: OpenSSL refuses that.
std::optional<BrokenRule> rule_broken_by_hello(std::span<const std::uint8_t> message);

// By a whole ClientKeyExchange of TLS 1.2 (RFC 8422, section 5.7): no point, or one that is not uncompressed.
std::optional<BrokenRule> rule_broken_by_key_exchange(std::span<const std::uint8_t> message);

// By a whole Certificate of TLS 1.3: an extension that nobody asked for (RFC 8446, section 4.2). OpenSSL ignores those
// that it does not know.
std::optional<BrokenRule> rule_broken_by_certificate(std::span<const std::uint8_t> message);

// The alert that the RFCs have where OpenSSL has another, of a handshake that ended with this SSL_R_* before anything
// was encrypted.
std::optional<std::uint8_t> mended_alert(int reason);

}  // namespace sallyport
