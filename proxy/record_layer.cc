#include "proxy/record_layer.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <array>

#include "cache/check.h"
#include "cache/hkdf.h"

namespace sallyport {

bool derive_record_key(std::span<const std::uint8_t> secret, std::size_t key_bytes, RecordKey& key) {
  CHECK(key_bytes <= key.key.size());
  key.key_bytes = key_bytes;
  key.sequence = 0;
  return expand_label(secret, "key", std::span(key.key).first(key_bytes)) && expand_label(secret, "iv", key.iv);
}

OpenedRecord open_record(RecordCipher& cipher, std::span<const std::uint8_t>& input, std::span<std::uint8_t> into) {
  const auto refused = [](int reason, std::uint8_t alert) {
    OpenedRecord record;
    record.failure = {reason, alert};
    return record;
  };
  const RecordCipher::Header header = input.first<RecordCipher::kHeaderBytes>();
  const std::size_t length = record_length(header);
  // Section 5.2: whatever was negotiated, an encrypted record looks like application data.
  if (header[0] != static_cast<std::uint8_t>(ContentType::ApplicationData)) {
    return refused(SSL_R_BAD_RECORD_TYPE, SSL_AD_UNEXPECTED_MESSAGE);
  }
  if (length > kMostSealed) return refused(SSL_R_ENCRYPTED_LENGTH_TOO_LONG, SSL_AD_RECORD_OVERFLOW);
  if (length <= RecordCipher::kTagBytes) return refused(SSL_R_LENGTH_TOO_SHORT, SSL_AD_BAD_RECORD_MAC);
  const std::span<const std::uint8_t> sealed = input.subspan(RecordCipher::kHeaderBytes, length);
  std::size_t left = length - RecordCipher::kTagBytes;
  CHECK(into.size() >= left);
  if (!cipher.open(header, sealed, into.data())) {
    return refused(SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, SSL_AD_BAD_RECORD_MAC);
  }
  input = input.subspan(RecordCipher::kHeaderBytes + length);
  // Section 5.4: type and padding count among the plaintext.
  if (left > kMostPlain + 1) return refused(SSL_R_DATA_LENGTH_TOO_LONG, SSL_AD_RECORD_OVERFLOW);
  while (left > 0 && into[left - 1] == 0) --left;
  if (left == 0) return refused(SSL_R_BAD_RECORD_TYPE, SSL_AD_UNEXPECTED_MESSAGE);
  OpenedRecord record;
  record.n = left - 1;
  record.type = static_cast<ContentType>(into[record.n]);
  return record;
}

void seal_record(RecordCipher& cipher, std::span<const std::uint8_t> plain, ContentType type, ByteBuffer& output) {
  constexpr std::size_t kOverhead = RecordCipher::kHeaderBytes + 1 + RecordCipher::kTagBytes;
  CHECK(plain.size() <= kMostPlain);
  const std::size_t length = plain.size() + kOverhead - RecordCipher::kHeaderBytes;
  std::uint8_t* const out = output.prepare(plain.size() + kOverhead).data();
  const std::array<std::uint8_t, RecordCipher::kHeaderBytes> header = {
      static_cast<std::uint8_t>(ContentType::ApplicationData), 3, 3, static_cast<std::uint8_t>(length >> 8),
      static_cast<std::uint8_t>(length)};
  std::copy(header.begin(), header.end(), out);
  cipher.seal(header, plain, static_cast<std::uint8_t>(type), out + header.size());
  output.commit(plain.size() + kOverhead);
}

}  // namespace sallyport
