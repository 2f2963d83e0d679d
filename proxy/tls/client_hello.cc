#include "proxy/tls/client_hello.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>

#include "proxy/tls/hello_fields.h"
#include "proxy/tls/wire_reader.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint8_t kHandshakeRecord = 22;

constexpr std::size_t kAes128Gcm = 0x1301, kAes256Gcm = 0x1302, kChaCha20 = 0x1303;
constexpr std::size_t kPskDheKe = 1;
constexpr std::size_t kBinderBytes = 32;

// Whose devices have no AES instructions put ChaCha20 first, and OpenSSL follows them: SSL_OP_PRIORITIZE_CHACHA.
bool prefers_aes(Bytes suites) {
  const std::size_t aes128 = place_of(kAes128Gcm, suites);
  return aes128 < suites.size() && place_of(kChaCha20, suites) > std::min(aes128, place_of(kAes256Gcm, suites));
}

// What we answer a share for, and how long it is; the first is preferred.
struct KnownShare {
  Group group;
  std::size_t bytes;
};
constexpr KnownShare kKnownShares[] = {{Group::X25519MlKem768, kMlKemKeyBytes + kX25519ShareBytes},
                                       {Group::X25519, kX25519ShareBytes},
                                       {Group::P256, kP256ShareBytes}};

bool read_key_share(Bytes content, bool post_quantum, PlainHello& hello) {
  WireReader reader(content);
  WireReader shares(reader.vector(2));
  std::array<Bytes, std::size(kKnownShares)> found;
  while (!shares.empty()) {
    const std::size_t group = shares.number(2);
    const Bytes key = shares.vector(2);
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (group != static_cast<std::size_t>(kKnownShares[i].group)) continue;
      if (!found[i].empty() || key.size() != kKnownShares[i].bytes) return false;
      found[i] = key;
    }
  }
  if (!reader.whole() || shares.missing()) return false;
  for (std::size_t i = post_quantum ? 0 : 1; i < found.size(); ++i) {
    if (found[i].empty()) continue;
    hello.group = kKnownShares[i].group;
    hello.share = found[i];
    return true;
  }
  return false;
}

bool read_psk_modes(Bytes content, PlainHello& hello) {
  WireReader reader(content);
  const Bytes modes = reader.vector(1);
  hello.takes_tickets = std::find(modes.begin(), modes.end(), kPskDheKe) != modes.end();
  return reader.whole() && !modes.empty();
}

// RFC 8446, section 4.2.11: one identity and one binder. Which of several is honoured is OpenSSL's to find out.
bool read_pre_shared_key(Bytes content, PlainHello& hello) {
  WireReader reader(content);
  WireReader identities(reader.vector(2));
  OfferedTicket offered;
  offered.ticket = identities.vector(2);
  identities.take(4);  // obfuscated_ticket_age: it matters to early data alone
  WireReader binders(reader.vector(2));
  offered.binder = binders.vector(1);
  hello.ticket = offered;
  return reader.whole() && identities.whole() && binders.whole() && !offered.ticket.empty() &&
         offered.binder.size() == kBinderBytes;
}

// False: OpenSSL's to judge.
bool read_extension(std::size_t type, Bytes content, bool post_quantum, PlainHello& hello, Bytes& groups) {
  switch (type) {
    case kServerName: return (hello.server_name = host_name(content)).has_value();
    case kSupportedVersions: return is_in(kVersion13, numbers(content, 1));
    case kSupportedGroups: groups = numbers(content, 2); return true;
    case kKeyShare: return read_key_share(content, post_quantum, hello);
    case kPskKeyExchangeModes: return read_psk_modes(content, hello);
    case kSignatureAlgorithms: hello.signature_schemes = numbers(content, 2); return !hello.signature_schemes.empty();
    case kPreSharedKey: return read_pre_shared_key(content, hello);
    case kMaxFragmentLength:
    case kEarlyData:
    case kCookie:
    case kSignatureAlgorithmsCert: return false;
    default: return true;  // not known, or nothing to TLS 1.3: section 4.1.2 has a server ignore it
  }
}

}  // namespace

