// A TLS 1.2 client that says what it is told to: a ClientHello of given fields, and the messages of its second flight
// one by one, right or wrong. Its key exchange and signatures are OpenSSL's own; key schedule and records are the
// product's, which the tests with a whole OpenSSL client hold to RFC 5246.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "cache/base/check.h"
#include "proxy/tls/record_layer.h"
#include "proxy/tls/tls12_key_schedule.h"
#include "proxy/tls/wire_reader.h"
#include "tests/proxy/tls/peer_parts.h"

namespace sallyport::test {

// As it is made it asks for nothing but what it must.
inline Hello hello12() {
  Hello hello;
  hello.suites = numbers_of({0xC02C, 0xC02B, 0xC02F, 0x00FF});
  hello.session_id.clear();
  hello.extensions = {
      {10, vector_of(numbers_of({23, 29}), 2)}, {13, vector_of(numbers_of({0x0403, 0x0804, 0x0401}), 2)}, {23, {}}};
  return hello;
}

class Tls12Peer {
 public:
  const Bytes& share() const { return exchange_.share(); }

  // The record of a ClientHello.
  Bytes say(const Hello& hello) { return say(hello.message()); }
  Bytes say(const Bytes& message) {
    std::copy_n(message.begin() + 6, agreed_.client_random.size(), agreed_.client_random.begin());
    said(message);
    return plain_record(kHandshake, message);
  }

  // Reads the server's first flight, one message a record; the messages in it are in `heard`. False where it is none.
  bool hear(std::span<const std::uint8_t> flight) {
    while (!flight.empty()) {
      const auto message = take_message(flight);
      if (!message) return false;
      heard.push_back(*message);
      said(*message);
      if (message->front() == 2 && !hear_greeting(*message)) return false;
      if (message->front() == 12) theirs_.assign(message->begin() + 8, message->begin() + 8 + (*message)[7]);
    }
    return !heard.empty() && heard.back() == message_of(14, {});
  }
  // Reads what ends the handshake: a NewSessionTicket or none, ChangeCipherSpec and Finished.
  bool hear_end(std::span<const std::uint8_t>& bytes) {
    if (!bytes.empty() && bytes.front() == kHandshake) {
      const auto message = take_message(bytes);
      if (!message || message->front() != 4) return false;
      ticket = Bytes(message->begin() + 10, message->end());
      said(*message);
    }
    static const Bytes kSpec = change_cipher_spec();
    if (bytes.size() < kSpec.size() || !std::equal(kSpec.begin(), kSpec.end(), bytes.begin())) return false;
    bytes = bytes.subspan(kSpec.size());
    const Bytes due = finished(kServerFinished);
    const auto record = open(bytes);
    return record && *record == InnerRecord{kHandshake, due};
  }

  // Messages of the second flight, as they should be; each counts in the transcript once it is said.
  static Bytes certificate(const std::vector<Bytes>& ders) {
    Bytes list;
    for (const Bytes& der : ders) list = join({list, vector_of(der, 3)});
    return message_of(11, vector_of(list, 3));
  }
  Bytes key_exchange() const { return message_of(16, vector_of(share(), 1)); }
  Bytes certificate_verify(EVP_PKEY* key, std::uint16_t scheme, const char* digest) const {
    return message_of(15, join({number(scheme, 2), vector_of(sign(key, scheme, digest, transcript_), 2)}));
  }
  Bytes finished(std::string_view label = kClientFinished) const {
    VerifyData data;
    CHECK(derive_verify_data(agreed_, label, Sha256::of(std::span(transcript_)), data));
    return message_of(20, Bytes(data.begin(), data.end()));
  }
  void said(const Bytes& message) { transcript_.insert(transcript_.end(), message.begin(), message.end()); }
  // Once the ClientKeyExchange was said: what the records from now on are sealed with.
  void agree() {
    Secret256 shared;
    agreed_.hash = kdf_hash("SHA2-256");
    CHECK(exchange_.agree(theirs_, shared));
    CHECK(derive_master(*agreed_.hash, shared, Sha256::of(std::span(transcript_)), agreed_.master));
    CHECK(derive_record_keys(agreed_, 16, own_, servers_));
  }

  static Bytes change_cipher_spec() { return plain_record(kChangeCipherSpec, {1}); }
  Bytes seal(std::uint8_t type, const Bytes& content) {
    ByteBuffer sealed;
    RecordCipher cipher(own_);
    seal_record(cipher, content, static_cast<ContentType>(type), sealed);
    return {sealed.bytes().begin(), sealed.bytes().end()};
  }
  std::optional<InnerRecord> open(std::span<const std::uint8_t>& bytes) {
    if (TlsRecords::missing(TlsVersion::V12, bytes) > 0) return std::nullopt;
    Bytes content(bytes.size());
    RecordCipher cipher(servers_);
    const OpenedRecord opened = open_record(cipher, bytes, content);
    if (opened.failure.reason != 0) return std::nullopt;
    content.resize(opened.n);
    return InnerRecord{static_cast<std::uint8_t>(opened.type), content};
  }
  const Tls12Agreement& agreed() const { return agreed_; }

  std::vector<Bytes> heard;
  std::optional<Bytes> ticket;

 private:
  static std::optional<Bytes> take_message(std::span<const std::uint8_t>& bytes) {
    WireReader record(bytes);
    const std::size_t type = record.number(1), version = record.number(2);
    const auto content = record.vector(2);
    if (record.missing() || type != kHandshake || version != 0x0303 || content.size() < 4) return std::nullopt;
    bytes = bytes.subspan(5 + content.size());
    return Bytes(content.begin(), content.end());
  }
  bool hear_greeting(const Bytes& message) {
    if (message.size() < 6 + agreed_.server_random.size()) return false;
    std::copy_n(message.begin() + 6, agreed_.server_random.size(), agreed_.server_random.begin());
    return true;
  }

  ExchangeKey exchange_;
  Bytes theirs_;
  Bytes transcript_;
  Tls12Agreement agreed_;
  RecordKey own_, servers_;
};

}  // namespace sallyport::test
