#include "proxy/tls/tls12_handshake.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <string_view>

#include "proxy/tls/tls12_messages.h"
#include "proxy/tls/tls_resumption.h"

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kKeyBytes12 = 16;
constexpr std::array<std::uint8_t, 1> kChangeCipherSpec = {1};  // RFC 5246, section 7.1
// RFC 8446, section 4.1.3: the end of the random of a server that has TLS 1.3, too, so that nobody between the two can
// talk them down.
constexpr std::string_view kDowngraded("DOWNGRD\1", 8);

}  // namespace

Tls12Handshake::Tls12Handshake(const HandshakeServer& server, const Resumption* resumption,
                               const std::string& server_name, Verifier* verifier, std::optional<Verdict>& verdict,
                               ByteBuffer& output)
    : OwnHandshake(server, verifier, verdict, output), resumption_(resumption), server_name_(server_name) {
  agreed_.hash = kdf_hash("SHA2-256");
}

const char* Tls12Handshake::cipher_name() const {
  return suite_ == kEcdheEcdsaAes128 ? "ECDHE-ECDSA-AES128-GCM-SHA256" : "ECDHE-RSA-AES128-GCM-SHA256";
}

void Tls12Handshake::add(Bytes message) {
  transcript_.add(message);
  if (server_.mutual && expects_ <= Expects::CertificateVerify) signed_.append(message);
}

bool Tls12Handshake::begin(const PlainHello12& hello, Bytes message) {
  if (!server_.tls12) return false;
  const ServerCredential* credential = server_.choose(hello);
  std::vector<std::uint8_t> share;
  exchange_key_ = credential == nullptr ? nullptr : make_exchange_key(hello.group, share);
  agreed_.client_random = hello.random;
  auto& random = agreed_.server_random;
  if (!exchange_key_ || RAND_bytes(random.data(), static_cast<int>(random.size() - kDowngraded.size())) != 1) {
    return false;
  }
  std::copy(kDowngraded.begin(), kDowngraded.end(), random.end() - static_cast<std::ptrdiff_t>(kDowngraded.size()));
  group_ = hello.group;
  suite_ = credential->signer.scheme() == kEcdsaP256Sha256 ? kEcdheEcdsaAes128 : kEcdheRsaAes128;
  takes_ticket_ = hello.takes_tickets && resumption_ != nullptr;

  const std::vector<std::uint8_t> params = key_exchange_params(group_, share);
  Sha256 to_sign;
  to_sign.add(agreed_.client_random);
  to_sign.add(agreed_.server_random);
  to_sign.add(params);
  std::vector<std::uint8_t> signature;
  if (!credential->signer.sign_digest(to_sign.of_all(), signature)) return false;

  static const Message kRequest = certificate_request12(kAcceptedSchemes), kDone = server_hello_done();
  // One message a record, as OpenSSL sends them: a small device may have little room for one.
  const auto send = [&](const Message& each) {
    for (Bytes rest = each; !rest.empty(); rest = rest.subspan(std::min(rest.size(), kMostPlain))) {
      append_record(ContentType::Handshake, rest.first(std::min(rest.size(), kMostPlain)), output_);
    }
    add(each);
  };
  add(message);
  send(server_hello12(random, suite_, {hello.server_name.has_value(), hello.point_formats, takes_ticket_}));
  send(credential->certificate12);
  send(server_key_exchange(params, credential->signer.scheme(), signature));
  if (server_.mutual) send(kRequest);
  send(kDone);
  if (!server_.mutual) expects_ = Expects::ClientKeyExchange;
  return true;
}

std::size_t Tls12Handshake::record_bytes(Bytes bytes) const {
  if (bytes.size() < RecordCipher::kHeaderBytes) return RecordCipher::kHeaderBytes;
  const std::size_t length = record_length(bytes);
  const std::size_t most = expects_ == Expects::Finished ? kMostSealed : kMostPlain;
  return RecordCipher::kHeaderBytes + (length <= most ? length : 0);
}

Step Tls12Handshake::read_record(Bytes record) {
  if (expects_ == Expects::Finished) return read_finished(record);
  if (record[1] != 3 || record[2] != 3) return fail({SSL_R_WRONG_VERSION_NUMBER, SSL_AD_PROTOCOL_VERSION});
  const Bytes content = record.subspan(RecordCipher::kHeaderBytes);
  if (content.size() != record_length(record)) return fail({SSL_R_DATA_LENGTH_TOO_LONG, SSL_AD_RECORD_OVERFLOW});
  const auto type = static_cast<ContentType>(record[0]);
  return type == ContentType::ChangeCipherSpec ? on_change_cipher_spec(content) : read_content(type, content);
}

// Section 7.1: before the Finished, between two messages, and then alone. At any other time it would let somebody
// choose keys that nobody has agreed upon (CVE-2014-0224).
Step Tls12Handshake::on_change_cipher_spec(Bytes content) {
  if (!std::equal(content.begin(), content.end(), kChangeCipherSpec.begin(), kChangeCipherSpec.end())) {
    return fail({SSL_R_BAD_CHANGE_CIPHER_SPEC, SSL_AD_ILLEGAL_PARAMETER});
  }
  if (expects_ != Expects::ChangeCipherSpec || in_message()) {
    return fail({SSL_R_UNEXPECTED_CCS_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE});
  }
  expects_ = Expects::Finished;
  return Step::WantInput;
}

Step Tls12Handshake::read_finished(Bytes record) {
  const Step step = read_sealed(reading_, record);
  if (step == Step::Done && !write_end()) return fail({ERR_R_INTERNAL_ERROR, SSL_AD_INTERNAL_ERROR});
  return step;
}

