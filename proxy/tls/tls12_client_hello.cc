#include "proxy/tls/tls12_client_hello.h"

#include <algorithm>
#include <cstddef>

#include "proxy/tls/hello_fields.h"
#include "proxy/tls/wire_reader.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kEcdsaAes256 = 0xC02C, kRsaAes256 = 0xC030;
constexpr std::size_t kEcdsaChaCha20 = 0xCCA9, kRsaChaCha20 = 0xCCA8;
constexpr std::size_t kSecureRenegotiation = 0x00FF, kFallback = 0x5600;  // signals: RFC 5746 and RFC 7507
constexpr std::uint8_t kUncompressed = 0;

// Whose devices have no AES instructions put ChaCha20 first, and OpenSSL follows them: SSL_OP_PRIORITIZE_CHACHA.
bool read_suites(Bytes suites, PlainHello12& hello) {
  const std::size_t ecdsa = place_of(kEcdheEcdsaAes128, suites), rsa = place_of(kEcdheRsaAes128, suites);
  hello.ecdsa = ecdsa < suites.size();
  hello.rsa = rsa < suites.size();
  const std::size_t aes256 = std::min(place_of(kEcdsaAes256, suites), place_of(kRsaAes256, suites));
  const std::size_t chacha20 = std::min(place_of(kEcdsaChaCha20, suites), place_of(kRsaChaCha20, suites));
  return suites.size() % 2 == 0 && (hello.ecdsa || hello.rsa) && std::min({ecdsa, rsa, aes256}) < chacha20 &&
         !is_in(kFallback, suites);
}

bool read_groups(Bytes content, PlainHello12& hello) {
  const Bytes groups = numbers(content, 2);
  hello.p256 = is_in(static_cast<std::size_t>(Group::P256), groups);
  const bool x25519 = is_in(static_cast<std::size_t>(Group::X25519), groups);
  hello.group = x25519 ? Group::X25519 : Group::P256;
  return x25519 || hello.p256;
}

bool read_point_formats(Bytes content, PlainHello12& hello) {
  WireReader reader(content);
  const Bytes formats = reader.vector(1);
  hello.point_formats = true;
  return reader.whole() && std::find(formats.begin(), formats.end(), kUncompressed) != formats.end();
}

// False: OpenSSL's to judge.
bool read_extension(std::size_t type, Bytes content, PlainHello12& hello) {
  switch (type) {
    case kServerName: return (hello.server_name = host_name(content)).has_value();
    case kSupportedGroups: return read_groups(content, hello);
    case kPointFormats: return read_point_formats(content, hello);
    case kSignatureAlgorithms: hello.signature_schemes = numbers(content, 2); return !hello.signature_schemes.empty();
    case kExtendedMasterSecret: return content.empty();
    case kSessionTicket: hello.takes_tickets = true; return content.empty();
    case kRenegotiationInfo: return content.size() == 1 && content[0] == 0;  // RFC 5746, section 3.6
    case kMaxFragmentLength:
    case kPreSharedKey:
    case kEarlyData:
    case kSupportedVersions:
    case kCookie:
    case kSignatureAlgorithmsCert: return false;
    default: return true;  // not known, or nothing to us: RFC 5246, section 7.4.1.2, has a server ignore it
  }
}

}  // namespace

bool PlainHello12::offers(std::uint16_t signature_scheme) const {
  return is_in(signature_scheme, signature_schemes);
}

std::optional<PlainHello12> plain_hello12(std::span<const std::uint8_t> message) {
  WireReader reader(message);
  if (reader.number(1) != kClientHello) return std::nullopt;
  WireReader fields(reader.vector(3));
  if (!reader.whole() || fields.number(2) != kVersion12) return std::nullopt;
  PlainHello12 hello;
  const Bytes random = fields.take(hello.random.size());
  std::copy(random.begin(), random.end(), hello.random.begin());
  const Bytes session_id = fields.vector(1);
  const Bytes suites = fields.vector(2);
  const Bytes compressions = fields.vector(1);
  WireReader extensions(fields.vector(2));
  if (!fields.whole() || session_id.size() > 32 || compressions.size() != 1 || compressions[0] != 0 ||
      !read_suites(suites, hello)) {
    return std::nullopt;
  }
  SeenExtensions seen;
  bool secure = is_in(kSecureRenegotiation, suites);
  while (!extensions.empty()) {
    const std::size_t type = extensions.number(2);
    const Bytes content = extensions.vector(2);
    if (!seen.add(type) || !read_extension(type, content, hello)) return std::nullopt;
    secure = secure || type == kRenegotiationInfo;
  }
  if (extensions.missing() || !seen.has(kSupportedGroups) || !seen.has(kSignatureAlgorithms) ||
      !seen.has(kExtendedMasterSecret) || !secure) {
    return std::nullopt;
  }
  return hello;
}

}  // namespace sallyport
