#include "proxy/tls/record_cipher.h"

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <new>

#include "cache/base/check.h"

namespace sallyport {

using Bytes = std::span<const std::uint8_t>;

RecordKey::~RecordKey() {
  OPENSSL_cleanse(key.data(), key.size());
  OPENSSL_cleanse(iv.data(), iv.size());
}

void RecordKey::take(RecordKey& other) {
  key = other.key;
  iv = other.iv;
  key_bytes = other.key_bytes;
  sequence = other.sequence;
  version = other.version;
  OPENSSL_cleanse(other.key.data(), other.key.size());
  OPENSSL_cleanse(other.iv.data(), other.iv.size());
}

// RFC 8446, section 5.3: the sequence number, as wide as the IV, XOR the IV. TLS 1.2 leaves it to the sender, as long
// as none comes twice.
RecordCipher::Nonce RecordCipher::next_nonce() {
  CHECK(key_.sequence != UINT64_MAX);
  Nonce nonce = key_.iv;
  for (std::size_t i = 0; i < 8; ++i) {
    nonce[RecordKey::kIvBytes - 1 - i] ^= static_cast<std::uint8_t>(key_.sequence >> (8 * i));
  }
  ++key_.sequence;
  return nonce;
}

namespace {

// The functions for this processor; the library's manager is otherwise for jobs, of which there are none here.
struct Library {
  const IMB_MGR* manager = nullptr;

  Library() {
    IMB_MGR* made = alloc_mb_mgr(0);
    if (made == nullptr) return;
    IMB_ARCH architecture = IMB_ARCH_NONE;
    init_mb_mgr_auto(made, &architecture);
    const bool tested = (made->features & IMB_FEATURE_SELF_TEST) == 0 || (made->features & IMB_FEATURE_SELF_TEST_PASS);
    if (architecture != IMB_ARCH_NONE && imb_get_errno(made) == 0 && tested) {
      manager = made;
    } else {
      free_mb_mgr(made);
    }
  }
};

const IMB_MGR* library() {
  static const Library once;
  return once.manager;
}

}  // namespace

// An array of bytes begins the life of what is put there: [intro.object], paragraph 13.
struct RecordCipher::Expanded {
  gcm_key_data key;

  static Expanded& in(RecordCipher& cipher) {
    return *std::launder(reinterpret_cast<Expanded*>(cipher.memory_.data()));
  }
};

bool RecordCipher::available() {
  return library() != nullptr;
}

RecordCipher::RecordCipher(RecordKey& key) : key_(key) {
  static_assert(sizeof(Expanded) <= sizeof memory_ && alignof(Expanded) <= 64);
  (key.key_bytes == 16 ? library()->gcm128_pre : library()->gcm256_pre)(key.key.data(), &Expanded::in(*this).key);
}

RecordCipher::~RecordCipher() {
  OPENSSL_cleanse(memory_.data(), sizeof(Expanded));
}

void RecordCipher::encrypt(const Nonce& nonce, Bytes bound, Bytes plain, Bytes last, std::uint8_t* out) {
  const IMB_MGR& with = *library();
  const bool short_key = key_.key_bytes == 16;
  const gcm_key_data* key = &Expanded::in(*this).key;
  gcm_context_data state;
  (short_key ? with.gcm128_init : with.gcm256_init)(key, &state, nonce.data(), bound.data(), bound.size());
  const auto update = short_key ? with.gcm128_enc_update : with.gcm256_enc_update;
  if (!plain.empty()) update(key, &state, out, plain.data(), plain.size());
  out += plain.size();
  if (!last.empty()) update(key, &state, out, last.data(), last.size());
  (short_key ? with.gcm128_enc_finalize : with.gcm256_enc_finalize)(key, &state, out + last.size(), kTagBytes);
  OPENSSL_cleanse(&state, sizeof state);
}

bool RecordCipher::decrypt(const Nonce& nonce, Bytes bound, Bytes sealed, std::uint8_t* out) {
  const IMB_MGR& with = *library();
  gcm_context_data state;
  std::array<std::uint8_t, kTagBytes> tag;
  const std::size_t n = sealed.size() - kTagBytes;
  (key_.key_bytes == 16 ? with.gcm128_dec : with.gcm256_dec)(&Expanded::in(*this).key, &state, out, sealed.data(), n,
                                                             nonce.data(), bound.data(), bound.size(), tag.data(),
                                                             kTagBytes);
  const bool good = CRYPTO_memcmp(tag.data(), sealed.data() + n, kTagBytes) == 0;
  if (!good) OPENSSL_cleanse(out, n);
  OPENSSL_cleanse(&state, sizeof state);
  return good;
}

void RecordCipher::seal(Header header, Bytes plain, std::uint8_t type, std::uint8_t* out) {
  CHECK(key_.version == TlsVersion::V13);
  encrypt(next_nonce(), header, plain, Bytes(&type, 1), out);
}

bool RecordCipher::open(Header header, Bytes sealed, std::uint8_t* out) {
  CHECK(key_.version == TlsVersion::V13 && sealed.size() >= kTagBytes);
  return decrypt(next_nonce(), header, sealed, out);
}

namespace {

// RFC 5246, section 6.2.3.3: the sequence number, the type, the version and the length of the plaintext.
std::array<std::uint8_t, 13> bound12(std::uint64_t sequence, std::uint8_t type, std::size_t length) {
  std::array<std::uint8_t, 13> bound;
  for (std::size_t i = 0; i < 8; ++i) bound[i] = static_cast<std::uint8_t>(sequence >> (56 - 8 * i));
  bound[8] = type;
  bound[9] = bound[10] = 3;
  bound[11] = static_cast<std::uint8_t>(length >> 8);
  bound[12] = static_cast<std::uint8_t>(length);
  return bound;
}

}  // namespace

void RecordCipher::seal12(std::uint8_t type, Bytes plain, std::uint8_t* out) {
  CHECK(key_.version == TlsVersion::V12);
  const auto bound = bound12(key_.sequence, type, plain.size());
  const Nonce nonce = next_nonce();
  encrypt(nonce, bound, plain, {}, std::copy(nonce.begin() + RecordKey::kSaltBytes, nonce.end(), out));
}

bool RecordCipher::open12(std::uint8_t type, Bytes sealed, std::uint8_t* out) {
  CHECK(key_.version == TlsVersion::V12 && sealed.size() >= kOverhead12);
  const auto bound = bound12(key_.sequence, type, sealed.size() - kOverhead12);
  Nonce nonce = next_nonce();
  std::copy_n(sealed.begin(), kExplicitBytes, nonce.begin() + RecordKey::kSaltBytes);
  return decrypt(nonce, bound, sealed.subspan(kExplicitBytes), out);
}

}  // namespace sallyport
