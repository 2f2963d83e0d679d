#include "proxy/tls_records.h"

#include <openssl/ssl.h>
#include <openssl/tls1.h>

#include <algorithm>
#include <optional>

#include "cache/check.h"

namespace sallyport {

namespace {

// RFC 8446, section 5.1 and appendix B.1 and B.3.
constexpr std::uint8_t kAlert = 21, kHandshake = 22, kApplicationData = 23;
constexpr std::uint8_t kKeyUpdateMessage = 24;
constexpr std::size_t kMostPlain = 16 * 1024;
constexpr std::size_t kMostSealed = kMostPlain + 256;
constexpr std::size_t kOverhead = RecordCipher::kHeaderBytes + 1 + RecordCipher::kTagBytes;
// Section 5.5: AES-GCM is safe for 2^24.5 records of full size. OpenSSL leaves that to its user.
constexpr std::uint64_t kRecordsOfOneKey = std::uint64_t{1} << 24;
// OpenSSL's bounds: MAX_EMPTY_RECORDS, MAX_KEY_UPDATE_MESSAGES, MAX_WARN_ALERT_COUNT.
constexpr std::uint8_t kEmptyInARow = 32, kKeyUpdatesInARow = 32, kWarningsInARow = 5;

std::size_t length_in(std::span<const std::uint8_t> header) {
  return std::size_t{header[3]} << 8 | header[4];
}

}  // namespace

bool TlsRecords::begin(std::size_t key_bytes, std::uint64_t written) {
  if (secrets_.client_bytes == 0 || secrets_.client_bytes != secrets_.server_bytes) return false;
  if ((key_bytes != 16 && key_bytes != 32) || !RecordCipher::available()) return false;
  reading_.key_bytes = writing_.key_bytes = key_bytes;
  derive({secrets_.client.data(), secrets_.client_bytes}, reading_);
  derive({secrets_.server.data(), secrets_.server_bytes}, writing_);
  writing_.sequence = written;
  return active_ = true;
}

// Section 7.3.
void TlsRecords::derive(std::span<const std::uint8_t> secret, RecordKey& key) {
  const bool derived =
      expand_label(secret, "key", {key.key.data(), key.key_bytes}) && expand_label(secret, "iv", key.iv);
  CHECK(derived);
  key.sequence = 0;
}

// Section 7.2.
void TlsRecords::next_generation(bool of_client) {
  const std::size_t bytes = secrets_.client_bytes;
  const std::span<std::uint8_t> secret((of_client ? secrets_.client : secrets_.server).data(), bytes);
  RecordKey& key = of_client ? reading_ : writing_;
  TrafficSecrets next;
  const bool derived = expand_label(secret, "traffic upd", {next.client.data(), bytes});
  CHECK(derived);
  std::copy_n(next.client.begin(), bytes, secret.begin());
  derive(secret, key);
}

std::size_t TlsRecords::missing(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < RecordCipher::kHeaderBytes) return RecordCipher::kHeaderBytes - bytes.size();
  const std::size_t length = length_in(bytes);
  if (bytes[0] != kApplicationData || length > kMostSealed) return 0;
  const std::size_t whole = RecordCipher::kHeaderBytes + length;
  return bytes.size() < whole ? whole - bytes.size() : 0;
}

Step TlsRecords::read(std::span<const std::uint8_t>& input, std::span<std::uint8_t> into, std::size_t& n,
                      ByteBuffer& output) {
  n = 0;
  if (failure_ != 0) return Step::Failed;
  std::optional<RecordCipher> cipher;
  while (!read_closed_) {
    if (missing(input) > 0) return Step::WantInput;
    const RecordCipher::Header header = input.first<RecordCipher::kHeaderBytes>();
    const std::size_t length = length_in(header);
    // Section 5.2: whatever was negotiated, an encrypted record looks like application data.
    if (header[0] != kApplicationData) return fail(SSL_R_BAD_RECORD_TYPE, SSL_AD_UNEXPECTED_MESSAGE, output);
    if (length > kMostSealed) return fail(SSL_R_ENCRYPTED_LENGTH_TOO_LONG, SSL_AD_RECORD_OVERFLOW, output);
    if (length <= RecordCipher::kTagBytes) return fail(SSL_R_LENGTH_TOO_SHORT, SSL_AD_BAD_RECORD_MAC, output);
    const std::span<const std::uint8_t> sealed = input.subspan(RecordCipher::kHeaderBytes, length);
    std::size_t left = length - RecordCipher::kTagBytes;
    CHECK(into.size() >= left);
    if (!cipher) cipher.emplace(reading_);
    if (!cipher->open(header, sealed, into.data())) {
      return fail(SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, SSL_AD_BAD_RECORD_MAC, output);
    }
    input = input.subspan(RecordCipher::kHeaderBytes + length);
    // Section 5.4: type and padding count among the plaintext.
    if (left > kMostPlain + 1) return fail(SSL_R_DATA_LENGTH_TOO_LONG, SSL_AD_RECORD_OVERFLOW, output);
    while (left > 0 && into[left - 1] == 0) --left;
    if (left == 0) return fail(SSL_R_BAD_RECORD_TYPE, SSL_AD_UNEXPECTED_MESSAGE, output);
    const std::uint8_t type = into[--left];
    const std::span<const std::uint8_t> content = into.first(left);

    if (message_bytes_ > 0 && type != kHandshake) {  // section 5.1
      return fail(SSL_R_UNEXPECTED_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE, output);
    }
    Step step = Step::Done;
    if (type == kApplicationData) {
      if (left > 0) {
        empty_ = key_updates_ = warnings_ = 0;
        n = left;
        return Step::Done;
      }
      if (++empty_ > kEmptyInARow) return fail(SSL_R_RECORD_TOO_SMALL, SSL_AD_UNEXPECTED_MESSAGE, output);
    } else if (type == kAlert) {
      step = alert(content, output);
    } else if (type == kHandshake) {
      step = handshake(content, output);
      cipher.reset();  // the key may be another
    } else {
      step = fail(SSL_R_UNEXPECTED_RECORD, SSL_AD_UNEXPECTED_MESSAGE, output);
    }
    if (step != Step::Done) return step;
  }
  return Step::Closed;
}

