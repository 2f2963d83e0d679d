// Certificates made in the test's own process: keys, CAs and leaves of every shape the tests need.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cache/crypto/openssl_ptr.h"
#include "cache/x509/certificate.h"

namespace sallyport::test {

enum class Kind { Rsa1024, Rsa2048, P256, P384, P521, K256, Ed25519, Ed448 };

KeyPtr make_key(Kind kind = Kind::P256);
// Of primes of fewer than 768 bits, which are found quickly. Exponent 0: the private one is 65537 in its place, and so
// the public one as long as the modulus.
KeyPtr make_rsa(int bits, std::uint64_t exponent = 65537, const char* type = "RSA");
std::string key_pem(const EVP_PKEY* key);  // PKCS#8
std::string pem_of(const char* label, const std::string& der);

// What a certificate is made of. The defaults make a good device certificate.
struct Leaf {
  std::string cn = "device-1";
  std::vector<std::string> more_cns;
  std::string organization;          // for subjects that must differ otherwise
  int string_type = 0;               // V_ASN1_PRINTABLESTRING, …, of the subject; 0: UTF8String
  std::int64_t not_before = 0;       // 0: an hour ago
  std::int64_t not_after = 0;        // 0: in a year
  std::vector<std::uint8_t> serial;  // big-endian magnitude; empty: 16 random bytes
  bool negative_serial = false;
  bool ca = false;                                             // basicConstraints CA:TRUE
  bool basic_constraints = true;                               // false: none at all
  int path_length = -1;                                        // with ca
  std::string key_usage = "digitalSignature,keyEncipherment";  // as in openssl.cnf; empty: none
  std::string extended_key_usage;                              // "clientAuth", "serverAuth", …; empty: none
  std::string subject_alt_name;                                // "DNS:a,URI:b"; empty: none
  std::string authority_key_id = "keyid";                      // as in openssl.cnf; empty: none
  std::string name_constraints;                                // of a CA, as in openssl.cnf; empty: none
  bool version1 = false;                                       // no extensions
  bool sha1 = false;
};

struct Identity509 {
  Certificate certificate;
  KeyPtr key;
};

// Signed by `issuer`; self-signed where it is null. `key` null: a new P-256 key.
Identity509 make(const Leaf& leaf, const Identity509* issuer, KeyPtr key = nullptr);
Identity509 make_ca(const std::string& cn, const Identity509* issuer = nullptr, Kind kind = Kind::P256);
Identity509 make_device(const std::string& cn, const Identity509& issuer, Kind kind = Kind::P256);
// Another certificate for the same subject and key, signed by `issuer` (null: self-signed).
Identity509 make_again(const Identity509& original, const Identity509* issuer, Leaf leaf);

// The same CA with its name in another spelling: upper case, more spaces, and PrintableString. What it signs is signed
// by `ca`, and names it so.
Identity509 respell(const Identity509& ca);

// The same ECDSA certificate with its signature (r, s) rewritten to (r, n - s): valid, and other bytes.
Certificate rewrite_signature(const Certificate& certificate);

// A folder that is removed with its content.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string write(const std::string& name, const std::string& content) const;  // returns the path

 private:
  std::string path_;
};

}  // namespace sallyport::test
