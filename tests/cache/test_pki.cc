#include "tests/cache/test_pki.h"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <filesystem>
#include <fstream>

namespace sallyport::test {

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  ADD_FAILURE() << "test PKI: " << what;
  std::abort();
}

void add_extension(X509* x509, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, x509, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  require(extension != nullptr, value.c_str());
  X509_add_ext(x509, extension, -1);
  X509_EXTENSION_free(extension);
}

void add_name(X509_NAME* name, const char* field, const std::string& value, int type) {
  X509_NAME_add_entry_by_txt(name, field, type == 0 ? MBSTRING_UTF8 : type,
                             reinterpret_cast<const unsigned char*>(value.data()), static_cast<int>(value.size()), -1,
                             0);
}

void set_serial(X509* x509, const Leaf& leaf) {
  std::vector<std::uint8_t> bytes = leaf.serial;
  if (bytes.empty()) {
    bytes.resize(16);
    RAND_bytes(bytes.data(), 16);
    bytes[0] = static_cast<std::uint8_t>((bytes[0] & 0x7F) | 0x40);
  }
  BIGNUM* number = BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr);
  BN_set_negative(number, leaf.negative_serial ? 1 : 0);
  ASN1_INTEGER* serial = BN_to_ASN1_INTEGER(number, nullptr);
  X509_set_serialNumber(x509, serial);
  ASN1_INTEGER_free(serial);
  BN_free(number);
}

void set_extensions(X509* x509, X509* issuer, const Leaf& leaf) {
  if (leaf.basic_constraints) {
    std::string constraints = leaf.ca ? "critical,CA:TRUE" : "CA:FALSE";
    if (leaf.ca && leaf.path_length >= 0) constraints += ",pathlen:" + std::to_string(leaf.path_length);
    add_extension(x509, issuer, NID_basic_constraints, constraints);
  }
  add_extension(x509, issuer, NID_subject_key_identifier, "hash");
  if (issuer != x509 && !leaf.authority_key_id.empty()) {
    add_extension(x509, issuer, NID_authority_key_identifier, leaf.authority_key_id);
  }
  if (!leaf.key_usage.empty()) add_extension(x509, issuer, NID_key_usage, leaf.key_usage);
  if (!leaf.extended_key_usage.empty()) add_extension(x509, issuer, NID_ext_key_usage, leaf.extended_key_usage);
  if (!leaf.name_constraints.empty()) add_extension(x509, issuer, NID_name_constraints, leaf.name_constraints);
  if (!leaf.subject_alt_name.empty()) add_extension(x509, issuer, NID_subject_alt_name, leaf.subject_alt_name);
}

const EVP_MD* digest_for(const EVP_PKEY* key, bool sha1) {
  const int kind = EVP_PKEY_get_base_id(key);
  if (kind == EVP_PKEY_ED25519 || kind == EVP_PKEY_ED448) return nullptr;
  return sha1 ? EVP_sha1() : EVP_sha256();
}

// `modulus` becomes a product of primes of exactly so many bits, `totient` its Euler's totient, prime to `exponent`.
void multiply_primes(int bits, const BIGNUM* exponent, BIGNUM* modulus, BIGNUM* totient, BN_CTX* context) {
  const BignumPtr prime(BN_new()), minus_one(BN_new()), common(BN_new());
  do {
    BN_one(modulus);
    BN_one(totient);
    for (int left = bits; left > 0; left = bits - BN_num_bits(modulus)) {
      // 256 and more are left for the last one. Short of one bit, as it may come out, all begins again.
      const int length = left >= 768 ? 512 : left;
      if (length == 1) break;
      do {
        BN_generate_prime_ex(prime.get(), length, 0, nullptr, nullptr, nullptr);
        BN_sub(minus_one.get(), prime.get(), BN_value_one());
        BN_gcd(common.get(), minus_one.get(), exponent, context);
      } while (!BN_is_one(common.get()));
      BN_mul(modulus, modulus, prime.get(), context);
      BN_mul(totient, totient, minus_one.get(), context);
    }
  } while (BN_num_bits(modulus) != bits);
}

}  // namespace

KeyPtr make_rsa(int bits, std::uint64_t exponent, const char* type) {
  const std::unique_ptr<BN_CTX, OpensslFree<&BN_CTX_free>> context(BN_CTX_new());
  const BignumPtr modulus(BN_new()), totient(BN_new()), chosen(BN_new());
  BN_set_word(chosen.get(), exponent == 0 ? 65537 : exponent);
  multiply_primes(bits, chosen.get(), modulus.get(), totient.get(), context.get());
  const BignumPtr other(BN_mod_inverse(nullptr, chosen.get(), totient.get(), context.get()));
  const std::unique_ptr<OSSL_PARAM_BLD, OpensslFree<&OSSL_PARAM_BLD_free>> build(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
  OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_E, exponent == 0 ? other.get() : chosen.get());
  OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_D, exponent == 0 ? chosen.get() : other.get());
  OSSL_PARAM* parameters = OSSL_PARAM_BLD_to_param(build.get());
  const KeyContextPtr making(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  EVP_PKEY_fromdata_init(making.get());
  const bool made = EVP_PKEY_fromdata(making.get(), &key, EVP_PKEY_KEYPAIR, parameters) == 1;
  OSSL_PARAM_free(parameters);
  require(made, "an RSA key");
  return KeyPtr(key);
}

KeyPtr make_key(Kind kind) {
  switch (kind) {
    case Kind::Rsa1024: return KeyPtr(EVP_RSA_gen(1024));
    case Kind::Rsa2048: return KeyPtr(EVP_RSA_gen(2048));
    case Kind::P256: return KeyPtr(EVP_EC_gen("P-256"));
    case Kind::P384: return KeyPtr(EVP_EC_gen("P-384"));
    case Kind::P521: return KeyPtr(EVP_EC_gen("P-521"));
    case Kind::K256: return KeyPtr(EVP_EC_gen("secp256k1"));
    case Kind::Ed448: return KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED448"));
    case Kind::Ed25519: return KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  }
  return nullptr;
}

