// RecordCipher by libipsec-mb, Intel's; for amd64. The only user of that library.
#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>

#include <new>

#include "proxy/tls/record_cipher.h"

namespace sallyport {

using Bytes = std::span<const std::uint8_t>;

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
std::string_view RecordCipher::library_name() {
  return "libipsec-mb";
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

}  // namespace sallyport
