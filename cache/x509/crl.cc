#include "cache/x509/crl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "cache/crypto/openssl_ptr.h"
#include "cache/x509/canonical_name.h"
#include "cache/x509/pem.h"
#include "cache/x509/read_help.h"

namespace sallyport {

namespace {

using X509CrlPtr = std::unique_ptr<X509_CRL, OpensslFree<&X509_CRL_free>>;
using IssuingPointPtr = std::unique_ptr<ISSUING_DIST_POINT, OpensslFree<&ISSUING_DIST_POINT_free>>;

// As Certificate::serial() has it.
std::string magnitude(const ASN1_INTEGER* number) {
  std::string bytes(reinterpret_cast<const char*>(ASN1_STRING_get0_data(number)),
                    static_cast<std::size_t>(ASN1_STRING_length(number)));
  bytes.erase(0, std::min(bytes.find_first_not_of('\0'), bytes.size()));
  if (ASN1_STRING_type(number) == V_ASN1_NEG_INTEGER || bytes.empty()) bytes.insert(bytes.begin(), '\0');
  return bytes;
}

// Empty: nothing in its extensions stands against it.
std::string obstacle(const X509_CRL* crl) {
  if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0) {
    return "this is a delta CRL: import the complete one";
  }
  const IssuingPointPtr point(
      static_cast<ISSUING_DIST_POINT*>(X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, nullptr, nullptr)));
  if (!point && X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1) >= 0) {
    return "which certificates this CRL is about cannot be read";
  }
  if (point) {
    if (point->indirectCRL > 0) return "this is an indirect CRL: import the one that the CA itself signed";
    if (point->onlysomereasons != nullptr) return "this CRL covers some reasons only: import the complete one";
    if (point->onlyattr > 0) return "this CRL is about attribute certificates";
  }
  for (int i = 0; i < X509_CRL_get_ext_count(crl); ++i) {
    X509_EXTENSION* extension = X509_CRL_get_ext(crl, i);
    if (X509_EXTENSION_get_critical(extension) == 0) continue;
    const int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
    const bool known =
        nid == NID_crl_number || nid == NID_authority_key_identifier || nid == NID_issuing_distribution_point;
    if (!known) return "this CRL has a critical extension that is not understood";
  }
  return {};
}

// The names of a distribution point: RFC 5280, section 4.2.1.13.
std::string words_of(const DIST_POINT_NAME* point) {
  std::string words;
  const auto add = [&](const std::string& word) { words += (words.empty() ? "" : ", ") + word; };
  if (point == nullptr) return words;
  if (point->type == 1) return "relative name";
  for (int i = 0; i < sk_GENERAL_NAME_num(point->name.fullname) && words.size() < Crl::kLongestScope; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(point->name.fullname, i);
    if (name->type == GEN_DIRNAME) add(one_line(name->d.directoryName));
    if (name->type != GEN_URI && name->type != GEN_DNS) continue;
    const ASN1_IA5STRING* text = name->d.ia5;
    add({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
         static_cast<std::size_t>(ASN1_STRING_length(text))});
  }
  return words;
}

// False: an extension of the entry that must be understood is not.
bool read_entry(const X509_REVOKED* revoked, CrlEntry& entry) {
  entry.serial = magnitude(X509_REVOKED_get0_serialNumber(revoked));
  for (int i = 0; i < X509_REVOKED_get_ext_count(revoked); ++i) {
    X509_EXTENSION* extension = X509_REVOKED_get_ext(revoked, i);
    const int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
    // certificateIssuer makes a list indirect (RFC 5280, section 5.3.3).
    if (nid == NID_certificate_issuer) return false;
    if (X509_EXTENSION_get_critical(extension) != 0 && nid != NID_crl_reason && nid != NID_invalidity_date)
      return false;
    if (nid != NID_crl_reason) continue;
    const auto* reason =
        static_cast<ASN1_ENUMERATED*>(X509_REVOKED_get_ext_d2i(revoked, NID_crl_reason, nullptr, nullptr));
    entry.hold = reason != nullptr && ASN1_ENUMERATED_get(reason) == CRL_REASON_CERTIFICATE_HOLD;
    ASN1_ENUMERATED_free(const_cast<ASN1_ENUMERATED*>(reason));
  }
  return true;
}

X509CrlPtr read(std::string_view der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* end = at + der.size();
  X509CrlPtr crl(d2i_X509_CRL(nullptr, &at, static_cast<long>(der.size())));
  if (crl && at != end) crl.reset();
  return crl;
}

}  // namespace

struct Crl::Signed {
  X509CrlPtr crl;
};

Crl::Crl() : signed_(std::make_unique<Signed>()) {}
Crl::Crl(Crl&&) noexcept = default;
Crl& Crl::operator=(Crl&&) noexcept = default;
Crl::~Crl() = default;

