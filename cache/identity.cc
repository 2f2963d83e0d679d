#include "cache/identity.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <memory>

#include "cache/openssl_ptr.h"

namespace sallyport {

namespace {

constexpr std::size_t kNamesKept = 16;  // of each kind; a template needs exactly one, so more say no more

void collect_cns(const Certificate& leaf, Identity& identity) {
  const X509_NAME* name = X509_get_subject_name(leaf.x509());
  for (int at = -1; (at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0;) {
    if (identity.cns.size() == kNamesKept) return;
    unsigned char* utf8 = nullptr;
    const int length = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (length < 0) continue;
    identity.cns.emplace_back(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(length));
    OPENSSL_free(utf8);
  }
}

void collect_sans(const Certificate& leaf, Identity& identity) {
  using Names = std::unique_ptr<GENERAL_NAMES, OpensslFree<&GENERAL_NAMES_free>>;
  const Names names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf.x509(), NID_subject_alt_name, nullptr, nullptr)));
  if (!names) return;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    const auto keep = [&](const ASN1_STRING* value, std::vector<std::string>& into) {
      if (into.size() == kNamesKept) return;
      into.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                        static_cast<std::size_t>(ASN1_STRING_length(value)));
    };
    if (name->type == GEN_DNS) keep(name->d.dNSName, identity.san_dns);
    if (name->type == GEN_URI) keep(name->d.uniformResourceIdentifier, identity.san_uri);
  }
}

}  // namespace

Identity make_identity(const Certificate& leaf) {
  Identity identity;
  identity.fingerprint = leaf.fingerprint();
  identity.serial = leaf.serial();
  identity.issuer_serial = issuer_serial(leaf.issuer_der(), leaf.serial());
  identity.key_type = leaf.key_type_name();
  identity.subject = leaf.subject();
  identity.not_before = leaf.not_before();
  identity.not_after = leaf.not_after();
  collect_cns(leaf, identity);
  collect_sans(leaf, identity);
  ERR_clear_error();
  return identity;
}

}  // namespace sallyport
