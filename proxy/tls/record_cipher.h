// AES-GCM over one TLS record. On amd64 by libipsec-mb (record_cipher_ipsec_mb.cc): it uses VAES and VPCLMULQDQ where
// the processor has them, which OpenSSL 3.0 does not, and needs no call for each part of a record (16 KiB: 1.1 us
// against 3.0; 100 bytes: 0.03 against 0.3). Elsewhere by OpenSSL (record_cipher_openssl.cc); CMake's option
// SALLYPORT_IPSEC_MB chooses, and the tests of records run over both. Any thread; an object is one thread's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace sallyport {

enum class TlsVersion : std::uint8_t { V12, V13 };

// A direction's key and IV: of TLS 1.3 as RFC 8446, section 7.3, derives them; of TLS 1.2 (RFC 5288, section 3) the IV
// is the salt, four bytes, and then whatever the explicit nonces begin with. Wiped at its end.
struct RecordKey {
  static constexpr std::size_t kSaltBytes = 4;
  static constexpr std::size_t kIvBytes = 12;
  std::array<std::uint8_t, 32> key{};
  std::array<std::uint8_t, kIvBytes> iv{};
  std::size_t key_bytes = 0;   // 16 or 32
  std::uint64_t sequence = 0;  // of the next record
  TlsVersion version = TlsVersion::V13;

  RecordKey() = default;
  void take(RecordKey& other);  // all of it; `other` may be used no more
  RecordKey(const RecordKey&) = delete;
  RecordKey& operator=(const RecordKey&) = delete;
  ~RecordKey();
};

// A key made ready for records. That takes 0.13 us, so it is done anew for each batch: a connection that waits keeps
// the key alone. Wiped at its end.
class RecordCipher {
 public:
  static constexpr std::size_t kTagBytes = 16;
  static constexpr std::size_t kHeaderBytes = 5;  // the additional data of TLS 1.3: RFC 8446, section 5.2
  using Header = std::span<const std::uint8_t, kHeaderBytes>;

  // False where the processor has no AES instructions, or the library's own test of itself fails.
  static bool available();
  static std::string_view library_name();  // what encrypts

  // Takes the key as it is now; what it seals and opens counts in the key's sequence.
  explicit RecordCipher(RecordKey& key);
  ~RecordCipher();
  RecordCipher(const RecordCipher&) = delete;
  RecordCipher& operator=(const RecordCipher&) = delete;

  // `plain` and after it `type`, encrypted, and the tag: plain.size() + 1 + kTagBytes bytes at `out`, which is not in
  // `plain`. Each call is a sequence number, and so a nonce, of its own.
  void seal(Header header, std::span<const std::uint8_t> plain, std::uint8_t type, std::uint8_t* out);
  // The inverse, with `sealed` of at least kTagBytes: sealed.size() - kTagBytes bytes at `out`. False where the tag is
  // wrong: `out` then holds nothing of what was sealed.
  bool open(Header header, std::span<const std::uint8_t> sealed, std::uint8_t* out);

  // The same for TLS 1.2 (RFC 5246, section 6.2.3.3; RFC 5288, section 3), of a key of that version: the explicit nonce
  // is in front of what is sealed, and the type is bound, not sealed. kOverhead12 bytes more, and fewer.
  static constexpr std::size_t kExplicitBytes = RecordKey::kIvBytes - RecordKey::kSaltBytes;
  static constexpr std::size_t kOverhead12 = kExplicitBytes + kTagBytes;
  void seal12(std::uint8_t type, std::span<const std::uint8_t> plain, std::uint8_t* out);
  bool open12(std::uint8_t type, std::span<const std::uint8_t> sealed, std::uint8_t* out);

  TlsVersion version() const { return key_.version; }

 private:
  struct Expanded;
  using Nonce = std::array<std::uint8_t, RecordKey::kIvBytes>;
  Nonce next_nonce();
  void encrypt(const Nonce& nonce, std::span<const std::uint8_t> bound, std::span<const std::uint8_t> plain,
               std::span<const std::uint8_t> last, std::uint8_t* out);
  bool decrypt(const Nonce& nonce, std::span<const std::uint8_t> bound, std::span<const std::uint8_t> sealed,
               std::uint8_t* out);

  RecordKey& key_;
  // Room for Expanded, on the stack of a batch: 1008 bytes with libipsec-mb 1.3, 1264 with 2.0.
  alignas(64) std::array<std::uint8_t, 1280> memory_;
};

}  // namespace sallyport
