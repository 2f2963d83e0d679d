#include "proxy/tls13_handshake.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

// RFC 8446, section 5: what middleboxes are shown (appendix D.4), of one byte.
constexpr std::array<std::uint8_t, 6> kChangeCipherSpec = {20, 3, 3, 0, 1, 1};
constexpr std::size_t kMostPlainRecord = 2;  // an alert; ChangeCipherSpec has one byte
// As much as OpenSSL is allowed for a client's certificates: 240 of them cost 32 ms (DESIGN.md section 4).
constexpr std::size_t kMostMessage = 16384;
// OpenSSL's MAX_EMPTY_RECORDS.
constexpr std::uint8_t kMostNothings = 32;

constexpr std::size_t kKeyBytes = 16;  // TLS_AES_128_GCM_SHA256

void append_record(ContentType type, Bytes content, ByteBuffer& output) {
  const std::array<std::uint8_t, RecordCipher::kHeaderBytes> header = {static_cast<std::uint8_t>(type), 3, 3,
                                                                       static_cast<std::uint8_t>(content.size() >> 8),
                                                                       static_cast<std::uint8_t>(content.size())};
  output.append(header);
  output.append(content);
}

// The alert each refusal is answered with: the contract, section 6.
std::uint8_t alert_for(Reason reason) {
  switch (reason) {
    case Reason::DeviceRevoked: return SSL_AD_CERTIFICATE_REVOKED;
    case Reason::Expired: return SSL_AD_CERTIFICATE_EXPIRED;
    case Reason::CaUnknown: return SSL_AD_UNKNOWN_CA;
    default: return SSL_AD_CERTIFICATE_UNKNOWN;
  }
}

std::string_view text_of(int reason) {
  const char* text = ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, reason));
  return text != nullptr ? text : "TLS failed";
}

using ParsedChain =
    std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * stack) { sk_X509_pop_free(stack, X509_free); })>;

// A client's certificates, as far as anyone must read them before the gate has looked at the leaf.
struct Parsed {
  std::optional<PlainLeaf> plain;  // the leaf, or
  ParsedChain chain;               // all of them, the leaf first
  ClientKey key;                   // of the leaf
};

// Nothing where one cannot be read.
std::optional<Parsed> parse(const std::vector<Bytes>& ders) {
  Parsed parsed{read_plain_leaf(ders.front()), nullptr, {}};
  if (parsed.plain) {
    parsed.key = parsed.plain->point;
    return parsed;
  }
  parsed.chain.reset(sk_X509_new_reserve(nullptr, static_cast<int>(ders.size())));
  if (!parsed.chain) return std::nullopt;
  for (const Bytes der : ders) {
    X509Ptr read = read_certificate(der);
    if (!read) return std::nullopt;
    sk_X509_push(parsed.chain.get(), read.release());
  }
  parsed.key = KeyPtr(X509_get_pubkey(sk_X509_value(parsed.chain.get(), 0)));
  return parsed;
}

}  // namespace

Tls13Handshake::Tls13Handshake(const Tls13Server& server, Verifier* verifier, std::optional<Verdict>& verdict,
                               ByteBuffer& output)
    : server_(server), verifier_(verifier), verdict_(verdict), output_(output) {}

bool Tls13Handshake::binder_holds(const OfferedTicket& offered, Bytes message, const Tls13Secret& ticket_secret) {
  Sha256 bound;
  bound.add(message.first(offered.binders_at));
  TranscriptHash mac;
  return binder_mac(ticket_secret, bound.of_all(), mac) && offered.binder.size() == mac.size() &&
         CRYPTO_memcmp(offered.binder.data(), mac.data(), mac.size()) == 0;
}

bool Tls13Handshake::begin(const PlainHello& hello, Bytes message, const Tls13Secret* ticket_secret) {
  resumes_ = ticket_secret != nullptr;
  const Tls13Credential* credential = resumes_ ? nullptr : server_.choose(hello);
  if (!resumes_ && credential == nullptr) return false;
  if (resumes_ && !schedule_.begin_with(*ticket_secret)) return false;
  schedule_.add(message);
  takes_tickets_ = hello.takes_tickets;
  expects_ = server_.mutual && !resumes_ ? Expects::Certificate : Expects::Finished;
  return write_flight(hello, credential);
}

