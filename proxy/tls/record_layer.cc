#include "proxy/tls/record_layer.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <array>

#include "cache/base/check.h"
#include "cache/crypto/hkdf.h"

namespace sallyport {

bool derive_record_key(std::span<const std::uint8_t> secret, std::size_t key_bytes, RecordKey& key) {
  CHECK(key_bytes <= key.key.size());
  key.key_bytes = key_bytes;
  key.sequence = 0;
  return expand_label(secret, "key", std::span(key.key).first(key_bytes)) && expand_label(secret, "iv", key.iv);
}

namespace {

OpenedRecord refused(int reason, std::uint8_t alert) {
  OpenedRecord record;
  record.failure = {reason, alert};
  return record;
}

// Its type is in the header, and there is no padding.
OpenedRecord open_record12(RecordCipher& cipher, std::span<const std::uint8_t>& input, std::span<std::uint8_t> into) {
  const std::size_t length = record_length(input);
  if (input[1] != 3 || input[2] != 3) return refused(SSL_R_WRONG_VERSION_NUMBER, SSL_AD_PROTOCOL_VERSION);
  if (length < RecordCipher::kOverhead12) return refused(SSL_R_LENGTH_TOO_SHORT, SSL_AD_BAD_RECORD_MAC);
  OpenedRecord record;
  record.type = static_cast<ContentType>(input[0]);
  record.n = length - RecordCipher::kOverhead12;
  CHECK(into.size() >= record.n);
  if (!cipher.open12(input[0], input.subspan(RecordCipher::kHeaderBytes, length), into.data())) {
    return refused(SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, SSL_AD_BAD_RECORD_MAC);
  }
  input = input.subspan(RecordCipher::kHeaderBytes + length);
  if (record.n > kMostPlain) return refused(SSL_R_DATA_LENGTH_TOO_LONG, SSL_AD_RECORD_OVERFLOW);
  return record;
}

// TLS 1.3, section 5.2: whatever was negotiated, an encrypted record looks like application data.
bool is_sealed_type(TlsVersion version, std::uint8_t type) {
  const auto application_data = static_cast<std::uint8_t>(ContentType::ApplicationData);
  const auto first = static_cast<std::uint8_t>(ContentType::Alert);
  return type <= application_data && type >= (version == TlsVersion::V13 ? application_data : first);
}

}  // namespace

bool may_be_sealed(TlsVersion version, std::span<const std::uint8_t> header) {
  return is_sealed_type(version, header[0]) && record_length(header) <= kMostSealed;
}

OpenedRecord open_record(RecordCipher& cipher, std::span<const std::uint8_t>& input, std::span<std::uint8_t> into) {
  const RecordCipher::Header header = input.first<RecordCipher::kHeaderBytes>();
  const std::size_t length = record_length(header);
  if (!is_sealed_type(cipher.version(), header[0])) {
    return refused(SSL_R_BAD_RECORD_TYPE, SSL_AD_UNEXPECTED_MESSAGE);
  }
  if (length > kMostSealed) return refused(SSL_R_ENCRYPTED_LENGTH_TOO_LONG, SSL_AD_RECORD_OVERFLOW);
  if (cipher.version() == TlsVersion::V12) return open_record12(cipher, input, into);
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

TlsFailure alert_fault(std::span<const std::uint8_t> content) {
  if (content.empty()) return {SSL_R_BAD_LENGTH, SSL_AD_UNEXPECTED_MESSAGE};
  if (content.size() != 2) return {SSL_R_BAD_LENGTH, SSL_AD_DECODE_ERROR};
  return {};
}

void seal_record(RecordCipher& cipher, std::span<const std::uint8_t> plain, ContentType type, ByteBuffer& output) {
  const bool of_tls12 = cipher.version() == TlsVersion::V12;
  const std::size_t overhead = of_tls12 ? RecordCipher::kOverhead12 : 1 + RecordCipher::kTagBytes;
  CHECK(plain.size() <= kMostPlain);
  const std::size_t length = plain.size() + overhead;
  std::uint8_t* const out = output.prepare(RecordCipher::kHeaderBytes + length).data();
  const std::array<std::uint8_t, RecordCipher::kHeaderBytes> header = {
      static_cast<std::uint8_t>(of_tls12 ? type : ContentType::ApplicationData), 3, 3,
      static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length)};
  std::uint8_t* const sealed = std::copy(header.begin(), header.end(), out);
  if (of_tls12) {
    cipher.seal12(static_cast<std::uint8_t>(type), plain, sealed);
  } else {
    cipher.seal(header, plain, static_cast<std::uint8_t>(type), sealed);
  }
  output.commit(header.size() + length);
}

}  // namespace sallyport
