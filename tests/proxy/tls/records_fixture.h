// What the tests of TlsRecords share, of TLS 1.3 and of TLS 1.2: bytes, OpenSSL's AES-GCM to compare with, an
// established connection and what is expected of its end.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "cache/crypto/openssl_ptr.h"
#include "tests/proxy/tls/record_peer.h"

namespace sallyport::test {

using Lengths = std::vector<std::size_t>;
inline constexpr std::size_t kMostPlain = 16 * 1024;
inline constexpr std::size_t kMostSealed = kMostPlain + 256;

// Of every remainder that a cipher of many blocks at a time may see, and of whole records.
inline Lengths lengths_of_records() {
  Lengths lengths(301);
  std::iota(lengths.begin(), lengths.end(), std::size_t{0});
  for (const std::size_t more : Lengths{511, 512, 513, 1023, 1024, 1500, 4095, 4096, 9000, 16383, 16384}) {
    lengths.push_back(more);
  }
  return lengths;
}

inline Bytes text(std::string_view characters) {
  return {characters.begin(), characters.end()};
}

inline Bytes counting(std::size_t length, std::uint8_t first = 0) {
  Bytes bytes(length);
  std::iota(bytes.begin(), bytes.end(), first);
  return bytes;
}

inline Bytes in_a_row(const std::vector<Bytes>& parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

using Header = std::array<std::uint8_t, RecordCipher::kHeaderBytes>;

inline Header header_of(std::uint8_t type, std::size_t length) {
  return header_of(Outer{.type = type}, length);
}

// A header in front of `present` bytes that are not encrypted at all.
inline Bytes unsealed(std::uint8_t type, std::size_t length, std::size_t present) {
  const Header header = header_of(type, length);
  Bytes record(header.size() + present, 0x5A);
  std::copy(header.begin(), header.end(), record.begin());
  return record;
}

inline Bytes alert_of(int level, int description) {
  return {static_cast<std::uint8_t>(level), static_cast<std::uint8_t>(description)};
}

class ByKeySize : public testing::TestWithParam<std::size_t> {
 protected:
  void SetUp() override { ASSERT_TRUE(RecordCipher::available()) << "nothing of this file would be tested"; }
  void set(RecordKey& key, std::uint64_t sequence) const {
    key.key_bytes = GetParam();
    for (std::size_t i = 0; i < key.key_bytes; ++i) key.key[i] = static_cast<std::uint8_t>(7 * i + 1);
    for (std::size_t i = 0; i < key.iv.size(); ++i) key.iv[i] = static_cast<std::uint8_t>(0xF1 - 3 * i);
    key.sequence = sequence;
  }
};
inline std::string key_size_name(const testing::TestParamInfo<std::size_t>& tested) {
  return "Aes" + std::to_string(8 * tested.param);
}

// RFC 8446, section 5.3.
using Nonce = std::array<std::uint8_t, RecordKey::kIvBytes>;
inline Nonce nonce_of(const RecordKey& key, std::uint64_t sequence) {
  Nonce nonce = key.iv;
  for (std::size_t i = 0; i < 8; ++i) nonce[4 + i] ^= static_cast<std::uint8_t>(sequence >> (56 - 8 * i));
  return nonce;
}

// What OpenSSL makes of `plain`, and the tag behind it.
inline Bytes openssl_gcm(const RecordKey& key, const Nonce& nonce, std::span<const std::uint8_t> bound,
                         const Bytes& plain) {
  using ContextPtr = std::unique_ptr<EVP_CIPHER_CTX, OpensslFree<&EVP_CIPHER_CTX_free>>;
  const ContextPtr context(EVP_CIPHER_CTX_new());
  const EVP_CIPHER* aes = key.key_bytes == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
  Bytes sealed(plain.size() + RecordCipher::kTagBytes);
  int n = 0, last = 0;
  const bool done =
      EVP_EncryptInit_ex(context.get(), aes, nullptr, key.key.data(), nonce.data()) == 1 &&
      EVP_EncryptUpdate(context.get(), nullptr, &n, bound.data(), static_cast<int>(bound.size())) == 1 &&
      EVP_EncryptUpdate(context.get(), sealed.data(), &n, plain.data(), static_cast<int>(plain.size())) == 1 &&
      EVP_EncryptFinal_ex(context.get(), sealed.data() + n, &last) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, RecordCipher::kTagBytes, sealed.data() + plain.size());
  EXPECT_TRUE(done);
  return sealed;
}

using Sent = std::vector<InnerRecord>;

// An established connection: TlsRecords, and the client that holds its keys.
template <typename Peer>
struct EstablishedWith {
  template <typename... Arguments>
  explicit EstablishedWith(Arguments&&... of_peer) : peer(std::forward<Arguments>(of_peer)...) {}

