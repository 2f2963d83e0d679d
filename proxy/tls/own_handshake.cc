#include "proxy/tls/own_handshake.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <array>
#include <memory>

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

// As much as OpenSSL is allowed for a client's certificates: 240 of them cost 32 ms (proxy/tls/README.md).
constexpr std::size_t kMostMessage = kMostCertificateBytes;
// OpenSSL's MAX_EMPTY_RECORDS.
constexpr std::uint8_t kMostNothings = 32;

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

// Nothing where one is no certificate. Whoever sent a leaf with a key of an unknown algorithm has no `key`.
std::optional<Parsed> parse(std::span<const Bytes> ders) {
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
  const NoErrorsLeft errors;
  parsed.key = KeyPtr(X509_get_pubkey(sk_X509_value(parsed.chain.get(), 0)));
  return parsed;
}

}  // namespace

Error unknown_key() {
  return {Origin::Client, Reason::TlsError, SSL_R_UNKNOWN_CERTIFICATE_TYPE,
          "the key of the client's certificate is of an algorithm that is unknown here"};
}

void append_record(ContentType type, Bytes content, ByteBuffer& output) {
  const std::array<std::uint8_t, RecordCipher::kHeaderBytes> header = {static_cast<std::uint8_t>(type), 3, 3,
                                                                       static_cast<std::uint8_t>(content.size() >> 8),
                                                                       static_cast<std::uint8_t>(content.size())};
  output.append(header);
  output.append(content);
}

Step OwnHandshake::read(Bytes record) {
  if (error_.what.data() != nullptr) return Step::Failed;
  const Step step = closed_ ? Step::Closed : read_record(record);
  closed_ = step == Step::Closed;
  return step;
}

// RFC 8446, section 5.1: nothing comes between the parts of a message, and no part of one is empty.
Step OwnHandshake::read_content(ContentType type, Bytes content) {
  if (type == ContentType::Alert && !in_message()) return read_alert(content);
  if (type != ContentType::Handshake || content.empty()) {
    return fail({SSL_R_UNEXPECTED_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE});
  }
  messages_.append(content);
  return read_messages();
}

Step OwnHandshake::read_alert(Bytes content) {
  const TlsFailure failure = alert_fault(content);
  return failure.reason != 0 ? fail(failure) : on_alert(content[0], content[1]);
}

Step OwnHandshake::read_sealed(RecordKey& key, Bytes record) {
  std::vector<std::uint8_t> content(record.size());
  RecordCipher cipher(key);
  const OpenedRecord opened = open_record(cipher, record, content);
  if (opened.failure.reason != 0) return fail(opened.failure);
  return read_content(opened.type, Bytes(content).first(opened.n));
}

Step OwnHandshake::read_messages() {
  while (messages_.size() >= kMessageHeaderBytes) {
    const Bytes held = messages_.bytes();
    const std::size_t length = std::size_t{held[1]} << 16 | std::size_t{held[2]} << 8 | held[3];
    if (length > kMostMessage) return fail({SSL_R_EXCESSIVE_MESSAGE_SIZE, SSL_AD_ILLEGAL_PARAMETER});
    if (held.size() < kMessageHeaderBytes + length) return Step::WantInput;
    const Bytes message = held.first(kMessageHeaderBytes + length);
    const Step step = on_message(static_cast<HandshakeType>(message[0]), message);
    if (step != Step::WantInput && step != Step::Done) return step;
    // RFC 8446, section 5.1: a message that changes keys ends its record.
    if (step == Step::Done && held.size() != message.size()) {
      return fail({SSL_R_NOT_ON_RECORD_BOUNDARY, SSL_AD_UNEXPECTED_MESSAGE});
    }
    messages_.consume(message.size());
    if (step == Step::Done) return step;
  }
  return Step::WantInput;
}

Step OwnHandshake::judge(std::span<const Bytes> ders, Alert alert_without) {
  if (ders.empty()) {
    return fail(static_cast<std::uint8_t>(alert_without),
                {Origin::Client, Reason::NoCertificate, 0, "the client sent no certificate"});
  }
  auto parsed = parse(ders);
  // RFC 8446, section 6.2: that a DER is none is no fault of the message around it.
  if (!parsed) {
    return fail(SSL_AD_BAD_CERTIFICATE,
                {Origin::Client, Reason::TlsError, 0, "what the client sent as a certificate is none"});
  }
  if (const auto* key = std::get_if<KeyPtr>(&parsed->key); key != nullptr && *key == nullptr) {
    return fail(SSL_AD_UNSUPPORTED_CERTIFICATE, unknown_key());
  }
  // Fail closed: without a verifier nobody can say that the certificate is good.
  if (verifier_ == nullptr) return fail({SSL_R_CERTIFICATE_VERIFY_FAILED, SSL_AD_CERTIFICATE_UNKNOWN});
  verdict_ = verifier_->verify(
      parsed->plain ? PeerChain{.plain = &*parsed->plain, .behind = ders.subspan(1)}
                    : PeerChain{.leaf = sk_X509_value(parsed->chain.get(), 0), .sent = parsed->chain.get()});
  if (!verdict_->admitted()) {
    return fail(static_cast<std::uint8_t>(certificate_alert(verdict_->reason)), refused_for(*verdict_));
  }
  client_key_ = std::move(parsed->key);
  return Step::WantInput;
}

Step OwnHandshake::check(Proof proof) {
  switch (proof) {
    case Proof::Good: return Step::WantInput;
    case Proof::WrongScheme: return fail({SSL_R_WRONG_SIGNATURE_TYPE, SSL_AD_ILLEGAL_PARAMETER});
    case Proof::Bad: break;
  }
  return fail({SSL_R_BAD_SIGNATURE, SSL_AD_DECRYPT_ERROR});
}

Step OwnHandshake::nothing(TlsFailure where_too_many) {
  return ++nothings_ > kMostNothings ? fail(where_too_many) : Step::WantInput;
}

// It is over on both sides: nothing is answered.
Step OwnHandshake::ended_by_peer(std::uint8_t description) {
  const int reason = SSL_AD_REASON_OFFSET + description;
  error_ = {Origin::Client, Reason::TlsError, reason, text_of(reason)};
  return Step::Failed;
}

Step OwnHandshake::fail(TlsFailure failure) {
  return fail(failure.alert, {Origin::Client, Reason::TlsError, failure.reason, text_of(failure.reason)});
}

Step OwnHandshake::fail(std::uint8_t alert, const Error& error) {
  error_ = error;
  send_alert(SSL3_AL_FATAL, alert);
  return Step::Failed;
}

}  // namespace sallyport
