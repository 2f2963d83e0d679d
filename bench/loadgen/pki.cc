#include "bench/loadgen/pki.h"

#include <openssl/bn.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cstdio>
#include <initializer_list>

#include "bench/loadgen/loop.h"

namespace load {

namespace {

KeyPtr make_key(bool rsa) {
  KeyPtr key(rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
  if (!key) give_up("a key could not be made");
  return key;
}

void extend(X509* certificate, X509* issuer, int what, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, what, value);
  if (extension == nullptr || X509_add_ext(certificate, extension, -1) != 1) give_up("a certificate could not be made");
  X509_EXTENSION_free(extension);
}

struct Extension {
  int what;
  const char* value;
};

Credential make(const std::string& name, const Credential* issuer, bool rsa,
                std::initializer_list<Extension> extensions) {
  Credential made{X509Ptr(X509_new()), make_key(rsa)};
  X509* certificate = made.certificate.get();
  unsigned char serial[16];
  if (certificate == nullptr || RAND_bytes(serial, sizeof serial) != 1) give_up("out of memory");
  serial[0] &= 0x7F;
  std::unique_ptr<BIGNUM, Free<&BN_free>> number(BN_bin2bn(serial, sizeof serial, nullptr));
  BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate));
  X509_set_version(certificate, X509_VERSION_3);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 365L * 86400);
  X509_set_pubkey(certificate, made.key.get());
  X509_NAME* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                             0);
  X509* above = issuer != nullptr ? issuer->certificate.get() : certificate;
  X509_set_issuer_name(certificate, X509_get_subject_name(above));
  for (const Extension& extension : extensions) extend(certificate, above, extension.what, extension.value);
  EVP_PKEY* signing = issuer != nullptr ? issuer->key.get() : made.key.get();
  if (X509_sign(certificate, signing, EVP_sha256()) == 0) give_up("a certificate could not be signed");
  return made;
}

Credential make_ca(const std::string& name, const Credential* issuer) {
  return make(name, issuer, false,
              {{NID_basic_constraints, "critical,CA:TRUE"},
               {NID_key_usage, "critical,keyCertSign,cRLSign"},
               {NID_subject_key_identifier, "hash"}});
}

using FilePtr = std::unique_ptr<FILE, decltype([](FILE* f) { std::fclose(f); })>;

FilePtr open(const std::string& path, const char* mode) {
  FilePtr file(std::fopen(path.c_str(), mode));
  if (!file) give_up(path.c_str());
  return file;
}

void write(const std::string& path, std::initializer_list<const X509*> chain, EVP_PKEY* key) {
  const FilePtr file = open(path, "we");
  ::chmod(path.c_str(), key != nullptr ? 0600 : 0644);
  for (const X509* each : chain) PEM_write_X509(file.get(), each);
  if (key != nullptr) PEM_write_PKCS8PrivateKey(file.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
}

Credential read(const std::string& base) {
  const FilePtr certificate = open(base + ".pem", "re"), key = open(base + ".key", "re");
  Credential found{X509Ptr(PEM_read_X509(certificate.get(), nullptr, nullptr, nullptr)),
                   KeyPtr(PEM_read_PrivateKey(key.get(), nullptr, nullptr, nullptr))};
  if (!found.certificate || !found.key) give_up((base + " is not a certificate and its key").c_str());
  return found;
}

}  // namespace

void write_pki(const std::string& folder) {
  ::mkdir(folder.c_str(), 0755);
  const std::string at = folder + "/";
  const Credential server_ca = make_ca("load server CA", nullptr);
  write(at + "server-ca.pem", {server_ca.certificate.get()}, nullptr);
  for (const bool rsa : {false, true}) {
    const Credential server = make("localhost", &server_ca, rsa,
                                   {{NID_basic_constraints, "CA:FALSE"},
                                    {NID_key_usage, "digitalSignature"},
                                    {NID_ext_key_usage, "serverAuth"},
                                    {NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1"}});
    const std::string name = at + (rsa ? "server-rsa" : "server-ec");
    write(name + ".pem", {server.certificate.get()}, nullptr);
    write(name + ".key", {}, server.key.get());
    write(name + "-bundle.pem", {server.certificate.get()}, server.key.get());
  }
  const Credential device_ca = make_ca("load device CA", nullptr);
  write(at + "device-ca.pem", {device_ca.certificate.get()}, nullptr);
  write(at + "device-ca.key", {}, device_ca.key.get());
  const Credential intermediate = make_ca("load device intermediate", &device_ca);
  write(at + "device-intermediate.pem", {intermediate.certificate.get()}, nullptr);
  write(at + "device-intermediate.key", {}, intermediate.key.get());
}

DevicePki::DevicePki(const std::string& folder, bool intermediate, bool rsa_devices)
    : issuer_(read(folder + (intermediate ? "/device-intermediate" : "/device-ca"))),
      intermediate_(intermediate),
      rsa_(rsa_devices) {}

Credential DevicePki::make(const std::string& name) const {
  return load::make(
      name, &issuer_, rsa_,
      {{NID_basic_constraints, "CA:FALSE"}, {NID_key_usage, "digitalSignature"}, {NID_ext_key_usage, "clientAuth"}});
}

}  // namespace load
