#include "cache/x509/certificate.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "cache/base/text.h"
#include "cache/crypto/light_parsing.h"
#include "cache/crypto/openssl_ptr.h"
#include "cache/crypto/sha2.h"
#include "cache/x509/canonical_name.h"
#include "cache/x509/pem.h"
#include "cache/x509/read_help.h"

namespace sallyport {

namespace {

constexpr std::size_t kDerLimit = 64 * 1024;
constexpr std::size_t kSerialLimit = 128;  // an operator can type no longer one
constexpr std::size_t kBundleLimit = 10'000;
constexpr int kExponentBits = 32;  // as much as Windows' CryptoAPI and its keys hold; nearly all keys have 65537

Refusal refusal(std::string what) {
  ERR_clear_error();
  return {Refusal::Kind::Invalid, std::move(what)};
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string hex(Bytes bytes, const char* digits) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const std::uint8_t b : bytes) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

std::string octets(const ASN1_STRING* string) {
  if (string == nullptr) return {};
  const auto* data = reinterpret_cast<const char*>(ASN1_STRING_get0_data(string));
  return {data, static_cast<std::size_t>(ASN1_STRING_length(string))};
}

std::string serial_of(const X509* x509) {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(x509);
  std::string magnitude = octets(serial);
  magnitude.erase(0, std::min(magnitude.find_first_not_of('\0'), magnitude.size()));
  const bool negative = ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER;
  if (negative || magnitude.empty()) magnitude.insert(magnitude.begin(), '\0');
  return magnitude;
}

KeyType key_type_of(const EVP_PKEY* key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA: return KeyType::Rsa;
    case EVP_PKEY_ED25519: return KeyType::Ed25519;
    case EVP_PKEY_EC: break;
    default: return KeyType::Other;
  }
  char group[64];
  if (EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) != 1) return KeyType::Other;
  const std::string_view name(group);
  if (name == "prime256v1") return KeyType::EcP256;
  if (name == "secp384r1") return KeyType::EcP384;
  if (name == "secp521r1") return KeyType::EcP521;
  return KeyType::Other;
}

}  // namespace

std::string to_hex(Bytes bytes) {
  return hex(bytes, "0123456789abcdef");
}

std::string serial_hex(Bytes serial) {
  const bool negative = serial.size() > 1 && serial[0] == 0;
  return (negative ? "-" : "") + hex(negative ? serial.subspan(1) : serial, "0123456789ABCDEF");
}

namespace {

constexpr unsigned long kOneLine = XN_FLAG_ONELINE & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB);

// Takes everything and keeps the beginning, a byte more than is shown of it.
int keep_beginning(BIO* bio, const char* from, int size) {
  auto& text = *static_cast<std::string*>(BIO_get_data(bio));
  text.append(from, std::min(static_cast<std::size_t>(size), kPeerText + 1 - std::min(text.size(), kPeerText + 1)));
  return size;
}

const BIO_METHOD* beginning_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "beginning");
    if (made != nullptr) BIO_meth_set_write(made, &keep_beginning);
    return made;
  }();
  return method;
}

}  // namespace

std::string short_line(const X509_NAME* name) {
  std::string text;
  const BioPtr bio(beginning_method() == nullptr ? nullptr : BIO_new(beginning_method()));
  if (!bio) return {};
  BIO_set_data(bio.get(), &text);
  BIO_set_init(bio.get(), 1);
  X509_NAME_print_ex(bio.get(), name, 0, kOneLine);
  return shortened(text);
}

std::string one_line(const X509_NAME* name) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio) return {};
  X509_NAME_print_ex(bio.get(), name, 0, kOneLine);
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return length > 0 ? std::string(text, static_cast<std::size_t>(length)) : std::string();
}

bool parse_hex(std::string_view text, std::vector<std::uint8_t>& out) {
  out.clear();
  int high = -1;
  for (const char c : text) {
    if (c == ':' && high < 0) continue;
    const int value = hex_value(c);
    if (value < 0) return false;
    if (high < 0) {
      high = value;
    } else {
      out.push_back(static_cast<std::uint8_t>(high * 16 + value));
      high = -1;
    }
  }
  return high < 0;
}

std::optional<std::string> parse_serial(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '-';
  std::string digits(text.substr(negative ? 1 : 0));
  digits.erase(std::remove(digits.begin(), digits.end(), ':'), digits.end());
  if (digits.empty() || digits.size() > 2 * kSerialLimit) return std::nullopt;
  if (digits.size() % 2 != 0) digits.insert(digits.begin(), '0');
  std::vector<std::uint8_t> bytes;
  if (!parse_hex(digits, bytes)) return std::nullopt;
  std::string serial(std::find_if(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b != 0; }), bytes.end());
  // Zero is one byte, and never negative.
  if (negative && serial.empty()) return std::nullopt;
  if (negative || serial.empty()) serial.insert(serial.begin(), '\0');
  return serial;
}

