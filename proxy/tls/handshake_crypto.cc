#include "proxy/tls/handshake_crypto.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>

#include "cache/crypto/light_parsing.h"
#include "cache/crypto/openssl_alone.h"
#include "proxy/tls/record_cipher.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;
constexpr const char* kMlKem = "ML-KEM-768";

using MdContextPtr = std::unique_ptr<EVP_MD_CTX, OpensslFree<&EVP_MD_CTX_free>>;

// A key of the group, never used as one: OpenSSL 3.0 sets a curve up for each key that is not made after another.
EVP_PKEY* prepared_key(Group group) {
  OSSL_LIB_CTX* const context = light_parsing_context();
  static EVP_PKEY* const x25519 = EVP_PKEY_Q_keygen(context, nullptr, "X25519");
  static EVP_PKEY* const p256 = EVP_PKEY_Q_keygen(context, nullptr, "EC", "P-256");
  return group == Group::X25519 ? x25519 : p256;
}

KeyContextPtr context_of(EVP_PKEY* key) {
  return KeyContextPtr(key == nullptr ? nullptr : EVP_PKEY_CTX_new_from_pkey(light_parsing_context(), key, nullptr));
}

// What a thread keeps for one group from handshake to handshake. There are no secrets among it.
class Kept {
 public:
  static Kept& of(Group group) {
    thread_local Kept x25519(Group::X25519), p256(Group::P256);
    return group == Group::X25519 ? x25519 : p256;
  }

  // Ready to make keys; null where OpenSSL fails.
  EVP_PKEY_CTX* making() const { return making_.get(); }
  // A peer's key, until the next is asked for; null for what is none.
  EVP_PKEY* public_key(Bytes encoded) {
    const bool set = peer_ && EVP_PKEY_set1_encoded_public_key(peer_.get(), encoded.data(), encoded.size()) == 1;
    return set ? peer_.get() : nullptr;
  }
  // Ready to check what public_key() signed with ECDSA; null where OpenSSL fails.
  EVP_PKEY_CTX* checking() {
    if (!checking_ && peer_) {
      checking_ = context_of(peer_.get());
      if (checking_ && EVP_PKEY_verify_init(checking_.get()) != 1) checking_.reset();
    }
    return checking_.get();
  }

 private:
  explicit Kept(Group group) : making_(context_of(prepared_key(group))), peer_(EVP_PKEY_new()) {
    if (making_ && EVP_PKEY_keygen_init(making_.get()) != 1) making_.reset();
    if (!making_ || !peer_ || EVP_PKEY_copy_parameters(peer_.get(), prepared_key(group)) != 1) peer_.reset();
  }

  KeyContextPtr making_;
  KeyPtr peer_;
  KeyContextPtr checking_;
};

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
  const char* group;   // of an EC key; in TLS 1.2, any of them
  const char* digest;  // null: the signature's own
  bool of_tls12 = false;
};
// RFC 8446, section 4.2.3. There RSASSA-PKCS1-v1_5 is for certificates alone.
constexpr Scheme kSchemes[] = {
    {0x0403, EVP_PKEY_EC, "prime256v1", "SHA2-256"},   {0x0503, EVP_PKEY_EC, "secp384r1", "SHA2-384"},
    {0x0603, EVP_PKEY_EC, "secp521r1", "SHA2-512"},    {0x0807, EVP_PKEY_ED25519, nullptr, nullptr},
    {0x0808, EVP_PKEY_ED448, nullptr, nullptr},        {0x0804, EVP_PKEY_RSA, nullptr, "SHA2-256"},
    {0x0805, EVP_PKEY_RSA, nullptr, "SHA2-384"},       {0x0806, EVP_PKEY_RSA, nullptr, "SHA2-512"},
    {0x0809, EVP_PKEY_RSA_PSS, nullptr, "SHA2-256"},   {0x080a, EVP_PKEY_RSA_PSS, nullptr, "SHA2-384"},
    {0x080b, EVP_PKEY_RSA_PSS, nullptr, "SHA2-512"},   {0x0401, EVP_PKEY_RSA, nullptr, "SHA2-256", true},
    {0x0501, EVP_PKEY_RSA, nullptr, "SHA2-384", true}, {0x0601, EVP_PKEY_RSA, nullptr, "SHA2-512", true},
};

const Scheme* scheme_of(int key, std::uint16_t code, TlsVersion version) {
  const auto* found =
      std::find_if(std::begin(kSchemes), std::end(kSchemes), [&](const Scheme& each) { return each.code == code; });
  const bool fits =
      found != std::end(kSchemes) && found->key == key && (version == TlsVersion::V12 || !found->of_tls12);
  return fits ? found : nullptr;
}

