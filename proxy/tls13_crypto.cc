#include "proxy/tls13_crypto.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>

#include "cache/light_parsing.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, OpensslFree<&EVP_PKEY_CTX_free>>;
using MdContextPtr = std::unique_ptr<EVP_MD_CTX, OpensslFree<&EVP_MD_CTX_free>>;

// OpenSSL leaves an entry for each failure, also for those that were expected; clearing an empty queue is dear.
struct NoErrorsLeft {
  ~NoErrorsLeft() {
    if (ERR_peek_error() != 0) ERR_clear_error();
  }
};

// A key of the group, never used as one: OpenSSL 3.0 sets a curve up for each key that is not made after another.
EVP_PKEY* prepared_key(Group group) {
  OSSL_LIB_CTX* const context = light_parsing_context();
  static EVP_PKEY* const x25519 = EVP_PKEY_Q_keygen(context, nullptr, "X25519");
  static EVP_PKEY* const p256 = EVP_PKEY_Q_keygen(context, nullptr, "EC", "P-256");
  return group == Group::X25519 ? x25519 : p256;
}

// Null for what is none.
KeyPtr public_key(Group group, Bytes encoded) {
  EVP_PKEY* const like = prepared_key(group);
  KeyPtr made(like == nullptr ? nullptr : EVP_PKEY_new());
  const bool set = made && EVP_PKEY_copy_parameters(made.get(), like) == 1 &&
                   EVP_PKEY_set1_encoded_public_key(made.get(), encoded.data(), encoded.size()) == 1;
  return set ? std::move(made) : nullptr;
}

// What a CertificateVerify signs: section 4.4.3.
struct Signed {
  static constexpr std::size_t kSpaces = 64;
  std::array<std::uint8_t, kSpaces + kServerContext.size() + 1 + Sha256::kBytes> bytes;

  Signed(std::string_view context, const TranscriptHash& hash) {
    static_assert(kServerContext.size() == kClientContext.size());
    auto at = std::fill_n(bytes.begin(), kSpaces, std::uint8_t{' '});
    at = std::copy(context.begin(), context.end(), at);
    *at++ = 0;
    std::copy(hash.begin(), hash.end(), at);
  }
};

struct Scheme {
  std::uint16_t code;
  int key;             // EVP_PKEY_*
  const char* group;   // of an EC key
  const char* digest;  // null: the signature's own
};
// Section 4.2.3. Without RSASSA-PKCS1-v1_5: "these values refer solely to signatures which appear in certificates".
constexpr Scheme kSchemes[] = {
    {0x0403, EVP_PKEY_EC, "prime256v1", "SHA2-256"}, {0x0503, EVP_PKEY_EC, "secp384r1", "SHA2-384"},
    {0x0603, EVP_PKEY_EC, "secp521r1", "SHA2-512"},  {0x0807, EVP_PKEY_ED25519, nullptr, nullptr},
    {0x0808, EVP_PKEY_ED448, nullptr, nullptr},      {0x0804, EVP_PKEY_RSA, nullptr, "SHA2-256"},
    {0x0805, EVP_PKEY_RSA, nullptr, "SHA2-384"},     {0x0806, EVP_PKEY_RSA, nullptr, "SHA2-512"},
    {0x0809, EVP_PKEY_RSA_PSS, nullptr, "SHA2-256"}, {0x080a, EVP_PKEY_RSA_PSS, nullptr, "SHA2-384"},
    {0x080b, EVP_PKEY_RSA_PSS, nullptr, "SHA2-512"},
};

const Scheme* scheme_for(const EVP_PKEY* key, std::uint16_t code) {
  const auto* found =
      std::find_if(std::begin(kSchemes), std::end(kSchemes), [&](const Scheme& each) { return each.code == code; });
  if (found == std::end(kSchemes) || EVP_PKEY_get_base_id(key) != found->key) return nullptr;
  if (found->group == nullptr) return found;
  char group[64];
  if (EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) != 1) return nullptr;
  return std::string_view(group) == found->group ? found : nullptr;
}

// All of `der`, or null.
X509Ptr parse(Bytes der, OSSL_LIB_CTX* context) {
  X509* into = X509_new_ex(context, nullptr);
  const unsigned char* at = der.data();
  X509Ptr read(into == nullptr ? nullptr : d2i_X509(&into, &at, static_cast<long>(der.size())));  // frees `into`
  return read && at == der.data() + der.size() ? std::move(read) : nullptr;
}