Answer<std::vector<Crl>> Crl::parse_all(std::string_view bytes, std::int64_t now) {
  if (bytes.size() > kLargest) return no("the CRL is larger than 64 MiB");
  std::vector<Crl> all;
  if (bytes.find("-----BEGIN") == std::string_view::npos) {
    auto one = from_der(bytes, now);
    if (!one) return one.error();
    all.push_back(std::move(*one));
    return all;
  }
  const auto ders = pem_objects(bytes, PemKind::Crl, kMostInAFile);
  if (!ders) return ders.error();
  for (const std::string& der : *ders) {
    auto each = from_der(der, now);
    if (!each && ders->size() == 1) return each.error();
    if (!each) {
      return no("CRL " + std::to_string(all.size() + 1) + " of " + std::to_string(ders->size()) +
                " in it, so none was taken: " + each.error().what);
    }
    all.push_back(std::move(*each));
  }
  return all;
}

Answer<Crl> Crl::parse(std::string_view bytes, std::int64_t now) {
  auto all = parse_all(bytes, now);
  if (!all) return all.error();
  if (all->size() > 1) return no("there are " + std::to_string(all->size()) + " CRLs in it: one is wanted");
  return std::move(all->front());
}

Answer<Crl> Crl::from_der(std::string_view der, std::int64_t now) {
  Crl made;
  made.signed_->crl = read(der);
  X509_CRL* crl = made.signed_->crl.get();
  if (crl == nullptr) return no("this is not a CRL (DER, or PEM with -----BEGIN X509 CRL-----)");
  if (std::string why = obstacle(crl); !why.empty()) return no(std::move(why));
  made.issuer_name_ = canonical_name_of(X509_CRL_get_issuer(crl));
  made.read_scope();
  if (!unix_time(X509_CRL_get0_lastUpdate(crl), made.this_update_)) return no("the CRL's date cannot be read");
  if (made.this_update_ > now + 300) return no("the CRL is dated in the future: check the clocks");
  if (const ASN1_TIME* next = X509_CRL_get0_nextUpdate(crl); next != nullptr && !unix_time(next, made.next_update_)) {
    return no("the date of the CRL's next update cannot be read");
  }
  using IntegerPtr = std::unique_ptr<ASN1_INTEGER, OpensslFree<&ASN1_INTEGER_free>>;
  const IntegerPtr number(static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl, NID_crl_number, nullptr, nullptr)));
  if (number) made.number_ = magnitude(number.get());
  const STACK_OF(X509_REVOKED)* revoked = X509_CRL_get_REVOKED(crl);
  const int count = revoked == nullptr ? 0 : sk_X509_REVOKED_num(revoked);
  made.entries_.reserve(static_cast<std::size_t>(std::max(count, 0)));
  for (int i = 0; i < count; ++i) {
    CrlEntry entry;
    if (!read_entry(sk_X509_REVOKED_value(revoked, i), entry)) {
      return no("an entry of this CRL has a critical extension that is not understood, or makes it indirect");
    }
    if (entry.serial.size() > 128) return no("a serial number in this CRL is longer than 128 bytes");
    made.entries_.push_back(std::move(entry));
  }
  ERR_clear_error();
  return made;
}

void Crl::read_scope() {
  const X509_CRL* crl = signed_->crl.get();
  const int at = X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1);
  if (at < 0) return;
  const ASN1_OCTET_STRING* bytes = X509_EXTENSION_get_data(X509_CRL_get_ext(crl, at));
  scope_.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(bytes)),
                static_cast<std::size_t>(ASN1_STRING_length(bytes)));
  const IssuingPointPtr point(
      static_cast<ISSUING_DIST_POINT*>(X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, nullptr, nullptr)));
  if (!point) return;
  scope_text_ = words_of(point->distpoint);
  const auto add = [&](const char* word) { scope_text_ += (scope_text_.empty() ? "" : ", ") + std::string(word); };
  if (point->onlyuser > 0) add("devices only");
  if (point->onlyCA > 0) add("CAs only");
  if (scope_text_.empty()) scope_text_ = "unnamed";
  scope_text_.resize(std::min(scope_text_.size(), kLongestScope));
}

bool Crl::signed_by(EVP_PKEY* key) const {
  const bool fits = key != nullptr && X509_CRL_verify(signed_->crl.get(), key) == 1;
  ERR_clear_error();
  return fits;
}

bool Crl::older_than(const std::string& number, std::int64_t this_update) const {
  if (!number.empty() && !number_.empty()) {
    if (number_.size() != number.size()) return number_.size() < number.size();
    return number_ < number;
  }
  return this_update_ < this_update;
}

}  // namespace sallyport