// Section 7.3.
Step Tls12Handshake::on_message(HandshakeType type, Bytes message) {
  const Bytes body = message.subspan(kMessageHeaderBytes);
  Step step = Step::Failed;
  if (expects_ == Expects::Certificate && type == HandshakeType::Certificate) {
    step = on_certificate(body);
    if (step != Step::Failed) add(message);
  } else if (expects_ == Expects::ClientKeyExchange && type == HandshakeType::ClientKeyExchange) {
    add(message);  // RFC 7627, section 3: it is part of the session's hash
    step = on_client_key_exchange(body);
  } else if (expects_ == Expects::CertificateVerify && type == HandshakeType::CertificateVerify) {
    step = on_certificate_verify(body);
    if (step != Step::Failed) add(message);
  } else if (expects_ == Expects::Finished && type == HandshakeType::Finished) {
    step = on_finished(body);
    if (step != Step::Failed) add(message);
  } else {
    return fail({SSL_R_UNEXPECTED_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE});
  }
  return step;
}

Step Tls12Handshake::on_certificate(Bytes body) {
  const auto ders = read_certificates12(body);
  if (!ders) return fail({SSL_R_LENGTH_MISMATCH, SSL_AD_DECODE_ERROR});
  const Step step = judge(*ders, row_of(Reason::NoCertificate).alert12);
  if (step != Step::Failed) expects_ = Expects::ClientKeyExchange;
  return step;
}

Step Tls12Handshake::on_client_key_exchange(Bytes body) {
  const auto share = read_key_exchange(body);
  if (!share) return fail({SSL_R_LENGTH_MISMATCH, SSL_AD_DECODE_ERROR});
  Secret256 premaster;
  if (!derive_shared(group_, exchange_key_, *share, premaster)) {
    return fail({SSL_R_BAD_ECPOINT, SSL_AD_ILLEGAL_PARAMETER});
  }
  exchange_key_.reset();
  if (!derive_master(*agreed_.hash, premaster, transcript_.of_all(), agreed_.master) ||
      !derive_record_keys(agreed_, kKeyBytes12, reading_, writing_)) {
    return fail({ERR_R_INTERNAL_ERROR, SSL_AD_INTERNAL_ERROR});
  }
  expects_ = server_.mutual ? Expects::CertificateVerify : Expects::ChangeCipherSpec;
  return Step::WantInput;
}

Step Tls12Handshake::on_certificate_verify(Bytes body) {
  const auto proof = read_certificate_verify(body);
  if (!proof) return fail({SSL_R_LENGTH_MISMATCH, SSL_AD_DECODE_ERROR});
  const Step step = check(check_messages(client_key_, proof->scheme, signed_.bytes(), proof->signature));
  if (step == Step::Failed) return step;
  signed_.release();
  expects_ = Expects::ChangeCipherSpec;
  return step;
}

Step Tls12Handshake::on_finished(Bytes body) {
  VerifyData due;
  if (!derive_verify_data(agreed_, kClientFinished, transcript_.of_all(), due)) {
    return fail({ERR_R_INTERNAL_ERROR, SSL_AD_INTERNAL_ERROR});
  }
  if (body.size() != due.size()) return fail({SSL_R_BAD_DIGEST_LENGTH, SSL_AD_DECODE_ERROR});
  if (CRYPTO_memcmp(body.data(), due.data(), due.size()) != 0) {
    return fail({SSL_R_DIGEST_CHECK_FAILED, SSL_AD_DECRYPT_ERROR});
  }
  expects_ = Expects::Nothing;
  return Step::Done;
}

// Whoever has offered to take a ticket, and was told that there will be one, gets one or an empty one.
Message Tls12Handshake::ticket() {
  const Ticketed ticketed{server_.mutual, verdict_ ? &*verdict_ : nullptr, server_name_};
  const auto issued = resumption_->issue12(ticketed, suite_, agreed_.master, std::time(nullptr));
  issued_ticket_ = issued.has_value();
  return issued ? new_session_ticket12(issued->lifetime, issued->ticket) : new_session_ticket12(0, {});
}

bool Tls12Handshake::write_end() {
  ByteBuffer end;
  if (takes_ticket_) {
    const Message message = ticket();
    add(message);
    append_record(ContentType::Handshake, message, end);
  }
  VerifyData data;
  if (!derive_verify_data(agreed_, kServerFinished, transcript_.of_all(), data)) return false;
  append_record(ContentType::ChangeCipherSpec, kChangeCipherSpec, end);
  RecordCipher cipher(writing_);
  seal_record(cipher, finished12(data), ContentType::Handshake, end);
  output_.append(end.bytes());
  return true;
}

// Section 7.2.
Step Tls12Handshake::on_alert(std::uint8_t level, std::uint8_t description) {
  if (level == SSL3_AL_FATAL) return ended_by_peer(description);
  if (level != SSL3_AL_WARNING) return fail({SSL_R_UNKNOWN_ALERT_TYPE, SSL_AD_ILLEGAL_PARAMETER});
  if (description == SSL_AD_CLOSE_NOTIFY) return Step::Closed;
  return nothing({SSL_R_TOO_MANY_WARN_ALERTS, SSL_AD_UNEXPECTED_MESSAGE});
}

// Until the server's Finished, with which nothing fails any more, what it sends is not encrypted.
void Tls12Handshake::send_alert(std::uint8_t level, std::uint8_t description) {
  const std::array<std::uint8_t, 2> content = {level, description};
  append_record(ContentType::Alert, content, output_);
}

bool Tls12Handshake::hand_over(TlsRecords& records) {
  return expects_ == Expects::Nothing && records.begin(reading_, writing_);
}

}  // namespace sallyport
