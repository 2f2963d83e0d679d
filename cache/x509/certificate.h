// A certificate, parsed once: DER, SHA-256, names, serial, key ids, dates. Pure: no state, no clock, no
// I/O. Immutable and cheap to move; copying shares the X509 (OpenSSL's own reference count, thread-safe).
// RFC 5280 names are used throughout. OpenSSL's x509.h stays out of this header.
#pragma once

#include <openssl/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"

namespace sallyport {

using Digest = std::array<std::uint8_t, 32>;  // SHA-256
using Bytes = std::span<const std::uint8_t>;
// What is kept as text, such as a row of the registry, as the bytes that it is. Borrowed.
inline Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string to_hex(Bytes bytes);       // lower case
std::string serial_hex(Bytes serial);  // as `openssl x509 -serial` prints it
// RFC 2253's escapes in the name's own order, as `openssl x509 -subject` shows it; UTF-8.
std::string one_line(const X509_NAME* name);
// The same, shortened() to kPeerText bytes: the rest of a stranger's name is never held.
std::string short_line(const X509_NAME* name);
bool parse_hex(std::string_view text, std::vector<std::uint8_t>& out);  // either case, colons allowed
// What serial_hex() and to_hex() print, and the openssl commands: either case, colons allowed, and a serial number may
// leave out leading zeros. Nothing where it is none.
std::optional<std::string> parse_serial(std::string_view text);  // as Certificate::serial() has it
std::optional<Digest> parse_digest(std::string_view text);

enum class KeyType : std::uint8_t { Rsa, EcP256, EcP384, EcP521, Ed25519, Other };

constexpr int kLargestRsaBits = 8192;  // of a device's key and a CA's; what a client sends beside them: PathBuilder

class Certificate {
 public:
  Certificate(const Certificate& other);
  Certificate(Certificate&& other) noexcept;
  Certificate& operator=(Certificate other) noexcept;
  ~Certificate();

  static Answer<Certificate> from_der(Bytes der);
  static Answer<Certificate> from_pem(std::string_view pem);  // the first certificate in it
  // The same for many: several times faster, for the keys devices have (EC, RSA, Ed25519). What it cannot read
  // is read the usual way.
  static Answer<Certificate> from_pem_lightly(std::string_view pem);
  static Answer<std::vector<Certificate>> bundle_from_pem(std::string_view pem);  // all of them, in order; >= 1
  static Answer<Certificate> from_x509(X509* x509);                               // takes a reference of its own

  static Answer<Certificate> from_der_lightly(Bytes der);

  // Of a certificate that only one thread looks at, what tells whose it is: the DER, fingerprint, issuer, serial,
  // dates and kind of key. Extensions are not parsed; everything else is empty.
  static Answer<Certificate> brief(X509* x509);

  X509* x509() const { return x509_; }
  const std::string& der() const { return der_; }
  const Digest& fingerprint() const { return fingerprint_; }  // SHA-256 of the DER
  const Digest& spki_hash() const { return spki_hash_; }      // SHA-256 of the SubjectPublicKeyInfo
  // As names are compared: canonical_name.h.
  const std::string& subject_name() const { return subject_name_; }
  const std::string& issuer_name() const { return issuer_name_; }
  // The serial number's magnitude, big-endian, without leading zeros; zero is one 00 byte, a negative one is
  // 00 followed by its magnitude: no two serials are equal, and 1 to 128 bytes suffice.
  const std::string& serial() const { return serial_; }
  const std::string& subject_key_id() const { return subject_key_id_; }      // empty when absent
  const std::string& authority_key_id() const { return authority_key_id_; }  // empty when absent
  std::int64_t not_before() const { return not_before_; }                    // Unix seconds, UTC
  std::int64_t not_after() const { return not_after_; }
  KeyType key_type() const { return key_type_; }
  int key_bits() const { return key_bits_; }
  // No RSA key, or one that is quick to check signatures with: no longer than that, and its public exponent within 32
  // bits. OpenSSL bounds the exponent above 3072 bits only: one as long as the modulus costs 100 times what 65537 does.
  bool rsa_at_most(int bits) const;
  // A key with which a client can prove in TLS that it holds it: RSA (also one for PSS alone), EC P-256, P-384, P-521,
  // Ed25519, Ed448. No other curve has a signature scheme (RFC 8446, section 4.2.3).
  bool provable_in_tls() const;
  bool is_ca() const { return is_ca_; }  // basicConstraints CA:TRUE, or a v1 self-signed root
  bool self_issued() const { return subject_name_ == issuer_name_; }

  std::string subject() const;        // one_line()
  std::string cn() const;             // the one CN, or empty where there is none or several
  std::string key_type_name() const;  // "RSA-2048", "EC-P256", "Ed25519", …
  std::string pem() const;
  bool signed_by(EVP_PKEY* key) const;

 private:
  Certificate() = default;
  void swap(Certificate& other) noexcept;
  X509* x509_ = nullptr;
  std::string der_, subject_name_, issuer_name_, serial_, subject_key_id_, authority_key_id_;
  Digest fingerprint_{}, spki_hash_{};
  std::int64_t not_before_ = 0, not_after_ = 0;
  KeyType key_type_ = KeyType::Other;
  int key_bits_ = 0;
  bool is_ca_ = false;
};

}  // namespace sallyport