// The key of a SubjectPublicKeyInfo with an uncompressed point on P-256 (RFC 5480, section 2); null for any other, also
// where it is no point of the curve. OpenSSL 3.0 sets up a chain of decoders to read one, two thirds of a certificate.
KeyPtr p256_key_of(const X509* x509) {
  constexpr int kPointBytes = 65;
  constexpr unsigned char kUncompressed = 4;
  const unsigned char* point = nullptr;
  int length = 0;
  X509_ALGOR* algorithm = nullptr;
  if (X509_PUBKEY_get0_param(nullptr, &point, &length, &algorithm, X509_get_X509_PUBKEY(x509)) != 1) return nullptr;
  const ASN1_OBJECT* type = nullptr;
  const void* curve = nullptr;
  int kind = 0;
  X509_ALGOR_get0(&type, &kind, &curve, algorithm);
  const bool on_p256 = OBJ_obj2nid(type) == NID_X9_62_id_ecPublicKey && kind == V_ASN1_OBJECT &&
                       OBJ_obj2nid(static_cast<const ASN1_OBJECT*>(curve)) == NID_X9_62_prime256v1;
  if (!on_p256 || length != kPointBytes || point[0] != kUncompressed) return nullptr;
  return public_key(Group::P256, {point, static_cast<std::size_t>(length)});
}

// RSASSA-PSS with a salt as long as the digest.
bool set_padding(const Scheme& scheme, EVP_PKEY_CTX* context) {
  if (scheme.key != EVP_PKEY_RSA && scheme.key != EVP_PKEY_RSA_PSS) return true;
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

}  // namespace

bool exchange_keys(Group group, Bytes peer, KeyExchange& made) {
  const NoErrorsLeft errors;
  EVP_PKEY* const like = prepared_key(group);
  const KeyContextPtr making(like == nullptr ? nullptr
                                             : EVP_PKEY_CTX_new_from_pkey(light_parsing_context(), like, nullptr));
  EVP_PKEY* generated = nullptr;
  if (!making || EVP_PKEY_keygen_init(making.get()) != 1 || EVP_PKEY_generate(making.get(), &generated) != 1) {
    return false;
  }
  const KeyPtr own(generated);
  const KeyPtr theirs = public_key(group, peer);
  const KeyContextPtr deriving(EVP_PKEY_CTX_new_from_pkey(light_parsing_context(), own.get(), nullptr));
  if (!theirs || !deriving) return false;
  unsigned char* share = nullptr;
  const std::size_t length = EVP_PKEY_get1_encoded_public_key(own.get(), &share);
  made.share.assign(share, share + length);
  OPENSSL_free(share);
  std::size_t shared = made.shared.size();
  return length == peer.size() && EVP_PKEY_derive_init(deriving.get()) == 1 &&
         EVP_PKEY_derive_set_peer(deriving.get(), theirs.get()) == 1 &&
         EVP_PKEY_derive(deriving.get(), made.shared.data(), &shared) == 1 && shared == made.shared.size();
}

bool sign_transcript(EVP_PKEY* key, std::uint16_t code, const TranscriptHash& hash,
                     std::vector<std::uint8_t>& signature) {
  const NoErrorsLeft errors;
  const Scheme* scheme = scheme_for(key, code);
  const MdContextPtr signing(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  if (scheme == nullptr || !signing ||
      EVP_DigestSignInit_ex(signing.get(), &parameters, scheme->digest, light_parsing_context(), nullptr, key,
                            nullptr) != 1 ||
      !set_padding(*scheme, parameters)) {
    return false;
  }
  const Signed content(kServerContext, hash);
  std::size_t length = static_cast<std::size_t>(EVP_PKEY_get_size(key));
  signature.resize(length);
  if (EVP_DigestSign(signing.get(), signature.data(), &length, content.bytes.data(), content.bytes.size()) != 1) {
    return false;
  }
  signature.resize(length);
  return true;
}

Proof check_transcript(EVP_PKEY* key, std::uint16_t code, const TranscriptHash& hash, Bytes signature) {
  const NoErrorsLeft errors;
  const Scheme* scheme = scheme_for(key, code);
  if (scheme == nullptr) return Proof::WrongScheme;
  const MdContextPtr checking(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  if (!checking ||
      EVP_DigestVerifyInit_ex(checking.get(), &parameters, scheme->digest, light_parsing_context(), nullptr, key,
                              nullptr) != 1 ||
      !set_padding(*scheme, parameters)) {
    return Proof::Bad;
  }
  const Signed content(kClientContext, hash);
  return EVP_DigestVerify(checking.get(), signature.data(), signature.size(), content.bytes.data(),
                          content.bytes.size()) == 1
             ? Proof::Good
             : Proof::Bad;
}

X509Ptr read_certificate(Bytes der) {
  const NoErrorsLeft errors;
  X509Ptr read = parse(der, light_parsing_context());
  return read && X509_get0_pubkey(read.get()) != nullptr ? std::move(read) : nullptr;
}

ReadCertificate read_leaf(Bytes der) {
  const NoErrorsLeft errors;
  ReadCertificate read;
  if (keyless_parsing_context() != nullptr) read.x509 = parse(der, keyless_parsing_context());
  if (read.x509) read.key = p256_key_of(read.x509.get());
  read.keyless = read.key != nullptr;
  if (read.keyless) return read;
  read.x509 = read_certificate(der);
  if (read.x509) read.key.reset(X509_get_pubkey(read.x509.get()));
  return read;
}

}  // namespace sallyport
