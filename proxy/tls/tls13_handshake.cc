#include "proxy/tls/tls13_handshake.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

// RFC 8446, section 5: what middleboxes are shown (appendix D.4), of one byte.
constexpr std::array<std::uint8_t, 6> kChangeCipherSpecRecord = {20, 3, 3, 0, 1, 1};
constexpr std::size_t kMostPlainRecord = 2;  // an alert; ChangeCipherSpec has one byte
constexpr std::size_t kKeyBytes13 = 16;      // TLS_AES_128_GCM_SHA256

}  // namespace

Tls13Handshake::Tls13Handshake(const HandshakeServer& server, Verifier* verifier, std::optional<Verdict>& verdict,
                               ByteBuffer& output)
    : OwnHandshake(server, verifier, verdict, output) {}

bool Tls13Handshake::binder_holds(const OfferedTicket& offered, Bytes message, const Secret256& ticket_secret) {
  Sha256 bound;
  bound.add(message.first(offered.binders_at));
  TranscriptHash mac;
  return binder_mac(ticket_secret, bound.of_all(), mac) && offered.binder.size() == mac.size() &&
         CRYPTO_memcmp(offered.binder.data(), mac.data(), mac.size()) == 0;
}

bool Tls13Handshake::begin(const PlainHello& hello, Bytes message, const Secret256* ticket_secret) {
  resumes_ = ticket_secret != nullptr;
  const ServerCredential* credential = resumes_ ? nullptr : server_.choose(hello);
  if (!resumes_ && credential == nullptr) return false;
  if (resumes_ && !schedule_.begin_with(*ticket_secret)) return false;
  schedule_.add(message);
  takes_tickets_ = hello.takes_tickets;
  expects_ = server_.mutual && !resumes_ ? Expects::Certificate : Expects::Finished;
  return write_flight(hello, credential);
}

// All of it, or nothing. Without a credential it is a ticket's secret that says who we are: section 2.2.
bool Tls13Handshake::write_flight(const PlainHello& hello, const ServerCredential* credential) {
  KeyExchange exchange;
  if (!exchange_keys(hello.group, hello.share, exchange)) return false;
  group_ = hello.group;
  const Message greeting = server_hello(hello.session_id, hello.group, exchange.share, resumes_);
  if (greeting.empty()) return false;
  schedule_.add(greeting);
  RecordKey writing;
  const bool derived = hello.group == Group::X25519MlKem768
                           ? schedule_.derive_handshake(exchange.shared_post_quantum, exchange.shared)
                           : schedule_.derive_handshake(exchange.shared);
  if (!derived || !derive_record_key(schedule_.client_handshake(), kKeyBytes13, reading_) ||
      !derive_record_key(schedule_.server_handshake(), kKeyBytes13, writing)) {
    return false;
  }
  ByteBuffer flight;
  append_record(ContentType::Handshake, greeting, flight);
  if (!hello.session_id.empty()) flight.append(kChangeCipherSpecRecord);

  RecordCipher cipher(writing);
  // One message a record, as OpenSSL sends them: a small device may have little room for one.
  const auto send = [&](const Message& message) {
    for (Bytes rest = message; !rest.empty(); rest = rest.subspan(std::min(rest.size(), kMostPlain))) {
      seal_record(cipher, rest.first(std::min(rest.size(), kMostPlain)), ContentType::Handshake, flight);
    }
    schedule_.add(message);
  };
  static const Message kRequest = certificate_request(kAcceptedSchemes);
  // RFC 6066, section 3: not when a session is resumed.
  send(encrypted_extensions(hello.server_name.has_value() && !resumes_));
  if (credential != nullptr) {
    if (server_.mutual) send(kRequest);
    send(credential->certificate);
    std::vector<std::uint8_t> signature;
    if (!credential->signer.sign(schedule_.transcript(), signature)) return false;
    send(certificate_verify(credential->signer.scheme(), signature));
  }
  TranscriptHash mac;
  if (!finished_mac(schedule_.server_handshake(), schedule_.transcript(), mac)) return false;
  send(finished(mac));
  if (!schedule_.derive_application()) return false;
  output_.append(flight.bytes());
  return true;
}

std::size_t Tls13Handshake::record_bytes(Bytes bytes) const {
  if (bytes.size() < RecordCipher::kHeaderBytes) return RecordCipher::kHeaderBytes;
  const bool sealed = bytes[0] == static_cast<std::uint8_t>(ContentType::ApplicationData);
  const std::size_t length = record_length(bytes);
  return RecordCipher::kHeaderBytes + (length <= (sealed ? kMostSealed : kMostPlainRecord) ? length : 0);
}

Step Tls13Handshake::read_record(Bytes record) {
  if (record[0] != static_cast<std::uint8_t>(ContentType::ApplicationData)) return read_plain(record);
  encrypted_ = true;
  return read_sealed(reading_, record);
}

