#include "cache/x509/plain_leaf.h"

#include <openssl/x509v3.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "cache/base/text.h"
#include "cache/crypto/openssl_ptr.h"
#include "cache/crypto/sha2.h"
#include "cache/x509/asn1_tags.h"
#include "cache/x509/canonical_name.h"
#include "cache/x509/der_reader.h"

namespace sallyport {

namespace {

using NamePtr = std::unique_ptr<X509_NAME, OpensslFree<&X509_NAME_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslFree<&GENERAL_NAMES_free>>;

// RFC 5280, section 4.1.
constexpr std::uint8_t kVersion = 0xa0, kExtensions = 0xa3;

constexpr std::array<std::uint8_t, 3> kVersion3 = {asn1::kInteger, 1, 2};
constexpr std::array<std::uint8_t, 3> kSubjectAltName = {0x55, 0x1d, 0x11};
constexpr std::size_t kMostSerial = 21;  // RFC 5280, section 4.1.2.2: 20 octets, and a zero before them

// The SubjectPublicKeyInfo of every key on P-256 with an uncompressed point begins so: RFC 5480, section 2.
constexpr std::array<std::uint8_t, 27> kP256Key = {asn1::kSequence,
                                                   0x59,
                                                   asn1::kSequence,
                                                   0x13,
                                                   asn1::kObject,
                                                   0x07,
                                                   0x2a,
                                                   0x86,
                                                   0x48,
                                                   0xce,
                                                   0x3d,
                                                   0x02,
                                                   0x01,
                                                   asn1::kObject,
                                                   0x08,
                                                   0x2a,
                                                   0x86,
                                                   0x48,
                                                   0xce,
                                                   0x3d,
                                                   0x03,
                                                   0x01,
                                                   0x07,
                                                   0x03,
                                                   0x42,
                                                   0x00 /*unused bits*/,
                                                   0x04};

bool begins_with(Bytes bytes, Bytes with) {
  return bytes.size() >= with.size() && std::equal(with.begin(), with.end(), bytes.begin());
}

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ: RFC 5280, section 4.1.2.5. Unix seconds.
std::optional<std::int64_t> read_time(DerReader& from) {
  const bool utc = from.next_is(asn1::kUtcTime);
  const std::string_view text = text_of(from.take(utc ? asn1::kUtcTime : asn1::kGeneralizedTime));
  const std::size_t year_digits = utc ? 2 : 4;
  if (text.size() != year_digits + 11 || text.back() != 'Z') return std::nullopt;
  const std::string_view digits = text.substr(0, text.size() - 1);
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  std::size_t at = 0;
  const auto number = [&](std::size_t length) {
    int value = 0;
    for (const char c : digits.substr(at, length)) value = value * 10 + (c - '0');
    at += length;
    return value;
  };
  int year = number(year_digits);
  if (utc) year += year < 50 ? 2000 : 1900;
  const auto month = static_cast<unsigned>(number(2)), day = static_cast<unsigned>(number(2));
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  const int hour = number(2), minute = number(2), second = number(2);
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return ((days * 24 + hour) * 60 + minute) * 60 + second;
}

// The short names OpenSSL prints for id-at (2.5.4), by the last arc.
std::string_view attribute_name(Bytes object) {
  if (object.size() != 3 || object[0] != 0x55 || object[1] != 0x04) return {};
  switch (object[2]) {
    case 3: return "CN";
    case 5: return "serialNumber";
    case 6: return "C";
    case 7: return "L";
    case 8: return "ST";
    case 10: return "O";
    case 11: return "OU";
    default: return {};
  }
}

constexpr std::string_view kIs = " = ";

// What is printed as it is, whatever stands beside it.
bool is_simple(std::string_view value) {
  constexpr std::string_view kAsItIs = "-._:/@";
  return !value.empty() && value.front() != ' ' && value.back() != ' ' &&
         std::all_of(value.begin(), value.end(), [&](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ' ' ||
                  kAsItIs.find(c) != std::string_view::npos;
         });
}

// The names of a subject that has only such attributes and values, one at a time. False: OpenSSL's to read; `identity`
// may hold a part.
bool read_simple_names(Bytes subject, Identity& identity) {
  DerReader whole(subject);
  DerReader names(whole.take(asn1::kSequence));
  while (!names.empty()) {
    DerReader set(names.take(asn1::kSet));
    DerReader attribute(set.take(asn1::kSequence));
    const std::string_view name = attribute_name(attribute.take(asn1::kObject));
    const bool utf8 = attribute.next_is(asn1::kUtf8String);
    const std::string_view value = text_of(attribute.take(utf8 ? asn1::kUtf8String : asn1::kPrintableString));
    if (!attribute.whole() || !set.whole() || name.empty() || !is_simple(value)) return false;
    for (const std::string_view part : {std::string_view(identity.subject.empty() ? "" : ", "), name, kIs, value}) {
      // A byte more than is shown of it.
      identity.subject += part.substr(0, kPeerText + 1 - std::min(identity.subject.size(), kPeerText + 1));
    }
    if (name == "CN" && identity.cns.size() < Identity::kNamesKept) identity.cns.push_back(kept_of(value));
  }
  identity.subject = shortened(identity.subject);
  return names.whole();
}

bool read_names(Bytes subject, Identity& identity) {
  if (read_simple_names(subject, identity)) return true;
  identity.subject.clear();
  identity.cns.clear();
  const unsigned char* at = subject.data();
  const NamePtr name(d2i_X509_NAME(nullptr, &at, static_cast<long>(subject.size())));
  if (!name || at != subject.data() + subject.size()) return false;
  identity.subject = short_line(name.get());
  add_common_names(name.get(), identity);
  return true;
}

// False: not the extensions of a certificate, or alternative names that come twice.
bool read_alternative_names(Bytes extensions, Identity& identity) {
  DerReader outer(extensions);
  DerReader list(outer.take(asn1::kSequence));
  bool seen = false;
  while (!list.empty()) {
    DerReader extension(list.take(asn1::kSequence));
    const Bytes object = extension.take(asn1::kObject);
    if (extension.next_is(asn1::kBoolean)) extension.take(asn1::kBoolean);
    const Bytes value = extension.take(asn1::kOctetString);
    if (!extension.whole()) return false;
    if (object.size() != kSubjectAltName.size() || !begins_with(object, kSubjectAltName)) continue;
    if (seen) return false;
    seen = true;
    const unsigned char* at = value.data();
    const GeneralNamesPtr names(d2i_GENERAL_NAMES(nullptr, &at, static_cast<long>(value.size())));
    if (names) add_alternative_names(names.get(), identity);
  }
  return list.whole() && outer.whole();
}

// An issuer's name as names are compared; null where it is none. The devices of a CA spell it alike: the last ones are
// remembered, by each thread for itself, and comparing 100 bytes costs a twentieth of reading them. Valid until the
// next call.
const std::string* canonical_issuer(Bytes der) {
  constexpr std::size_t kRemembered = 8, kLongest = 512;  // names, bytes
  struct Known {
    std::string der, name;
  };
  thread_local std::array<Known, kRemembered> known;
  thread_local std::size_t oldest = 0;
  thread_local std::string longer;
  for (const Known& each : known) {
    if (!each.der.empty() && each.der == text_of(der)) return &each.name;
  }
  auto name = canonical_name(der);
  if (!name) return nullptr;
  if (der.size() > kLongest) return longer = std::move(*name), &longer;
  Known& place = known[oldest];
  oldest = (oldest + 1) % kRemembered;
  place = {std::string(text_of(der)), std::move(*name)};
  return &place.name;
}

}  // namespace

std::optional<PlainLeaf> read_plain_leaf(Bytes der) {
  const NoErrorsLeft errors;
  DerReader outer(der);
  DerReader certificate(outer.take(asn1::kSequence));
  DerReader signed_part(certificate.take(asn1::kSequence));
  certificate.take(asn1::kSequence);  // the signature's algorithm
  const Bytes signature = certificate.take(asn1::kBitString);
  if (signature.empty() || signature[0] != 0 /*unused bits*/) return std::nullopt;
  if (!outer.whole() || !certificate.whole()) return std::nullopt;

  const Bytes version = signed_part.take(kVersion);
  Bytes serial = signed_part.take(asn1::kInteger);
  signed_part.take(asn1::kSequence);  // the algorithm again
  const Bytes issuer_der = signed_part.element(asn1::kSequence);
  DerReader validity(signed_part.take(asn1::kSequence));
  const auto not_before = read_time(validity), not_after = read_time(validity);
  const Bytes subject = signed_part.element(asn1::kSequence);
  const Bytes key = signed_part.element(asn1::kSequence);
  const bool extended = signed_part.next_is(kExtensions);
  const Bytes extensions = extended ? signed_part.take(kExtensions) : Bytes();
  if (!signed_part.whole() || !validity.whole() || !not_before || !not_after) return std::nullopt;
  if (version.size() != kVersion3.size() || !begins_with(version, kVersion3)) return std::nullopt;
  if (key.size() != kP256Key.size() - 1 + P256Point().size() || !begins_with(key, kP256Key)) return std::nullopt;

  // Positive, and in the fewest octets: X.690, section 8.3.
  if (serial.empty() || serial.size() > kMostSerial || serial[0] >= 0x80) return std::nullopt;
  if (serial[0] == 0) {
    serial = serial.subspan(1);
    if (serial.empty() || serial[0] < 0x80) return std::nullopt;
  }

  const std::string* issuer = canonical_issuer(issuer_der);
  if (issuer == nullptr) return std::nullopt;
  PlainLeaf leaf;
  leaf.der = der;
  Identity& identity = leaf.identity;
  if (!read_names(subject, identity)) return std::nullopt;
  if (extended && !read_alternative_names(extensions, identity)) return std::nullopt;
  identity.fingerprint = Sha256::of(der);
  identity.serial = text_of(serial);
  identity.issuer_serial = issuer_serial(*issuer, identity.serial);
  identity.key_type = "EC-P256";
  identity.not_before = *not_before;
  identity.not_after = *not_after;
  std::copy_n(key.last(leaf.point.size()).begin(), leaf.point.size(), leaf.point.begin());
  return leaf;
}

}  // namespace sallyport