// In TLS 1.2 an ECDSA scheme is of each of these curves, and of no others.
const Scheme* scheme_for(const EVP_PKEY* key, std::uint16_t code, TlsVersion version) {
  const Scheme* found = scheme_of(EVP_PKEY_get_base_id(key), code, version);
  if (found == nullptr || found->group == nullptr) return found;
  char group[64];
  if (EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) != 1) return nullptr;
  const bool fits = std::any_of(std::begin(kSchemes), std::end(kSchemes), [&](const Scheme& each) {
    return (version == TlsVersion::V12 || &each == found) && each.group != nullptr &&
           group == std::string_view(each.group);
  });
  return fits ? found : nullptr;
}

// RSASSA-PSS with a salt as long as the digest.
bool set_padding(const Scheme& scheme, EVP_PKEY_CTX* context) {
  if (scheme.of_tls12 || (scheme.key != EVP_PKEY_RSA && scheme.key != EVP_PKEY_RSA_PSS)) return true;
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

}  // namespace

KeyPtr make_exchange_key(Group group, std::vector<std::uint8_t>& share) {
  const NoErrorsLeft errors;
  const Kept& kept = Kept::of(group);
  EVP_PKEY* generated = nullptr;
  if (kept.making() == nullptr || EVP_PKEY_generate(kept.making(), &generated) != 1) return nullptr;
  KeyPtr own(generated);
  unsigned char* encoded = nullptr;
  const std::size_t length = EVP_PKEY_get1_encoded_public_key(own.get(), &encoded);
  share.assign(encoded, encoded + length);
  OPENSSL_free(encoded);
  return length > 0 ? std::move(own) : nullptr;
}

namespace {

// RFC 8446, section 4.2.8.2, and RFC 8422, sections 5.4.1 and 5.11: a share has no other. OpenSSL takes more.
bool has_the_form(Group group, Bytes share) {
  constexpr std::uint8_t kUncompressed = 4;
  return group == Group::X25519 ? share.size() == 32 : share.size() == 65 && share.front() == kUncompressed;
}

}  // namespace

bool derive_shared(Group group, const KeyPtr& own, Bytes peer, Secret256& shared) {
  if (!has_the_form(group, peer)) return false;
  const NoErrorsLeft errors;
  EVP_PKEY* const theirs = Kept::of(group).public_key(peer);
  const KeyContextPtr deriving = context_of(own.get());
  std::size_t length = shared.size();
  return theirs != nullptr && deriving && EVP_PKEY_derive_init(deriving.get()) == 1 &&
         EVP_PKEY_derive_set_peer(deriving.get(), theirs) == 1 &&
         EVP_PKEY_derive(deriving.get(), shared.data(), &length) == 1 && length == shared.size();
}

bool has_post_quantum_exchange() {
  const auto look = [] {
    const NoErrorsLeft errors;
    const KeyContextPtr known(EVP_PKEY_CTX_new_from_name(light_parsing_context(), kMlKem, nullptr));
    return known && EVP_PKEY_keygen_init(known.get()) == 1;
  };
  if (openssl_alone()) {
    static const bool providers_have = look();
    return providers_have;
  }
  static const bool has = look();
  return has;
}

namespace {

// FIPS 203, section 6.2, of the peer's encapsulation key: the ciphertext goes to `share`. False for what is no key.
bool encapsulate(Bytes key, std::vector<std::uint8_t>& share, Secret256& shared) {
  const NoErrorsLeft errors;
  const KeyPtr theirs(EVP_PKEY_new_raw_public_key_ex(light_parsing_context(), kMlKem, nullptr, key.data(), key.size()));
  const KeyContextPtr making = context_of(theirs.get());
  share.resize(kMlKemCiphertextBytes);
  std::size_t share_bytes = share.size(), shared_bytes = shared.size();
  return making && EVP_PKEY_encapsulate_init(making.get(), nullptr) == 1 &&
         EVP_PKEY_encapsulate(making.get(), share.data(), &share_bytes, shared.data(), &shared_bytes) == 1 &&
         share_bytes == share.size() && shared_bytes == shared.size();
}

}  // namespace

// draft-ietf-tls-ecdhe-mlkem, section 4: both shares, and both secrets, ML-KEM's first.
bool exchange_keys(Group group, Bytes peer, KeyExchange& made) {
  if (group != Group::X25519MlKem768) {
    const KeyPtr own = make_exchange_key(group, made.share);
    return own && derive_shared(group, own, peer, made.shared);
  }
  if (peer.size() != kMlKemKeyBytes + kX25519ShareBytes) return false;
  std::vector<std::uint8_t> classical;
  const KeyPtr own = make_exchange_key(Group::X25519, classical);
  if (!own || !derive_shared(Group::X25519, own, peer.last(kX25519ShareBytes), made.shared) ||
      !encapsulate(peer.first(kMlKemKeyBytes), made.share, made.shared_post_quantum)) {
    return false;
  }
  made.share.insert(made.share.end(), classical.begin(), classical.end());
  return true;
}

