// A TLS 1.3 client that says what it is told to: a ClientHello of given fields, and the messages of its second flight
// one by one, right or wrong. Its key exchange and signatures are OpenSSL's own, in OpenSSL's default context; key
// schedule and records are the product's, which the tests with a whole OpenSSL client hold to RFC 8446.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "cache/base/check.h"
#include "proxy/tls/tls13_key_schedule.h"
#include "proxy/tls/tls13_messages.h"
#include "proxy/tls/wire_reader.h"
#include "tests/proxy/tls/peer_parts.h"
#include "tests/proxy/tls/record_peer.h"

namespace sallyport::test {

// What a server's NewSessionTicket comes to (section 4.6.1): what is offered when the client comes back.
struct KeptTicket {
  Bytes ticket;
  Bytes secret;
};

class Tls13Peer {
 public:
  const Bytes& share() const { return exchange_.share(); }

  // The record of a ClientHello.
  Bytes say(const Hello& hello) { return say(hello.message()); }
  Bytes say(const Bytes& message) {
    schedule_.add(message);
    return plain_record(kHandshake, message);
  }
  // A ClientHello that offers a ticket, as its last extension must (section 4.2.11); `psk_modes` come before it.
  Bytes offer(Hello hello, const KeptTicket& kept, const Bytes& psk_modes = {1}) {
    constexpr std::size_t kBinders = 2 + 1 + 32;
    std::copy(kept.secret.begin(), kept.secret.end(), offered_.begin());
    if (!psk_modes.empty()) hello.add(45, vector_of(psk_modes, 1));
    const Bytes identity = join({vector_of(kept.ticket, 2), Bytes(4, 6)});
    hello.add(41, join({vector_of(identity, 2), vector_of(vector_of(Bytes(32), 1), 2)}));
    Bytes message = hello.message();
    TranscriptHash mac;
    Sha256 bound;
    bound.add(std::span(message).first(message.size() - kBinders));
    CHECK(binder_mac(offered_, bound.of_all(), mac));
    std::copy(mac.begin(), mac.end(), message.end() - 32);
    return message;
  }
  // What is under the application key where it is a ticket.
  std::optional<KeptTicket> take_ticket(std::span<const std::uint8_t>& bytes) {
    const auto record = open(bytes);
    if (!record || record->type != kHandshake || record->content.empty() || record->content[0] != 4)
      return std::nullopt;
    WireReader fields(std::span(record->content).subspan(4));
    fields.take(8);  // ticket_lifetime, ticket_age_add
    const auto nonce = fields.vector(1);
    const auto ticket = fields.vector(2);
    Secret256 secret;
    if (fields.missing() || !schedule_.derive_ticket(nonce, secret)) return std::nullopt;
    return KeptTicket{{ticket.begin(), ticket.end()}, {secret.begin(), secret.end()}};
  }

  // Reads the server's first flight; the messages in it are in `heard`. False where it is none.
  bool hear(std::span<const std::uint8_t> flight) {
    const std::size_t length = std::size_t{flight[3]} << 8 | flight[4];
    const auto greeting = flight.subspan(5, length);
    flight = flight.subspan(5 + length);
    heard.push_back(Bytes(greeting.begin(), greeting.end()));
    // type, length, legacy_version, random, session_id, ..., and the share is the end of it, or before which ticket
    static const Bytes kFirstTicket = join({number(41, 2), number(2, 2), number(0, 2)});
    Secret256 shared;
    if (flight.size() < 6 || greeting.size() < 38 || greeting[0] != 2) return false;
    resumed = std::equal(kFirstTicket.begin(), kFirstTicket.end(), greeting.end() - 6);
    if (resumed && !schedule_.begin_with(offered_)) return false;
    if (!exchange_.agree(greeting.first(greeting.size() - (resumed ? kFirstTicket.size() : 0)).last(32), shared))
      return false;
    schedule_.add(greeting);
    if (!schedule_.derive_handshake(shared)) return false;
    heard_change_cipher_spec = flight[0] == kChangeCipherSpec;
    if (heard_change_cipher_spec) flight = flight.subspan(6);
    handshake_.emplace(16, schedule_.client_handshake(), schedule_.server_handshake());
    while (!flight.empty()) {
      const auto record = handshake_->open(flight);
      if (!record || record->type != kHandshake) return false;
      schedule_.add(record->content);
      heard.push_back(record->content);
    }
    if (!schedule_.derive_application()) return false;
    application_.emplace(16, schedule_.client_application(), schedule_.server_application());
    return true;
  }

  // Messages of the second flight, as they should be; each counts in the transcript once it is said.
  Bytes certificate(const std::vector<Bytes>& ders) const {
    Bytes list;
    for (const Bytes& der : ders) list = join({list, vector_of(der, 3), {0, 0}});
    return message_of(11, join({{0}, vector_of(list, 3)}));
  }
  Bytes certificate_verify(EVP_PKEY* key, std::uint16_t scheme, const char* digest,
                           std::string_view context = "TLS 1.3, client CertificateVerify") const {
    const TranscriptHash hash = schedule_.transcript();
    const Bytes content =
        join({Bytes(64, ' '), Bytes(context.begin(), context.end()), {0}, Bytes(hash.begin(), hash.end())});
    return message_of(15, join({number(scheme, 2), vector_of(sign(key, scheme, digest, content), 2)}));
  }
  Bytes finished() const {
    TranscriptHash mac;
    CHECK(finished_mac(schedule_.client_handshake(), schedule_.transcript(), mac));
    return message_of(20, Bytes(mac.begin(), mac.end()));
  }
  void said(const Bytes& message) { schedule_.add(message); }

  Bytes seal(std::uint8_t type, const Bytes& content, std::size_t padding = 0) {
    return handshake_->seal(type, content, padding);
  }
  // What comes under the server's application key.
  std::optional<InnerRecord> open(std::span<const std::uint8_t>& bytes) { return application_->open(bytes); }
  Bytes seal_data(const Bytes& content) { return application_->seal(kApplicationData, content); }
  Bytes update_key() { return application_->key_update(0); }
  Bytes seal_any(std::uint8_t type, const Bytes& content) { return application_->seal(type, content); }

  std::vector<Bytes> heard;
  bool resumed = false;
  bool heard_change_cipher_spec = false;

 private:
  ExchangeKey exchange_;
  Secret256 offered_;  // of the ticket that was offered
  Tls13KeySchedule schedule_;
  std::optional<RecordPeer> handshake_, application_;
};

}  // namespace sallyport::test