// All of it, or nothing. Without a credential it is a ticket's secret that says who we are: section 2.2.
bool Tls13Handshake::write_flight(const PlainHello& hello, const Tls13Credential* credential) {
  KeyExchange exchange;
  if (!exchange_keys(hello.group, hello.share, exchange)) return false;
  const Message greeting = server_hello(hello.session_id, hello.group, exchange.share, resumes_);
  if (greeting.empty()) return false;
  schedule_.add(greeting);
  RecordKey writing;
  if (!schedule_.derive_handshake(exchange.shared) ||
      !derive_record_key(schedule_.client_handshake(), kKeyBytes, reading_) ||
      !derive_record_key(schedule_.server_handshake(), kKeyBytes, writing)) {
    return false;
  }
  ByteBuffer flight;
  append_record(ContentType::Handshake, greeting, flight);
  if (!hello.session_id.empty()) flight.append(kChangeCipherSpec);

  RecordCipher cipher(writing);
  // One message a record, as OpenSSL sends them: a small device may have little room for one.
  const auto send = [&](const Message& message) {
    for (Bytes rest = message; !rest.empty(); rest = rest.subspan(std::min(rest.size(), kMostPlain))) {
      seal_record(cipher, rest.first(std::min(rest.size(), kMostPlain)), ContentType::Handshake, flight);
    }
    schedule_.add(message);
  };
  static const Message kRequest = certificate_request(kAcceptedSchemes);
  send(encrypted_extensions(hello.server_name.has_value()));
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

std::size_t Tls13Handshake::record_bytes(Bytes bytes) {
  if (bytes.size() < RecordCipher::kHeaderBytes) return RecordCipher::kHeaderBytes;
  const bool sealed = bytes[0] == static_cast<std::uint8_t>(ContentType::ApplicationData);
  const std::size_t length = record_length(bytes);
  return RecordCipher::kHeaderBytes + (length <= (sealed ? kMostSealed : kMostPlainRecord) ? length : 0);
}

Step Tls13Handshake::read(Bytes record) {
  if (error_.what.data() != nullptr) return Step::Failed;
  if (record[0] != static_cast<std::uint8_t>(ContentType::ApplicationData)) return read_plain(record);
  encrypted_ = true;
  const std::span<std::uint8_t> into = messages_.prepare(record.size());
  RecordCipher cipher(reading_);
  const OpenedRecord opened = open_record(cipher, record, into);
  if (opened.failure.reason != 0) return fail(opened.failure);
  // Section 5.1: nothing comes between the parts of a message, and no part of one is empty.
  if (opened.type == ContentType::Alert && messages_.empty()) return on_alert(into.first(opened.n));
  if (opened.type != ContentType::Handshake || opened.n == 0) {
    return fail({SSL_R_UNEXPECTED_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE});
  }
  messages_.commit(opened.n);
  return read_messages();
}

// Sections 5 and 6.2: a ChangeCipherSpec is dropped until the client's Finished, and a client that could not read our
// flight says so in the clear.
Step Tls13Handshake::read_plain(Bytes record) {
  const Bytes content = record.subspan(std::min(record.size(), RecordCipher::kHeaderBytes));
  const auto type = static_cast<ContentType>(record[0]);
  if (type == ContentType::Alert && !encrypted_ && content.size() == 2) return on_alert(content);
  if (type != ContentType::ChangeCipherSpec) return fail({SSL_R_BAD_RECORD_TYPE, SSL_AD_UNEXPECTED_MESSAGE});
  if (!std::equal(record.begin(), record.end(), kChangeCipherSpec.begin(), kChangeCipherSpec.end())) {
    return fail({SSL_R_INVALID_CCS_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE});
  }
  if (++nothings_ > kMostNothings) return fail({SSL_R_UNEXPECTED_CCS_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE});
  return Step::WantInput;
}

Step Tls13Handshake::read_messages() {
  while (messages_.size() >= kMessageHeaderBytes) {
    const Bytes held = messages_.bytes();
    const std::size_t length = std::size_t{held[1]} << 16 | std::size_t{held[2]} << 8 | held[3];
    if (length > kMostMessage) return fail({SSL_R_EXCESSIVE_MESSAGE_SIZE, SSL_AD_ILLEGAL_PARAMETER});
    if (held.size() < kMessageHeaderBytes + length) return Step::WantInput;
    const Bytes message = held.first(kMessageHeaderBytes + length);
    const Step step = on_message(message);
    if (step != Step::WantInput && step != Step::Done) return step;
    // Section 5.1: a message that changes keys ends its record.
    if (step == Step::Done && held.size() != message.size()) {
      return fail({SSL_R_NOT_ON_RECORD_BOUNDARY, SSL_AD_UNEXPECTED_MESSAGE});
    }
    messages_.consume(message.size());
    if (step == Step::Done) return step;
  }
  return Step::WantInput;
}

// In the order of section 2, and in no other. Done after Finished alone.
Step Tls13Handshake::on_message(Bytes message) {
  const auto type = static_cast<HandshakeType>(message[0]);
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
  if (sent->with_extensions) return fail({SSL_R_UNSOLICITED_EXTENSION, SSL_AD_UNSUPPORTED_EXTENSION});
  if (sent->ders.empty()) {
    return fail(SSL_AD_CERTIFICATE_REQUIRED,
                {Origin::Client, Reason::NoCertificate, 0, "the client sent no certificate"});
  }
  auto parsed = parse(sent->ders);
  if (!parsed) return fail({SSL_R_CERT_LENGTH_MISMATCH, SSL_AD_DECODE_ERROR});
  // Fail closed: without a verifier nobody can say that the certificate is good.
  if (verifier_ == nullptr) return fail({SSL_R_CERTIFICATE_VERIFY_FAILED, SSL_AD_CERTIFICATE_UNKNOWN});
  verdict_ = verifier_->verify(
      parsed->plain ? PeerChain{.plain = &*parsed->plain, .behind = std::span(sent->ders).subspan(1)}
                    : PeerChain{.leaf = sk_X509_value(parsed->chain.get(), 0), .sent = parsed->chain.get()});
  if (!verdict_->admitted()) {
    return fail(alert_for(verdict_->reason),
                {Origin::Client, verdict_->reason, verdict_->detail, "the device's certificate was refused"});
  }
  client_key_ = std::move(parsed->key);
  expects_ = Expects::CertificateVerify;
  return Step::WantInput;
}

Step Tls13Handshake::on_certificate_verify(Bytes body) {
  const auto proof = read_certificate_verify(body);
  if (!proof) return fail({SSL_R_LENGTH_MISMATCH, SSL_AD_DECODE_ERROR});
  switch (check_transcript(client_key_, proof->scheme, schedule_.transcript(), proof->signature)) {
    case Proof::WrongScheme: return fail({SSL_R_WRONG_SIGNATURE_TYPE, SSL_AD_ILLEGAL_PARAMETER});
    case Proof::Bad: return fail({SSL_R_BAD_SIGNATURE, SSL_AD_DECRYPT_ERROR});
    case Proof::Good: break;
  }
  expects_ = Expects::Finished;
  return Step::WantInput;
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
Step Tls13Handshake::on_alert(Bytes content) {
  if (content.size() != 2) return fail({SSL_R_BAD_LENGTH, SSL_AD_DECODE_ERROR});
  const int description = content[1];
  if (description == SSL_AD_CLOSE_NOTIFY) return Step::Closed;
  if (description == SSL_AD_USER_CANCELLED) {
    if (++nothings_ > kMostNothings) return fail({SSL_R_TOO_MANY_WARN_ALERTS, SSL_AD_UNEXPECTED_MESSAGE});
    return Step::WantInput;
  }
  // It is over on both sides: nothing is answered.
  const int reason = SSL_AD_REASON_OFFSET + description;
  error_ = {Origin::Client, Reason::TlsError, reason, text_of(reason)};
  return Step::Failed;
}

Step Tls13Handshake::fail(TlsFailure failure) {
  return fail(failure.alert, {Origin::Client, Reason::TlsError, failure.reason, text_of(failure.reason)});
}

// Once the server's Finished is out, what it sends is under its application key: section 7.1.
Step Tls13Handshake::fail(std::uint8_t alert, const Error& error) {
  error_ = error;
  const std::array<std::uint8_t, 2> fatal = {SSL3_AL_FATAL, alert};
  RecordKey writing;
  if (derive_record_key(schedule_.server_application(), kKeyBytes, writing)) {
    RecordCipher cipher(writing);
    seal_record(cipher, fatal, ContentType::Alert, output_);
  }
  return Step::Failed;
}

bool Tls13Handshake::hand_over(TrafficSecrets& secrets) const {
  if (expects_ != Expects::Nothing) return false;
  const Tls13Secret &client = schedule_.client_application(), &server = schedule_.server_application();
  std::copy(client.begin(), client.end(), secrets.client.begin());
  std::copy(server.begin(), server.end(), secrets.server.begin());
  secrets.client_bytes = client.size();
  secrets.server_bytes = server.size();
  return true;
}

bool Tls13Handshake::ticket_secret(Bytes nonce, Tls13Secret& secret) const {
  return expects_ == Expects::Nothing && schedule_.derive_ticket(nonce, secret);
}

}  // namespace sallyport