// Section 6. The level says nothing in TLS 1.3.
Step TlsRecords::alert(std::span<const std::uint8_t> content, ByteBuffer& output) {
  if (content.size() != 2) return fail(SSL_R_BAD_LENGTH, SSL_AD_DECODE_ERROR, output);
  const int description = content[1];
  if (description == SSL_AD_CLOSE_NOTIFY) {
    read_closed_ = true;
    return Step::Closed;
  }
  if (description == SSL_AD_USER_CANCELLED) {
    if (++warnings_ < kWarningsInARow) return Step::Done;
    return fail(SSL_R_TOO_MANY_WARN_ALERTS, SSL_AD_UNEXPECTED_MESSAGE, output);
  }
  // It is over on both sides: nothing is answered.
  failure_ = SSL_AD_REASON_OFFSET + description;
  write_closed_ = true;
  return Step::Failed;
}

// Section 4.6: of what may follow a handshake only a KeyUpdate concerns a server that asks for nothing else.
Step TlsRecords::handshake(std::span<const std::uint8_t> content, ByteBuffer& output) {
  static constexpr std::array<std::uint8_t, 4> kHeader = {kKeyUpdateMessage, 0, 0, 1};
  if (content.empty() || message_bytes_ + content.size() > kKeyUpdateBytes) {
    return fail(SSL_R_UNEXPECTED_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE, output);
  }
  std::copy(content.begin(), content.end(), message_.begin() + message_bytes_);
  message_bytes_ = static_cast<std::uint8_t>(message_bytes_ + content.size());
  if (!std::equal(kHeader.begin(), kHeader.begin() + std::min<std::ptrdiff_t>(message_bytes_, kHeader.size()),
                  message_.begin())) {
    return fail(SSL_R_UNEXPECTED_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE, output);
  }
  if (message_bytes_ < kKeyUpdateBytes) return Step::Done;
  message_bytes_ = 0;
  const std::uint8_t asked = message_.back();
  if (asked > 1) return fail(SSL_R_BAD_KEY_UPDATE, SSL_AD_ILLEGAL_PARAMETER, output);
  if (++key_updates_ > kKeyUpdatesInARow) {
    return fail(SSL_R_TOO_MANY_KEY_UPDATES, SSL_AD_UNEXPECTED_MESSAGE, output);
  }
  next_generation(true);
  answer_due_ = answer_due_ || asked == 1;
  // Where something waits to be sent, the answer may wait for it and answer whatever is asked until then.
  if (output.empty()) answer_key_update(output);
  return Step::Done;
}

// Section 4.6.3: our own, before the next application data.
void TlsRecords::answer_key_update(ByteBuffer& output) {
  if (!answer_due_ || write_closed_) return;
  static constexpr std::array<std::uint8_t, kKeyUpdateBytes> kUpdate = {kKeyUpdateMessage, 0, 0, 1, 0};
  answer_due_ = false;
  {
    RecordCipher cipher(writing_);
    seal(cipher, kUpdate, kHandshake, output);
  }
  next_generation(false);
}

void TlsRecords::seal(RecordCipher& cipher, std::span<const std::uint8_t> plain, std::uint8_t type,
                      ByteBuffer& output) {
  const std::size_t length = plain.size() + kOverhead - RecordCipher::kHeaderBytes;
  std::uint8_t* const out = output.prepare(plain.size() + kOverhead).data();
  const std::array<std::uint8_t, RecordCipher::kHeaderBytes> header = {
      kApplicationData, 3, 3, static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length)};
  std::copy(header.begin(), header.end(), out);
  cipher.seal(header, plain, type, out + header.size());
  output.commit(plain.size() + kOverhead);
}

bool TlsRecords::write(std::span<const std::uint8_t> plain, ByteBuffer& output) {
  if (write_closed_) return false;
  std::optional<RecordCipher> cipher;
  while (!plain.empty()) {
    answer_due_ = answer_due_ || writing_.sequence >= kRecordsOfOneKey;
    if (answer_due_) {
      cipher.reset();
      answer_key_update(output);
    }
    if (!cipher) cipher.emplace(writing_);
    const std::size_t n = std::min(plain.size(), kMostPlain);
    seal(*cipher, plain.first(n), kApplicationData, output);
    plain = plain.subspan(n);
  }
  return true;
}

void TlsRecords::close(ByteBuffer& output) {
  if (write_closed_) return;
  write_closed_ = true;
  static constexpr std::array<std::uint8_t, 2> kCloseNotify = {SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY};
  RecordCipher cipher(writing_);
  seal(cipher, kCloseNotify, kAlert, output);
}

Step TlsRecords::fail(int reason, int alert, ByteBuffer& output) {
  failure_ = reason;
  if (!write_closed_) {
    write_closed_ = true;
    const std::array<std::uint8_t, 2> fatal = {SSL3_AL_FATAL, static_cast<std::uint8_t>(alert)};
    RecordCipher cipher(writing_);
    seal(cipher, fatal, kAlert, output);
  }
  return Step::Failed;
}

}  // namespace sallyport
