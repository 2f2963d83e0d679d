#include "cache/x509/issuer_line.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include <memory>

namespace sallyport {

namespace {

// Steps into the next value, or over it. False: it is not one of that tag, or it does not fit.
bool next_value(Bytes& rest, int wanted_tag, int wanted_class, bool into) {
  const unsigned char* at = rest.data();
  long length = 0;
  int tag = 0, its_class = 0;
  const int flags = ASN1_get_object(&at, &length, &tag, &its_class, static_cast<long>(rest.size()));
  if ((flags & 0x81) != 0 || tag != wanted_tag || its_class != wanted_class) return false;  // 0x80: it does not fit
  const auto head = static_cast<std::size_t>(at - rest.data());
  rest = into ? rest.subspan(head, static_cast<std::size_t>(length))
              : rest.subspan(head + static_cast<std::size_t>(length));
  return true;
}

}  // namespace

// RFC 5280, section 4.1: Certificate { TBSCertificate { [0] version, serialNumber, signature, issuer, …
std::string issuer_line(Bytes der) {
  std::string line;
  Bytes rest = der;
  bool found = next_value(rest, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, true) &&
               next_value(rest, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, true);
  if (found) next_value(rest, 0, V_ASN1_CONTEXT_SPECIFIC, false);  // of v1 it is left out
  found = found && next_value(rest, V_ASN1_INTEGER, V_ASN1_UNIVERSAL, false) &&
          next_value(rest, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, false);
  if (found) {
    const unsigned char* at = rest.data();
    const std::unique_ptr<X509_NAME, decltype(&X509_NAME_free)> name(
        d2i_X509_NAME(nullptr, &at, static_cast<long>(rest.size())), &X509_NAME_free);
    if (name) line = short_line(name.get());
  }
  ERR_clear_error();
  return line;
}

}  // namespace sallyport