// Sections 5 and 6.2: a ChangeCipherSpec is dropped until the client's Finished, and a client that could not read our
// flight says so in the clear.
Step Tls13Handshake::read_plain(Bytes record) {
  const Bytes content = record.subspan(std::min(record.size(), RecordCipher::kHeaderBytes));
  const auto type = static_cast<ContentType>(record[0]);
  if (type == ContentType::Alert && !encrypted_) {
    if (content.size() == record_length(record)) return read_alert(content);
    return fail({SSL_R_BAD_LENGTH, SSL_AD_DECODE_ERROR});  // its header alone was taken
  }
  // Section 5.1: nothing comes between the parts of a message.
  if (type != ContentType::ChangeCipherSpec || in_message()) {
    return fail({SSL_R_BAD_RECORD_TYPE, SSL_AD_UNEXPECTED_MESSAGE});
  }
  if (!std::equal(record.begin(), record.end(), kChangeCipherSpecRecord.begin(), kChangeCipherSpecRecord.end())) {
    return fail({SSL_R_INVALID_CCS_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE});
  }
  return nothing({SSL_R_UNEXPECTED_CCS_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE});
}

// Section 2.
Step Tls13Handshake::on_message(HandshakeType type, Bytes message) {
  const Bytes body = message.subspan(kMessageHeaderBytes);
  Step step = Step::Failed;
  if (expects_ == Expects::Certificate && type == HandshakeType::Certificate) {
    step = on_certificate(body);
  } else if (expects_ == Expects::CertificateVerify && type == HandshakeType::CertificateVerify) {
    step = on_certificate_verify(body);
  } else if (expects_ == Expects::Finished && type == HandshakeType::Finished) {
    step = on_finished(body);
  } else {
    return fail({SSL_R_UNEXPECTED_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE});
  }
  if (step != Step::Failed) schedule_.add(message);
  return step;
}

Step Tls13Handshake::on_certificate(Bytes body) {
  const auto sent = read_certificates(body);
  if (!sent) return fail({SSL_R_LENGTH_MISMATCH, SSL_AD_DECODE_ERROR});
  if (sent->fault.reason != 0) return fail(sent->fault);
  const Step step = judge(sent->ders, row_of(Reason::NoCertificate).alert);
  if (step == Step::Failed) return step;
  expects_ = Expects::CertificateVerify;
  return step;
}

Step Tls13Handshake::on_certificate_verify(Bytes body) {
  const auto proof = read_certificate_verify(body);
  if (!proof) return fail({SSL_R_LENGTH_MISMATCH, SSL_AD_DECODE_ERROR});
  const Step step = check(check_transcript(client_key_, proof->scheme, schedule_.transcript(), proof->signature));
  if (step != Step::Failed) expects_ = Expects::Finished;
  return step;
}

Step Tls13Handshake::on_finished(Bytes body) {
  TranscriptHash mac;
  if (!finished_mac(schedule_.client_handshake(), schedule_.transcript(), mac)) {
    return fail({ERR_R_INTERNAL_ERROR, SSL_AD_INTERNAL_ERROR});
  }
  if (body.size() != mac.size()) return fail({SSL_R_BAD_DIGEST_LENGTH, SSL_AD_DECODE_ERROR});
  if (CRYPTO_memcmp(body.data(), mac.data(), mac.size()) != 0) {
    return fail({SSL_R_DIGEST_CHECK_FAILED, SSL_AD_DECRYPT_ERROR});
  }
  expects_ = Expects::Nothing;
  return Step::Done;
}

// Section 6. The level says nothing in TLS 1.3.
Step Tls13Handshake::on_alert(std::uint8_t, std::uint8_t description) {
  if (description == SSL_AD_CLOSE_NOTIFY) return Step::Closed;
  if (description == SSL_AD_USER_CANCELLED) return nothing({SSL_R_TOO_MANY_WARN_ALERTS, SSL_AD_UNEXPECTED_MESSAGE});
  return ended_by_peer(description);
}

// Once the server's Finished is out, what it sends is under its application key: section 7.1.
void Tls13Handshake::send_alert(std::uint8_t level, std::uint8_t description) {
  const std::array<std::uint8_t, 2> content = {level, description};
  RecordKey writing;
  if (!derive_record_key(schedule_.server_application(), kKeyBytes13, writing)) return;
  RecordCipher cipher(writing);
  seal_record(cipher, content, ContentType::Alert, output_);
}

bool Tls13Handshake::hand_over(TlsRecords& records) {
  if (expects_ != Expects::Nothing) return false;
  const Secret256 &client = schedule_.client_application(), &server = schedule_.server_application();
  TrafficSecrets& secrets = records.secrets();
  std::copy(client.begin(), client.end(), secrets.client.begin());
  std::copy(server.begin(), server.end(), secrets.server.begin());
  secrets.client_bytes = client.size();
  secrets.server_bytes = server.size();
  return records.begin(kKeyBytes13, 0);
}

bool Tls13Handshake::ticket_secret(Bytes nonce, Secret256& secret) const {
  return takes_tickets_ && expects_ == Expects::Nothing && schedule_.derive_ticket(nonce, secret);
}

}  // namespace sallyport