std::optional<Digest> parse_digest(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  Digest digest{};
  if (!parse_hex(text, bytes) || bytes.size() != digest.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

Certificate::Certificate(const Certificate& other)
    : x509_(other.x509_),
      der_(other.der_),
      subject_name_(other.subject_name_),
      issuer_name_(other.issuer_name_),
      serial_(other.serial_),
      subject_key_id_(other.subject_key_id_),
      authority_key_id_(other.authority_key_id_),
      fingerprint_(other.fingerprint_),
      spki_hash_(other.spki_hash_),
      not_before_(other.not_before_),
      not_after_(other.not_after_),
      key_type_(other.key_type_),
      key_bits_(other.key_bits_),
      is_ca_(other.is_ca_) {
  if (x509_ != nullptr) X509_up_ref(x509_);
}

Certificate::Certificate(Certificate&& other) noexcept : Certificate() {
  swap(other);
}

Certificate& Certificate::operator=(Certificate other) noexcept {
  swap(other);
  return *this;
}

void Certificate::swap(Certificate& other) noexcept {
  std::swap(x509_, other.x509_);
  der_.swap(other.der_);
  subject_name_.swap(other.subject_name_);
  issuer_name_.swap(other.issuer_name_);
  serial_.swap(other.serial_);
  subject_key_id_.swap(other.subject_key_id_);
  authority_key_id_.swap(other.authority_key_id_);
  std::swap(fingerprint_, other.fingerprint_);
  std::swap(spki_hash_, other.spki_hash_);
  std::swap(not_before_, other.not_before_);
  std::swap(not_after_, other.not_after_);
  std::swap(key_type_, other.key_type_);
  std::swap(key_bits_, other.key_bits_);
  std::swap(is_ca_, other.is_ca_);
}

Certificate::~Certificate() {
  X509_free(x509_);
}

Answer<Certificate> Certificate::brief(X509* x509) {
  Certificate certificate;
  X509_up_ref(x509);
  certificate.x509_ = x509;
  unsigned char* der = nullptr;
  const int length = i2d_X509(x509, &der);
  if (length <= 0) return refusal("the certificate cannot be encoded");
  certificate.der_.assign(reinterpret_cast<char*>(der), static_cast<std::size_t>(length));
  OPENSSL_free(der);
  if (certificate.der_.size() > kDerLimit) return refusal("the certificate is larger than 64 KiB");
  certificate.fingerprint_ = Sha256::of(certificate.der_);
  certificate.issuer_name_ = canonical_name_of(X509_get_issuer_name(x509));
  certificate.serial_ = serial_of(x509);
  if (certificate.serial_.size() > kSerialLimit) return refusal("the serial number is longer than 128 bytes");
  if (!unix_time(X509_get0_notBefore(x509), certificate.not_before_) ||
      !unix_time(X509_get0_notAfter(x509), certificate.not_after_)) {
    return refusal("the certificate's dates cannot be read");
  }
  if (const EVP_PKEY* key = X509_get0_pubkey(x509); key != nullptr) {
    certificate.key_type_ = key_type_of(key);
    certificate.key_bits_ = EVP_PKEY_get_bits(key);
  }
  return certificate;
}

Answer<Certificate> Certificate::from_x509(X509* x509) {
  auto made = brief(x509);
  if (!made) return made;
  Certificate& certificate = *made;
  unsigned char* spki = nullptr;
  const int spki_length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &spki);
  if (spki_length <= 0) return refusal("the certificate's public key cannot be read");
  certificate.spki_hash_ = Sha256::of(Bytes(spki, static_cast<std::size_t>(spki_length)));
  OPENSSL_free(spki);
  certificate.subject_name_ = canonical_name_of(X509_get_subject_name(x509));
  certificate.subject_key_id_ = octets(X509_get0_subject_key_id(x509));
  certificate.authority_key_id_ = octets(X509_get0_authority_key_id(x509));
  // Also fills the extension cache inside the X509 now, before threads share it.
  const std::uint32_t flags = X509_get_extension_flags(x509);
  const bool v1_root = (flags & EXFLAG_V1) != 0 && (flags & EXFLAG_SS) != 0;
  certificate.is_ca_ = (flags & EXFLAG_CA) != 0 || v1_root;
  ERR_clear_error();
  return made;
}

Answer<Certificate> Certificate::from_der(Bytes der) {
  if (der.size() > kDerLimit) return refusal("the certificate is larger than 64 KiB");
  const unsigned char* at = der.data();
  const X509Ptr x509(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (!x509) return refusal("this is not an X.509 certificate");
  if (at != der.data() + der.size()) return refusal("there are bytes after the certificate");
  return from_x509(x509.get());
}

Answer<Certificate> Certificate::from_pem(std::string_view pem) {
  auto all = bundle_from_pem(pem);
  if (!all) return all.error();
  if (all->size() > 1)
    return refusal("there are " + std::to_string(all->size()) + " certificates in it: one is wanted");
  return std::move(all->front());
}

Answer<Certificate> Certificate::from_der_lightly(Bytes der) {
  X509* into = X509_new_ex(light_parsing_context(), nullptr);
  const unsigned char* at = der.data();
  const X509Ptr x509(der.size() > kDerLimit ? nullptr : d2i_X509(&into, &at, static_cast<long>(der.size())));
  const bool whole = x509 && at == der.data() + der.size() && X509_get0_pubkey(x509.get()) != nullptr;
  ERR_clear_error();
  return whole ? from_x509(x509.get()) : from_der(der);
}

Answer<Certificate> Certificate::from_pem_lightly(std::string_view pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(std::min(pem.size(), std::size_t{INT32_MAX}))));
  unsigned char* der = nullptr;
  long length = 0;
  if (!bio || PEM_bytes_read_bio(&der, &length, nullptr, PEM_STRING_X509, bio.get(), nullptr, nullptr) != 1) {
    return from_pem(pem);
  }
  auto read = from_der_lightly({der, static_cast<std::size_t>(length)});
  OPENSSL_free(der);
  return read;
}