TranscriptSigner::TranscriptSigner(const EVP_PKEY* key, std::uint16_t scheme) : scheme_(scheme) {
  const NoErrorsLeft errors;
  const Scheme* found = scheme_for(key, scheme, TlsVersion::V13);
  ready_ = context_of(found == nullptr ? nullptr : const_cast<EVP_PKEY*>(key));  // it only counts references
  const bool set = ready_ && EVP_PKEY_sign_init(ready_.get()) == 1 && set_padding(*found, ready_.get()) &&
                   EVP_PKEY_CTX_set_signature_md(ready_.get(), EVP_sha256()) == 1;
  if (!set) ready_.reset();
}

bool TranscriptSigner::sign(const TranscriptHash& hash, std::vector<std::uint8_t>& signature) const {
  return sign_digest(Sha256::of(Signed(kServerContext, hash).bytes), signature);
}

bool TranscriptSigner::sign_digest(const Sha256::Hash& content, std::vector<std::uint8_t>& signature) const {
  const NoErrorsLeft errors;
  const KeyContextPtr signing(ready_ ? EVP_PKEY_CTX_dup(ready_.get()) : nullptr);
  if (!signing) return false;
  std::size_t length = static_cast<std::size_t>(EVP_PKEY_get_size(EVP_PKEY_CTX_get0_pkey(signing.get())));
  signature.resize(length);
  if (EVP_PKEY_sign(signing.get(), signature.data(), &length, content.data(), content.size()) != 1) return false;
  signature.resize(length);
  return true;
}

namespace {

bool is_proof(const P256Point& key, const Scheme& scheme, Bytes content, Bytes signature) {
  Kept& kept = Kept::of(Group::P256);
  if (kept.public_key(key) == nullptr || kept.checking() == nullptr) return false;
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> hash;
  std::size_t length = Sha256::kBytes;
  if (scheme.code == kEcdsaP256Sha256) {
    const Sha256::Hash digest = Sha256::of(content);
    std::copy(digest.begin(), digest.end(), hash.begin());
  } else if (EVP_Q_digest(nullptr, scheme.digest, nullptr, content.data(), content.size(), hash.data(), &length) != 1) {
    return false;
  }
  return EVP_PKEY_verify(kept.checking(), signature.data(), signature.size(), hash.data(), length) == 1;
}

bool is_proof(const KeyPtr& key, const Scheme& scheme, Bytes content, Bytes signature) {
  const MdContextPtr checking(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  return checking &&
         EVP_DigestVerifyInit_ex(checking.get(), &parameters, scheme.digest, light_parsing_context(), nullptr,
                                 key.get(), nullptr) == 1 &&
         set_padding(scheme, parameters) &&
         EVP_DigestVerify(checking.get(), signature.data(), signature.size(), content.data(), content.size()) == 1;
}

Proof check(const ClientKey& key, std::uint16_t code, TlsVersion version, Bytes content, Bytes signature) {
  const NoErrorsLeft errors;
  if (const auto* point = std::get_if<P256Point>(&key)) {
    const bool fits = version == TlsVersion::V12 || code == kEcdsaP256Sha256;
    const Scheme* scheme = fits ? scheme_of(EVP_PKEY_EC, code, version) : nullptr;
    if (scheme == nullptr) return Proof::WrongScheme;
    return is_proof(*point, *scheme, content, signature) ? Proof::Good : Proof::Bad;
  }
  const KeyPtr& whole = std::get<KeyPtr>(key);
  const Scheme* scheme = scheme_for(whole.get(), code, version);
  if (scheme == nullptr) return Proof::WrongScheme;
  return is_proof(whole, *scheme, content, signature) ? Proof::Good : Proof::Bad;
}

}  // namespace

Proof check_transcript(const ClientKey& key, std::uint16_t code, const TranscriptHash& hash, Bytes signature) {
  return check(key, code, TlsVersion::V13, Signed(kClientContext, hash).bytes, signature);
}

Proof check_messages(const ClientKey& key, std::uint16_t code, Bytes messages, Bytes signature) {
  return check(key, code, TlsVersion::V12, messages, signature);
}

X509Ptr read_certificate(Bytes der) {
  const NoErrorsLeft errors;
  X509* into = X509_new_ex(light_parsing_context(), nullptr);
  const unsigned char* at = der.data();
  X509Ptr read(into == nullptr ? nullptr : d2i_X509(&into, &at, static_cast<long>(der.size())));  // frees `into`
  return read && at == der.data() + der.size() ? std::move(read) : nullptr;
}

}  // namespace sallyport
