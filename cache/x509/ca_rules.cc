#include "cache/x509/ca_rules.h"

#include <openssl/x509.h>

#include "cache/x509/read_help.h"

namespace sallyport {

namespace {

bool strong_key(const Certificate& ca) {
  switch (ca.key_type()) {
    case KeyType::Rsa: return ca.key_bits() >= 2048;
    case KeyType::EcP256:
    case KeyType::EcP384:
    case KeyType::EcP521:
    case KeyType::Ed25519: return true;
    case KeyType::Other: return false;
  }
  return false;
}

}  // namespace

Answer<void> check_ca(const Certificate& ca, std::int64_t now) {
  if (!ca.is_ca()) {
    return no("this is not a CA certificate (basicConstraints CA:TRUE is missing): sign it with -extensions v3_ca");
  }
  const bool v1 = X509_get_version(ca.x509()) == X509_VERSION_1;
  if (v1 && !ca.signed_by(X509_get0_pubkey(ca.x509()))) return no("an X.509 v1 CA must be a self-signed root");
  if (now > ca.not_after()) return no("the CA certificate has expired");
  if (now < ca.not_before()) return no("the CA certificate is not valid yet");
  if (!strong_key(ca)) {
    return no("the CA's key is " + ca.key_type_name() +
              ": use RSA of 2048 bits or more, EC P-256, P-384, P-521 or Ed25519");
  }
  // Each handshake of a stranger who names this CA costs a check with its key.
  if (!ca.rsa_at_most(kLargestRsaBits)) {
    return no(
        "the CA's RSA key is too slow to check signatures with: use at most 8192 bits, and a public exponent of "
        "at most 32 bits, as 65537 is");
  }
  return {};
}

bool in_date(const Certificate& certificate, std::int64_t now) {
  return certificate.not_before() <= now && now <= certificate.not_after();
}

Answer<void> check_verification(const Certificate& ca, const Certificate& verification) {
  if (verification.fingerprint() == ca.fingerprint()) {
    return no("the verification certificate is the CA certificate itself: sign a certificate whose CN is the code");
  }
  if (!verification.signed_by(X509_get0_pubkey(ca.x509()))) {
    return no("the verification certificate is not signed by this CA's key");
  }
  return {};
}

}  // namespace sallyport