std::string key_pem(const EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(length)};
}

std::string pem_of(const char* label, const std::string& der) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio(bio.get(), label, "", reinterpret_cast<const unsigned char*>(der.data()),
                static_cast<long>(der.size()));
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(length)};
}

Identity509 make(const Leaf& leaf, const Identity509* issuer, KeyPtr key) {
  if (!key) key = make_key();
  const X509Ptr x509(X509_new());
  X509_set_version(x509.get(), leaf.version1 ? X509_VERSION_1 : X509_VERSION_3);
  set_serial(x509.get(), leaf);
  const std::time_t now = std::time(nullptr);
  ASN1_TIME_set(X509_getm_notBefore(x509.get()), leaf.not_before != 0 ? leaf.not_before : now - 3600);
  ASN1_TIME_set(X509_getm_notAfter(x509.get()), leaf.not_after != 0 ? leaf.not_after : now + 365L * 86400);
  X509_NAME* name = X509_get_subject_name(x509.get());
  if (!leaf.organization.empty()) add_name(name, "O", leaf.organization, leaf.string_type);
  if (!leaf.cn.empty()) add_name(name, "CN", leaf.cn, leaf.string_type);
  for (const std::string& cn : leaf.more_cns) add_name(name, "CN", cn, leaf.string_type);
  X509* above = issuer != nullptr ? issuer->certificate.x509() : x509.get();
  X509_set_issuer_name(x509.get(), X509_get_subject_name(above));
  X509_set_pubkey(x509.get(), key.get());
  if (!leaf.version1) set_extensions(x509.get(), above, leaf);
  EVP_PKEY* signer = issuer != nullptr ? issuer->key.get() : key.get();
  require(X509_sign(x509.get(), signer, digest_for(signer, leaf.sha1)) > 0, "signing");
  // Through DER, so that nothing of the builder's state is left in it.
  unsigned char* der = nullptr;
  const int length = i2d_X509(x509.get(), &der);
  auto certificate = Certificate::from_der(Bytes(der, static_cast<std::size_t>(length)));
  OPENSSL_free(der);
  require(static_cast<bool>(certificate), "parsing");
  return {std::move(*certificate), std::move(key)};
}

Identity509 make_ca(const std::string& cn, const Identity509* issuer, Kind kind) {
  Leaf leaf;
  leaf.cn = cn;
  leaf.ca = true;
  leaf.key_usage = "";
  leaf.not_after = std::time(nullptr) + 3650L * 86400;
  return make(leaf, issuer, make_key(kind));
}

Identity509 make_device(const std::string& cn, const Identity509& issuer, Kind kind) {
  Leaf leaf;
  leaf.cn = cn;
  return make(leaf, &issuer, make_key(kind));
}

Identity509 make_again(const Identity509& original, const Identity509* issuer, Leaf leaf) {
  leaf.cn = original.certificate.cn();
  EVP_PKEY_up_ref(original.key.get());
  const Identity509* signer = issuer != nullptr ? issuer : nullptr;
  return make(leaf, signer, KeyPtr(original.key.get()));
}

Identity509 respell(const Identity509& ca) {
  Leaf leaf;
  leaf.cn = "  ";
  for (const char c : ca.certificate.cn()) {
    leaf.cn += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    if (c == ' ') leaf.cn += ' ';
  }
  leaf.string_type = V_ASN1_PRINTABLESTRING;
  leaf.ca = true;
  leaf.key_usage = "";
  leaf.not_after = ca.certificate.not_after();
  EVP_PKEY_up_ref(ca.key.get());
  return make(leaf, nullptr, KeyPtr(ca.key.get()));
}

Certificate rewrite_signature(const Certificate& certificate) {
  const X509Ptr copy(X509_dup(certificate.x509()));
  const ASN1_BIT_STRING* bits = nullptr;
  X509_get0_signature(&bits, nullptr, copy.get());
  const unsigned char* at = bits->data;
  ECDSA_SIG* signature = d2i_ECDSA_SIG(nullptr, &at, bits->length);
  require(signature != nullptr, "an ECDSA signature");
  BIGNUM* order = nullptr;
  // The order of P-256: SEC 2, section 2.4.2.
  BN_hex2bn(&order, "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551");
  BIGNUM* r = BN_dup(ECDSA_SIG_get0_r(signature));
  BIGNUM* s = BN_new();
  BN_sub(s, order, ECDSA_SIG_get0_s(signature));
  ECDSA_SIG_set0(signature, r, s);
  unsigned char* der = nullptr;
  const int length = i2d_ECDSA_SIG(signature, &der);
  auto* writable = const_cast<ASN1_BIT_STRING*>(bits);
  ASN1_BIT_STRING_set(writable, der, length);
  OPENSSL_free(der);
  BN_free(order);
  ECDSA_SIG_free(signature);
  unsigned char* out = nullptr;
  const int size = i2d_X509(copy.get(), &out);
  auto rewritten = Certificate::from_der(Bytes(out, static_cast<std::size_t>(size)));
  OPENSSL_free(out);
  require(static_cast<bool>(rewritten), "the rewritten certificate");
  return std::move(*rewritten);
}

TempDir::TempDir() {
  std::string pattern = std::filesystem::temp_directory_path() / "sallyport-test.XXXXXX";
  require(::mkdtemp(pattern.data()) != nullptr, "a temporary folder");
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::write(const std::string& name, const std::string& content) const {
  const std::string path = path_ + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

}  // namespace sallyport::test
