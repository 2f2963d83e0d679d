#include "proxy/tls/client_rules.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <bitset>
#include <iterator>

#include "proxy/tls/hello_fields.h"
#include "proxy/tls/tls13_messages.h"
#include "proxy/tls/wire_reader.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint8_t kUncompressed = 4;  // SEC 1, section 2.3.3
constexpr std::size_t kP256 = 23, kP384 = 24, kP521 = 25, kX25519 = 29, kX448 = 30;
constexpr std::size_t kX25519Bytes = 32, kX448Bytes = 56;

// RFC 8422, section 5.1.2.
bool lacks_uncompressed_format(Bytes point_formats, Bytes groups) {
  constexpr std::uint8_t kUncompressedFormat = 0;
  WireReader reader(point_formats);
  const Bytes formats = reader.vector(1);
  static constexpr std::size_t kCurves[] = {kP256, kP384, kP521, kX25519, kX448};
  const bool curves =
      std::any_of(std::begin(kCurves), std::end(kCurves), [&](std::size_t curve) { return is_in(curve, groups); });
  return curves && reader.whole() && !formats.empty() &&
         std::find(formats.begin(), formats.end(), kUncompressedFormat) == formats.end();
}

}  // namespace

std::optional<BrokenRule> rule_broken_by_hello(Bytes message) {
  WireReader reader(message);
  if (reader.number(1) != kClientHello) return std::nullopt;
  WireReader fields(reader.vector(3));
  fields.take(2 + 32);  // legacy_version and random
  fields.vector(1);     // legacy_session_id
  fields.vector(2);     // cipher_suites
  const Bytes compressions = fields.vector(1);
  WireReader extensions(fields.vector(2));
  std::bitset<0x10000> seen;
  Bytes groups, formats;
  bool tls13 = false;
  while (!extensions.empty()) {
    const std::size_t type = extensions.number(2);
    const Bytes content = extensions.vector(2);
    if (extensions.missing()) return std::nullopt;
    if (seen[type]) {
      return BrokenRule{SSL_R_BAD_EXTENSION, SSL_AD_ILLEGAL_PARAMETER, "an extension is twice in the ClientHello"};
    }
    seen.set(type);
    if (type == kSupportedGroups) groups = numbers(content, 2);
    if (type == kPointFormats) formats = content;
    if (type == kSupportedVersions) tls13 = is_in(kVersion13, numbers(content, 1));
  }
  if (tls13 && (compressions.size() != 1 || compressions.front() != 0)) {
    return BrokenRule{SSL_R_INVALID_COMPRESSION_ALGORITHM, SSL_AD_ILLEGAL_PARAMETER, "a TLS 1.3 client compresses"};
  }
  if (!tls13 && seen[kPointFormats] && lacks_uncompressed_format(formats, groups)) {
    return BrokenRule{SSL_R_BAD_EXTENSION, SSL_AD_ILLEGAL_PARAMETER, "the client takes no uncompressed points"};
  }
  return std::nullopt;
}

std::optional<BrokenRule> rule_broken_by_key_exchange(Bytes message) {
  if (message.size() <= kMessageHeaderBytes) return std::nullopt;
  WireReader reader(message.subspan(kMessageHeaderBytes));
  const Bytes share = reader.vector(1);
  if (!reader.whole()) return std::nullopt;
  if (share.empty()) return BrokenRule{SSL_R_LENGTH_MISMATCH, SSL_AD_DECODE_ERROR, "the client's key is empty"};
  const bool montgomery = share.size() == kX25519Bytes || share.size() == kX448Bytes;
  if (montgomery || share.front() == kUncompressed) return std::nullopt;
  return BrokenRule{SSL_R_BAD_ECPOINT, SSL_AD_ILLEGAL_PARAMETER, "the client's key is not an uncompressed point"};
}

std::optional<BrokenRule> rule_broken_by_certificate(Bytes message) {
  if (message.size() <= kMessageHeaderBytes) return std::nullopt;
  const auto sent = read_certificates(message.subspan(kMessageHeaderBytes));
  if (!sent || sent->ders.empty() || sent->fault.reason == 0) return std::nullopt;
  return BrokenRule{sent->fault.reason, sent->fault.alert, "the client's certificate comes with what nobody asked for"};
}

std::optional<std::uint8_t> mended_alert(int reason) {
  switch (reason) {
    case SSL_R_BINDER_DOES_NOT_VERIFY: return SSL_AD_DECRYPT_ERROR;  // RFC 8446, section 6.2
    default: return std::nullopt;
  }
}

}  // namespace sallyport
