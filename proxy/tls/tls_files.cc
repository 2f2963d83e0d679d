#include "proxy/tls/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <set>

#include "cache/base/file.h"
#include "cache/crypto/locked_memory.h"
#include "cache/x509/identity.h"

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

Answer<KeyPtr> parse_key(std::string_view pem, const std::string& path) {
  const KeyMemory locked;
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  bool encrypted = false;
  KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_password, &encrypted) : nullptr);
  if (encrypted) return no(path, "the key is encrypted: store it with `openssl pkcs8 -topk8 -nocrypt`");
  if (!key) return no(path, "there is no private key in it (PEM: PKCS#8, PKCS#1 or SEC1)");
  return key;
}

}  // namespace

std::vector<std::string> server_names(const Certificate& leaf) {
  const Identity identity = make_identity(leaf);
  std::vector<std::string> names = identity.san_dns;
  if (names.empty() && identity.cns.size() == 1) names = identity.cns;
  return names;
}

Answer<KeyPtr> load_private_key(const std::string& path) {
  auto pem = read_file(path, kFileLimit);
  if (!pem) return pem.error();
  auto key = parse_key(*pem, path);
  OPENSSL_cleanse(pem->data(), pem->size());
  return key;
}

Answer<ServerCertificate> load_server_certificate(const CertificateFiles& files) {
  const auto chain = read_file(files.chain, kFileLimit);
  if (!chain) return chain.error();
  auto key = read_file(files.key, kFileLimit);
  if (!key) return key.error();
  auto parsed = parse_server_certificate(*chain, *key, files.chain, files.key);
  OPENSSL_cleanse(key->data(), key->size());
  return parsed;
}

Answer<std::vector<ServerCertificate>> load_server_certificates(const std::vector<CertificateFiles>& files) {
  std::vector<ServerCertificate> all;
  for (const CertificateFiles& each : files) {
    auto loaded = load_server_certificate(each);
    if (!loaded) return loaded.error();
    all.push_back(std::move(*loaded));
  }
  return all;
}

Answer<ServerCertificate> parse_server_certificate(std::string_view chain_pem, std::string_view key_pem,
                                                   const std::string& chain_from, const std::string& key_from) {
  auto chain = Certificate::bundle_from_pem(chain_pem);
  if (!chain) return no(chain_from, chain.error().what);
  const Certificate& leaf = chain->front();
  for (std::size_t i = 1; i < chain->size(); ++i) {
    const Certificate& below = (*chain)[i - 1];
    const Certificate& above = (*chain)[i];
    if (below.issuer_name() != above.subject_name() || !below.signed_by(X509_get0_pubkey(above.x509()))) {
      return no(chain_from, "certificate " + std::to_string(i + 1) + " did not sign certificate " + std::to_string(i) +
                                ": put the server's certificate first, then its issuer, up to the root");
    }
  }
  if (leaf.key_type() == KeyType::Other || (leaf.key_type() == KeyType::Rsa && leaf.key_bits() < 2048)) {
    return no(chain_from,
              "the server's key is " + leaf.key_type_name() + ": use RSA of 2048 bits or more, EC or Ed25519");
  }
  auto key = parse_key(key_pem, key_from);
  if (!key) return key.error();
  if (X509_check_private_key(leaf.x509(), key->get()) != 1) {
    return no(key_from, "the key does not belong to the first certificate in " + chain_from);
  }
  ServerKey kept(std::move(*key));
  if (!kept) return no(key_from, "the key does not sign what the first certificate in " + chain_from + " verifies");
  std::vector<std::string> names = server_names(leaf);
  // Without a name there is nothing a client could check.
  if (names.empty())
    return no(chain_from, "the server certificate names no host: give it a subjectAltName with DNS names");
  return ServerCertificate{std::move(*chain), std::move(kept), std::move(names)};
}

std::string_view purpose_flaw(const Certificate& leaf) {
  const std::uint32_t allowed = X509_get_extended_key_usage(leaf.x509());
  if (allowed != UINT32_MAX && (allowed & (XKU_SSL_SERVER | XKU_ANYEKU)) == 0) {
    return "is no server's: its extended key usage does not name serverAuth";
  }
  // `openssl req -x509` makes a server's own one a CA's, too; it is told by the names in it.
  const GENERAL_NAMES* names =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf.x509(), NID_subject_alt_name, nullptr, nullptr));
  const bool has_names = names != nullptr;
  GENERAL_NAMES_free(const_cast<GENERAL_NAMES*>(names));
  if (leaf.is_ca() && !has_names) return "is a CA's: it has no subjectAltName";
  return {};
}

std::string_view date_flaw(const Certificate& leaf, std::int64_t now) {
  if (now > leaf.not_after()) return "has expired";
  if (now < leaf.not_before()) return "is not valid yet";
  return {};
}

std::vector<ServerCertificate> presented_of(const std::vector<ServerCertificate>& all, std::int64_t now) {
  std::vector<ServerCertificate> presented;
  std::set<std::string> covered;
  for (const ServerCertificate& each : all) {
    if (!date_flaw(each.leaf(), now).empty()) continue;
    covered.insert(each.names.begin(), each.names.end());
    presented.push_back(each);
  }
  for (const ServerCertificate& each : all) {
    if (date_flaw(each.leaf(), now).empty()) continue;
    const bool all_covered = std::all_of(each.names.begin(), each.names.end(),
                                         [&](const std::string& name) { return covered.count(name) != 0; });
    if (!all_covered) presented.push_back(each);
  }
  return presented;
}

}  // namespace sallyport
