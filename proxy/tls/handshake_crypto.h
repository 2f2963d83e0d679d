// What our own handshakes ask of OpenSSL's libcrypto: the key exchange, our signature and the client's, and the
// client's certificates read. All of it in the light context (cache/crypto/light_parsing.h). Setting an operation up
// costs OpenSSL 3.0 as much as hashing a certificate, so what can be is set up once: a thread keeps what it needs for
// the next. Any thread; everything answers false, or nothing, where it fails, and leaves OpenSSL's error queue empty.
#pragma once

#include <openssl/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "cache/crypto/openssl_ptr.h"
#include "cache/x509/plain_leaf.h"
#include "proxy/tls/client_hello.h"
#include "proxy/tls/tls13_key_schedule.h"

namespace sallyport {

// Signature schemes: RFC 8446, section 4.2.3.
inline constexpr std::uint16_t kEcdsaP256Sha256 = 0x0403, kRsaPssRsaeSha256 = 0x0804;

// Those a client's certificate may have been signed with, and, but in TLS 1.3 for the RSASSA-PKCS1-v1_5 ones, its
// CertificateVerify may use: what OpenSSL asks for at security level 2, in its order.
inline constexpr std::array<std::uint16_t, 14> kAcceptedSchemes = {
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601};

// A key of our own for this handshake alone and what comes of it and the peer's share: RFC 8446, section 7.4. False
// for a share that is no point of the curve in its one form, or of small order.
struct KeyExchange {
  std::vector<std::uint8_t> share;  // ours
  Secret256 shared;
  Secret256 shared_post_quantum;  // ML-KEM's, of X25519MLKEM768
};
bool exchange_keys(Group group, std::span<const std::uint8_t> peer, KeyExchange& made);
// Whether X25519MLKEM768 can be answered: OpenSSL has ML-KEM since 3.5. By its providers where it is alone.
bool has_post_quantum_exchange();
// The same in two steps, as TLS 1.2 takes them (RFC 8422, sections 5.4 and 5.10): the key and its share, or null; then
// what it and the peer's share come to.
KeyPtr make_exchange_key(Group group, std::vector<std::uint8_t>& share);
bool derive_shared(Group group, const KeyPtr& own, std::span<const std::uint8_t> peer, Secret256& shared);

// Who a CertificateVerify is from: section 4.4.3.
inline constexpr std::string_view kServerContext = "TLS 1.3, server CertificateVerify";
inline constexpr std::string_view kClientContext = "TLS 1.3, client CertificateVerify";

// A key of the server's, ready to sign. Immutable; any number of threads at once.
class TranscriptSigner {
 public:
  // `scheme` is one of the two above. One that does not fit the key signs nothing.
  TranscriptSigner(const EVP_PKEY* key, std::uint16_t scheme);
  std::uint16_t scheme() const { return scheme_; }
  // What a TLS 1.3 CertificateVerify says of this transcript.
  bool sign(const TranscriptHash& hash, std::vector<std::uint8_t>& signature) const;
  // Of what has this digest.
  bool sign_digest(const Sha256::Hash& digest, std::vector<std::uint8_t>& signature) const;

 private:
  KeyContextPtr ready_;  // copied for each signature: a fiftieth of setting one up
  std::uint16_t scheme_;
};

// What a client's certificate says its key is. A point that is not on the curve proves nothing.
using ClientKey = std::variant<P256Point, KeyPtr>;

enum class Proof : std::uint8_t { Good, Bad, WrongScheme };  // WrongScheme: not accepted, or not of this kind of key
Proof check_transcript(const ClientKey& key, std::uint16_t scheme, const TranscriptHash& hash,
                       std::span<const std::uint8_t> signature);
// The same in TLS 1.2 (RFC 5246, section 7.4.8), where all `messages` are signed, RSASSA-PKCS1-v1_5 may be used, and an
// ECDSA scheme does not say which curve.
Proof check_messages(const ClientKey& key, std::uint16_t scheme, std::span<const std::uint8_t> messages,
                     std::span<const std::uint8_t> signature);

// Exactly one certificate, or null. That its key can be read is another matter.
X509Ptr read_certificate(std::span<const std::uint8_t> der);

}  // namespace sallyport