Answer<std::vector<Certificate>> Certificate::bundle_from_pem(std::string_view pem) {
  const auto ders = pem_objects(pem, PemKind::Certificate, kBundleLimit);
  if (!ders) return ders.error();
  std::vector<Certificate> all;
  for (const std::string& der : *ders) {
    auto certificate = from_der({reinterpret_cast<const std::uint8_t*>(der.data()), der.size()});
    if (!certificate) {
      return refusal("certificate " + std::to_string(all.size() + 1) +
                     " in it cannot be read: " + certificate.error().what);
    }
    all.push_back(std::move(*certificate));
  }
  return all;
}

std::string Certificate::subject() const {
  return one_line(X509_get_subject_name(x509_));
}

std::string Certificate::cn() const {
  const X509_NAME* name = X509_get_subject_name(x509_);
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0) return {};
  unsigned char* utf8 = nullptr;
  const int length = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (length < 0) return ERR_clear_error(), std::string();
  std::string out(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(length));
  OPENSSL_free(utf8);
  return out;
}

std::string Certificate::key_type_name() const {
  switch (key_type_) {
    case KeyType::Rsa: return "RSA-" + std::to_string(key_bits_);
    case KeyType::EcP256: return "EC-P256";
    case KeyType::EcP384: return "EC-P384";
    case KeyType::EcP521: return "EC-P521";
    case KeyType::Ed25519: return "Ed25519";
    case KeyType::Other: return "other";
  }
  return "other";
}

std::string Certificate::pem() const {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), x509_) != 1) return refusal("").what;
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(length)};
}

bool Certificate::provable_in_tls() const {
  if (key_type_ != KeyType::Other) return true;
  const EVP_PKEY* key = X509_get0_pubkey(x509_);
  const int kind = key == nullptr ? EVP_PKEY_NONE : EVP_PKEY_get_base_id(key);
  ERR_clear_error();
  return kind == EVP_PKEY_RSA_PSS || kind == EVP_PKEY_ED448;
}

bool Certificate::rsa_at_most(int bits) const {
  const EVP_PKEY* key = X509_get0_pubkey(x509_);
  const int kind = key == nullptr ? EVP_PKEY_NONE : EVP_PKEY_get_base_id(key);
  if (kind != EVP_PKEY_RSA && kind != EVP_PKEY_RSA_PSS) return true;
  BIGNUM* read = nullptr;
  const bool known = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &read) == 1;
  const BignumPtr exponent(read);
  ERR_clear_error();
  return known && EVP_PKEY_get_bits(key) <= bits && BN_num_bits(exponent.get()) <= kExponentBits;
}

bool Certificate::signed_by(EVP_PKEY* key) const {
  const bool fits = key != nullptr && X509_verify(x509_, key) == 1;
  ERR_clear_error();
  return fits;
}

}  // namespace sallyport