  Step read(std::span<const std::uint8_t>& input) {
    n = 99'999;
    plain.assign(TlsRecords::kMostOpened, 0xEE);
    const Step step = records.read(input, plain, n, output);
    EXPECT_EQ(n > 0, step == Step::Done);
    return step;
  }
  // All of `ciphertext`, behind what was not used before: the step it ended with; what came of it is in `data`.
  Step take(const Bytes& ciphertext) {
    pending.insert(pending.end(), ciphertext.begin(), ciphertext.end());
    std::span<const std::uint8_t> input(pending);
    data.clear();
    Step step = read(input);
    for (; step == Step::Done; step = read(input)) {
      data.insert(data.end(), plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(n));
    }
    pending.erase(pending.begin(), pending.end() - static_cast<std::ptrdiff_t>(input.size()));
    return step;
  }
  // What the client finds in the output.
  Sent sent() {
    Sent all;
    for (std::span<const std::uint8_t> bytes = output.bytes(); !bytes.empty();) {
      const auto record = peer.open(bytes);
      EXPECT_TRUE(record) << "behind " << all.size() << " records";
      if (!record) break;
      all.push_back(*record);
    }
    output.release();
    return all;
  }
  Bytes data_record(std::string_view characters) { return peer.seal(kApplicationData, text(characters)); }
  Bytes alert_record(int level, int description) { return peer.seal(kAlert, alert_of(level, description)); }
  bool write(std::string_view characters) { return records.write(text(characters), output); }

  Peer peer;
  TlsRecords records;
  ByteBuffer output;
  Bytes pending, plain, data;
  std::size_t n = 0;
};

inline const InnerRecord kCloseNotify = {kAlert, {SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY}};

inline InnerRecord data_of(std::string_view characters) {
  return {kApplicationData, text(characters)};
}

// Nothing is read, written or sent any more.
template <typename Peer>
void expect_over(EstablishedWith<Peer>& at) {
  const Bytes more = at.data_record("more");
  std::span<const std::uint8_t> input(more);
  EXPECT_EQ(at.read(input), Step::Failed);
  EXPECT_EQ(input.size(), more.size());
  EXPECT_FALSE(at.write("x"));
  at.records.close(at.output);
  EXPECT_TRUE(at.output.empty());
}

// The connection ends with this alert, of level fatal, and OpenSSL's code for the log.
template <typename Peer>
void expect_refused(EstablishedWith<Peer>& at, const Bytes& ciphertext, int alert, int reason) {
  EXPECT_EQ(at.take(ciphertext), Step::Failed);
  EXPECT_TRUE(at.data.empty());
  EXPECT_EQ(at.records.failure(), reason);
  EXPECT_EQ(at.sent(), (Sent{{kAlert, alert_of(SSL3_AL_FATAL, alert)}}));
  expect_over(at);
}

template <typename Peer>
void expect_unexpected(EstablishedWith<Peer>& at, const Bytes& ciphertext, int reason) {
  expect_refused(at, ciphertext, SSL_AD_UNEXPECTED_MESSAGE, reason);
}

}  // namespace sallyport::test
