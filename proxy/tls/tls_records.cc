#include "proxy/tls/tls_records.h"

#include <openssl/ssl.h>
#include <openssl/tls1.h>

#include <algorithm>
#include <optional>

#include "cache/base/check.h"
#include "cache/crypto/hkdf.h"

namespace sallyport {

namespace {

constexpr std::uint8_t kKeyUpdateMessage = 24;  // RFC 8446, appendix B.3
// Section 5.5: AES-GCM is safe for 2^24.5 records of full size. Of TLS 1.2 see key_use.h.
constexpr std::uint64_t kRecordsOfOneKey = std::uint64_t{1} << 24;
// OpenSSL's bounds: MAX_EMPTY_RECORDS, MAX_KEY_UPDATE_MESSAGES, MAX_WARN_ALERT_COUNT.
constexpr std::uint8_t kEmptyInARow = 32, kKeyUpdatesInARow = 32, kWarningsInARow = 5;

}  // namespace

bool TlsRecords::begin(std::size_t key_bytes, std::uint64_t written) {
  if (secrets_.client_bytes == 0 || secrets_.client_bytes != secrets_.server_bytes) return false;
  if ((key_bytes != 16 && key_bytes != 32) || !RecordCipher::available()) return false;
  const bool derived = derive_record_key({secrets_.client.data(), secrets_.client_bytes}, key_bytes, reading_) &&
                       derive_record_key({secrets_.server.data(), secrets_.server_bytes}, key_bytes, writing_);
  CHECK(derived);
  writing_.sequence = written;
  return active_ = true;
}

bool TlsRecords::begin(RecordKey& client, RecordKey& server) {
  if (!RecordCipher::available()) return false;
  CHECK(client.version == TlsVersion::V12 && server.version == TlsVersion::V12);
  reading_.take(client);
  writing_.take(server);
  return active_ = true;
}

// Section 7.2.
void TlsRecords::next_generation(bool of_client) {
  const std::size_t bytes = secrets_.client_bytes;
  const std::span<std::uint8_t> secret((of_client ? secrets_.client : secrets_.server).data(), bytes);
  RecordKey& key = of_client ? reading_ : writing_;
  TrafficSecrets next;
  bool derived = expand_label(secret, "traffic upd", {next.client.data(), bytes});
  std::copy_n(next.client.begin(), bytes, secret.begin());
  derived = derived && derive_record_key(secret, key.key_bytes, key);
  CHECK(derived);
}

std::size_t TlsRecords::missing(TlsVersion version, std::span<const std::uint8_t> bytes) {
  if (bytes.size() < RecordCipher::kHeaderBytes) return RecordCipher::kHeaderBytes - bytes.size();
  if (!may_be_sealed(version, bytes)) return 0;
  const std::size_t whole = RecordCipher::kHeaderBytes + record_length(bytes);
  return bytes.size() < whole ? whole - bytes.size() : 0;
}

Step TlsRecords::read(std::span<const std::uint8_t>& input, std::span<std::uint8_t> into, std::size_t& n,
                      ByteBuffer& output) {
  n = 0;
  if (failure_ != 0) return Step::Failed;
  std::optional<RecordCipher> cipher;
  while (!read_closed_) {
    if (missing(input) > 0) return Step::WantInput;
    if (!cipher) cipher.emplace(reading_);
    const OpenedRecord record = open_record(*cipher, input, into);
    if (record.failure.reason != 0) return fail(record.failure, output);
    const std::span<const std::uint8_t> content = into.first(record.n);
    key_uses_.read.add(record.n + RecordCipher::kOverhead12);

    if (message_bytes_ > 0 && record.type != ContentType::Handshake) {  // section 5.1
      return fail({SSL_R_UNEXPECTED_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE}, output);
    }
    Step step = Step::Done;
    if (record.type == ContentType::ApplicationData) {
      if (!content.empty()) {
        empty_ = key_updates_ = warnings_ = 0;
        n = record.n;
        return Step::Done;
      }
      if (++empty_ > kEmptyInARow) return fail({SSL_R_RECORD_TOO_SMALL, SSL_AD_UNEXPECTED_MESSAGE}, output);
    } else if (record.type == ContentType::Alert) {
      step = alert(content, output);
    } else if (record.type == ContentType::Handshake) {
      step = handshake(content, output);
      cipher.reset();  // the key may be another
    } else {
      step = fail({SSL_R_UNEXPECTED_RECORD, SSL_AD_UNEXPECTED_MESSAGE}, output);
    }
    if (step != Step::Done) return step;
  }
  return Step::Closed;
}

// Section 6. The level says nothing in TLS 1.3.
Step TlsRecords::alert(std::span<const std::uint8_t> content, ByteBuffer& output) {
  if (const TlsFailure failure = alert_fault(content); failure.reason != 0) return fail(failure, output);
  const int description = content[1];
  if (version() == TlsVersion::V12) return alert12(content[0], description, output);
  if (description == SSL_AD_CLOSE_NOTIFY) {
    read_closed_ = true;
    return Step::Closed;
  }
  if (description == SSL_AD_USER_CANCELLED) {
    if (++warnings_ < kWarningsInARow) return Step::Done;
    return fail({SSL_R_TOO_MANY_WARN_ALERTS, SSL_AD_UNEXPECTED_MESSAGE}, output);
  }
  return ended_by_peer(description);
}

// It is over on both sides: nothing is answered.
Step TlsRecords::ended_by_peer(int description) {
  failure_ = SSL_AD_REASON_OFFSET + description;
  write_closed_ = true;
  return Step::Failed;
}

// RFC 5246, section 7.2. Of the warnings only these two say anything to a server that never asks for a handshake.
Step TlsRecords::alert12(std::uint8_t level, int description, ByteBuffer& output) {
  if (level == SSL3_AL_FATAL) return ended_by_peer(description);
  if (level != SSL3_AL_WARNING) return fail({SSL_R_UNKNOWN_ALERT_TYPE, SSL_AD_ILLEGAL_PARAMETER}, output);
  if (description == SSL_AD_CLOSE_NOTIFY) {
    read_closed_ = true;
    return Step::Closed;
  }
  if (description == SSL_AD_NO_RENEGOTIATION) return fail({SSL_R_NO_RENEGOTIATION, SSL_AD_HANDSHAKE_FAILURE}, output);
  if (++warnings_ < kWarningsInARow) return Step::Done;
  return fail({SSL_R_TOO_MANY_WARN_ALERTS, SSL_AD_UNEXPECTED_MESSAGE}, output);
}

// RFC 5246, section 7.4.1.2: a client may ask for another handshake whenever it likes, and a server may decline that.
Step TlsRecords::handshake12(std::span<const std::uint8_t> content, ByteBuffer& output) {
  constexpr std::uint8_t kClientHello = 1;
  constexpr std::size_t kHeaderBytes = 4;
  const bool whole = content.size() >= kHeaderBytes && (std::size_t{content[1]} << 16 | std::size_t{content[2]} << 8 |
                                                        content[3]) == content.size() - kHeaderBytes;
  if (!whole || content[0] != kClientHello || ++warnings_ >= kWarningsInARow) {
    return fail({SSL_R_UNEXPECTED_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE}, output);
  }
  // Where something waits to be sent, what was declined last says it for this one, too: who does not read what it asks
  // for must not make us hold more and more of it.
  if (!write_closed_ && output.empty()) send_alert(SSL3_AL_WARNING, SSL_AD_NO_RENEGOTIATION, output);
  return Step::Done;
}

// Section 4.6: of what may follow a handshake only a KeyUpdate concerns a server that asks for nothing else.
Step TlsRecords::handshake(std::span<const std::uint8_t> content, ByteBuffer& output) {
  if (version() == TlsVersion::V12) return handshake12(content, output);
  static constexpr std::array<std::uint8_t, 4> kHeader = {kKeyUpdateMessage, 0, 0, 1};
  const std::size_t n = std::min(content.size(), kKeyUpdateBytes - message_bytes_);
  std::copy_n(content.begin(), n, message_.begin() + message_bytes_);
  message_bytes_ = static_cast<std::uint8_t>(message_bytes_ + n);
  if (content.empty() || message_[0] != kKeyUpdateMessage) {
    return fail({SSL_R_UNEXPECTED_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE}, output);
  }
  // Section 4.6.3: it is one byte.
  if (!std::equal(kHeader.begin(), kHeader.begin() + std::min<std::ptrdiff_t>(message_bytes_, kHeader.size()),
                  message_.begin())) {
    return fail({SSL_R_BAD_KEY_UPDATE, SSL_AD_DECODE_ERROR}, output);
  }
  // Section 5.1: a message that changes keys ends its record.
  if (n < content.size()) return fail({SSL_R_NOT_ON_RECORD_BOUNDARY, SSL_AD_UNEXPECTED_MESSAGE}, output);
  if (message_bytes_ < kKeyUpdateBytes) return Step::Done;
  message_bytes_ = 0;
  const std::uint8_t asked = message_.back();
  if (asked > 1) return fail({SSL_R_BAD_KEY_UPDATE, SSL_AD_ILLEGAL_PARAMETER}, output);
  if (++key_updates_ > kKeyUpdatesInARow) {
    return fail({SSL_R_TOO_MANY_KEY_UPDATES, SSL_AD_UNEXPECTED_MESSAGE}, output);
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
    seal_record(cipher, kUpdate, ContentType::Handshake, output);
  }
  next_generation(false);
}

bool TlsRecords::write(std::span<const std::uint8_t> plain, ByteBuffer& output) {
  if (write_closed_) return false;
  std::optional<RecordCipher> cipher;
  while (!plain.empty()) {
    answer_due_ = answer_due_ || (version() == TlsVersion::V13 && writing_.sequence >= kRecordsOfOneKey);
    if (answer_due_) {
      cipher.reset();
      answer_key_update(output);
    }
    if (!cipher) cipher.emplace(writing_);
    const std::size_t n = std::min(plain.size(), kMostPlain);
    seal_record(*cipher, plain.first(n), ContentType::ApplicationData, output);
    key_uses_.written.add(n + RecordCipher::kOverhead12);
    plain = plain.subspan(n);
  }
  return true;
}

void TlsRecords::send_message(std::span<const std::uint8_t> message, ByteBuffer& output) {
  RecordCipher cipher(writing_);
  seal_record(cipher, message, ContentType::Handshake, output);
}

void TlsRecords::close(ByteBuffer& output) {
  if (write_closed_) return;
  write_closed_ = true;
  send_alert(SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY, output);
}

void TlsRecords::send_alert(std::uint8_t level, std::uint8_t description, ByteBuffer& output) {
  const std::array<std::uint8_t, 2> content = {level, description};
  RecordCipher cipher(writing_);
  seal_record(cipher, content, ContentType::Alert, output);
}

Step TlsRecords::fail(TlsFailure failure, ByteBuffer& output) {
  failure_ = failure.reason;
  if (!write_closed_) {
    write_closed_ = true;
    send_alert(SSL3_AL_FATAL, failure.alert, output);
  }
  return Step::Failed;
}

}  // namespace sallyport
