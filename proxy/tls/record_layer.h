// One encrypted record at a time, of TLS 1.3 (RFC 8446, section 5) or, where the key is one, of TLS 1.2 (RFC 5246,
// section 6.2), for the handshake and for what follows it: what may be in its header, opening and sealing, padding and
// type. Pure but for the cipher's sequence number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "proxy/io/byte_buffer.h"
#include "proxy/tls/record_cipher.h"

namespace sallyport {

// RFC 8446, appendix B.1.
enum class ContentType : std::uint8_t { ChangeCipherSpec = 20, Alert = 21, Handshake = 22, ApplicationData = 23 };

// Why a connection ends: OpenSSL's code of the reason, SSL_R_*, and the alert the peer is told (section 6), SSL_AD_*.
struct TlsFailure {
  int reason = 0;
  std::uint8_t alert = 0;
};

inline constexpr std::size_t kMostPlain = 16 * 1024;          // section 5.1
inline constexpr std::size_t kMostSealed = kMostPlain + 256;  // section 5.2

// A whole header's.
inline std::size_t record_length(std::span<const std::uint8_t> header) {
  return std::size_t{header[3]} << 8 | header[4];
}

// What is wrong with the content of an alert's record, which is one whole alert (RFC 8446, sections 5.1 and 5.4; we
// hold TLS 1.2 to the same); reason 0: nothing.
TlsFailure alert_fault(std::span<const std::uint8_t> content);

struct OpenedRecord {
  ContentType type = ContentType::ApplicationData;
  std::size_t n = 0;   // bytes of content
  TlsFailure failure;  // reason 0: none
};

// Whether a record's header is one that open_record() goes on from, with a key of this version.
bool may_be_sealed(TlsVersion version, std::span<const std::uint8_t> header);

// Opens the encrypted record that `input` begins with, which is whole or will be refused by its header, into `into`,
// which has room for its plaintext, padding and type. `input` is shortened by it once its tag was right.
OpenedRecord open_record(RecordCipher& cipher, std::span<const std::uint8_t>& input, std::span<std::uint8_t> into);

// The key and IV of a traffic secret (section 7.3), of `key_bytes` and with its sequence at zero. False where OpenSSL's
// digest fails.
bool derive_record_key(std::span<const std::uint8_t> secret, std::size_t key_bytes, RecordKey& key);

// Appends one record; `plain` is at most kMostPlain bytes.
void seal_record(RecordCipher& cipher, std::span<const std::uint8_t> plain, ContentType type, ByteBuffer& output);

}  // namespace sallyport
