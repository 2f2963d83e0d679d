#include "proxy/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "cache/file.h"
#include "cache/identity.h"

namespace sallyport {

namespace {

constexpr std::size_t kFileLimit = 1024 * 1024;

Refusal no(const std::string& file, const std::string& what) {
  ERR_clear_error();
  return {Refusal::Kind::Invalid, file + ": " + what};
}

// Called where a key is encrypted: there is nobody to ask.
int no_password(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

Answer<KeyPtr> load_key(const std::string& path) {
  auto text = read_file(path, kFileLimit);
  if (!text) return text.error();
  const BioPtr bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
  bool encrypted = false;
  KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_password, &encrypted) : nullptr);
  OPENSSL_cleanse(text->data(), text->size());
  if (encrypted) return no(path, "the key is encrypted: store it with `openssl pkcs8 -topk8 -nocrypt`");
  if (!key) return no(path, "there is no private key in it (PEM: PKCS#8, PKCS#1 or SEC1)");
  return key;
}

}  // namespace

Answer<ServerCertificate> load_server_certificate(const CertificateFiles& files, std::int64_t now) {
  const auto text = read_file(files.chain, kFileLimit);
  if (!text) return text.error();
  auto chain = Certificate::bundle_from_pem(*text);
  if (!chain) return no(files.chain, chain.error().what);
  const Certificate& leaf = chain->front();
  for (std::size_t i = 1; i < chain->size(); ++i) {
    const Certificate& below = (*chain)[i - 1];
    const Certificate& above = (*chain)[i];
    if (below.issuer_der() != above.subject_der() || !below.signed_by(X509_get0_pubkey(above.x509()))) {
      return no(files.chain, "certificate " + std::to_string(i + 1) + " did not sign certificate " + std::to_string(i) +
                                 ": put the server's certificate first, then its issuer, up to the root");
    }
  }
  if (now > leaf.not_after()) return no(files.chain, "the server certificate has expired");
  if (now < leaf.not_before()) return no(files.chain, "the server certificate is not valid yet");
  if (leaf.key_type() == KeyType::Other || (leaf.key_type() == KeyType::Rsa && leaf.key_bits() < 2048)) {
    return no(files.chain,
              "the server's key is " + leaf.key_type_name() + ": use RSA of 2048 bits or more, EC or Ed25519");
  }
  auto key = load_key(files.key);
  if (!key) return key.error();
  if (X509_check_private_key(leaf.x509(), key->get()) != 1) {
    return no(files.key, "the key does not belong to the first certificate in " + files.chain);
  }
  const Identity identity = make_identity(leaf);
  std::vector<std::string> names = identity.san_dns;
  if (names.empty() && identity.cns.size() == 1) names = identity.cns;
  return ServerCertificate{std::move(*chain), std::move(*key), std::move(names)};
}

}  // namespace sallyport