TicketOffer offered_ticket(std::span<const std::uint8_t> bytes) {
  WireReader record(bytes);
  if (record.number(1) != kHandshakeRecord) return {};
  record.take(2);  // the record's version says nothing: RFC 8446, section 5.1
  TicketOffer offer{.message = record.vector(2)};
  WireReader message(offer.message);
  if (message.number(1) != kClientHello) return {};
  WireReader hello(message.vector(3));
  hello.take(2 + 32);  // legacy_version and random
  hello.vector(1);     // legacy_session_id
  hello.vector(2);     // cipher_suites
  hello.vector(1);     // legacy_compression_methods
  WireReader extensions(hello.vector(2));
  Bytes of_tls12, of_tls13;
  PlainHello read;
  while (!extensions.empty()) {
    const std::size_t type = extensions.number(2);
    const Bytes content = extensions.vector(2);
    if (type == kSessionTicket) of_tls12 = content;
    if (type == kPskKeyExchangeModes) read_psk_modes(content, read);
    if (type == kSupportedVersions && is_in(kVersion13, numbers(content, 1))) offer.version = TlsVersion::V13;
    if (type == kPreSharedKey) of_tls13 = content;
  }
  if (!message.whole() || !hello.whole() || extensions.missing()) return {};
  if (offer.version == TlsVersion::V12) {
    offer.first.ticket = of_tls12;
  } else if (read.takes_tickets) {
    WireReader reader(of_tls13);
    offer.first.ticket = WireReader(reader.vector(2)).vector(2);
    const Bytes binders = reader.vector(2);
    offer.first.binder = WireReader(binders).vector(1);
    // They are the end of the last extension, and so of the message.
    offer.first.binders_at = offer.message.size() - std::min(offer.message.size(), 2 + binders.size());
  }
  return offer;
}

bool PlainHello::offers(std::uint16_t signature_scheme) const {
  return is_in(signature_scheme, signature_schemes);
}

bool has_share_for(Group group, std::span<const std::uint8_t> key_share) {
  WireReader reader(key_share);
  WireReader shares(reader.vector(2));
  bool found = false;
  while (!shares.empty()) {
    found = shares.number(2) == static_cast<std::size_t>(group) || found;
    shares.vector(2);
  }
  return found;
}

std::optional<PlainHello> plain_hello(std::span<const std::uint8_t> message, bool post_quantum) {
  WireReader reader(message);
  if (reader.number(1) != kClientHello) return std::nullopt;
  WireReader fields(reader.vector(3));
  if (!reader.whole() || fields.number(2) != kVersion12) return std::nullopt;
  fields.take(32);  // random
  PlainHello hello;
  hello.session_id = fields.vector(1);
  const Bytes suites = fields.vector(2);
  const Bytes compressions = fields.vector(1);
  WireReader extensions(fields.vector(2));
  if (!fields.whole() || hello.session_id.size() > 32 || suites.size() % 2 != 0 || !prefers_aes(suites) ||
      compressions.size() != 1 || compressions[0] != 0) {
    return std::nullopt;
  }
  SeenExtensions seen;
  Bytes groups;
  while (!extensions.empty()) {
    const std::size_t type = extensions.number(2);
    const Bytes content = extensions.vector(2);
    if (hello.ticket || !seen.add(type) || !read_extension(type, content, post_quantum, hello, groups))
      return std::nullopt;
  }
  if (extensions.missing() || !seen.has(kSupportedVersions) || !seen.has(kSupportedGroups) || !seen.has(kKeyShare) ||
      !seen.has(kSignatureAlgorithms)) {
    return std::nullopt;
  }
  if (!is_in(static_cast<std::size_t>(hello.group), groups)) return std::nullopt;
  if (hello.ticket) {
    if (!seen.has(kPskKeyExchangeModes)) return std::nullopt;
    hello.ticket->binders_at = message.size() - (2 + 1 + kBinderBytes);  // they are the end of the last extension
    if (!hello.takes_tickets) hello.ticket.reset();
  }
  return hello;
}

}  // namespace sallyport
