#include "cache/x509/identity.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <memory>

#include "cache/base/text.h"
#include "cache/crypto/openssl_ptr.h"

namespace sallyport {

void add_common_names(const X509_NAME* name, Identity& identity) {
  for (int at = -1; (at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0;) {
    if (identity.cns.size() == Identity::kNamesKept) return;
    unsigned char* utf8 = nullptr;
    const int length = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (length < 0) {
      identity.cns.emplace_back();  // it is there: whoever needs exactly one must not take the other for it
      continue;
    }
    identity.cns.push_back(kept_of({reinterpret_cast<char*>(utf8), static_cast<std::size_t>(length)}));
    OPENSSL_free(utf8);
  }
}

void add_alternative_names(const GENERAL_NAMES* names, Identity& identity) {
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    const auto keep = [&](const ASN1_STRING* value, std::vector<std::string>& into) {
      if (into.size() == Identity::kNamesKept) return;
      into.push_back(kept_of({reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                              static_cast<std::size_t>(ASN1_STRING_length(value))}));
    };
    if (name->type == GEN_DNS) keep(name->d.dNSName, identity.san_dns);
    if (name->type == GEN_URI) keep(name->d.uniformResourceIdentifier, identity.san_uri);
  }
}

Identity make_identity(const Certificate& leaf) {
  Identity identity;
  identity.fingerprint = leaf.fingerprint();
  identity.serial = leaf.serial();
  identity.issuer_serial = issuer_serial(leaf.issuer_name(), leaf.serial());
  identity.key_type = leaf.key_type_name();
  identity.subject = short_line(X509_get_subject_name(leaf.x509()));
  identity.not_before = leaf.not_before();
  identity.not_after = leaf.not_after();
  add_common_names(X509_get_subject_name(leaf.x509()), identity);
  using Names = std::unique_ptr<GENERAL_NAMES, OpensslFree<&GENERAL_NAMES_free>>;
  const Names names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf.x509(), NID_subject_alt_name, nullptr, nullptr)));
  if (names) add_alternative_names(names.get(), identity);
  ERR_clear_error();
  return identity;
}

}  // namespace sallyport
