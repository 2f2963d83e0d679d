// The server's side of a TLS 1.3 handshake (RFC 8446), full or with a ticket, with a client that asks for what nearly
// every device asks for: TLS_AES_128_GCM_SHA256 and X25519 or P-256 (PlainHello). Everything else is OpenSSL's: other
// ciphers and groups, a second ClientHello; TLS 1.2 is tls12_handshake.h's, or OpenSSL's. It costs two thirds of
// OpenSSL's, which fetches, decodes and copies for every case there is; the cryptography is OpenSSL's here, too
// (handshake_crypto.h). Who the client is decides the Verifier; that it holds its key, its CertificateVerify, and that
// it holds a ticket's secret, the binder. Nothing else ends in Done. Runs on its shard's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "proxy/io/byte_buffer.h"
#include "proxy/tls/client_hello.h"
#include "proxy/tls/own_handshake.h"
#include "proxy/tls/record_cipher.h"
#include "proxy/tls/tls13_key_schedule.h"
#include "proxy/tls/tls13_messages.h"

namespace sallyport {

class Tls13Handshake final : public OwnHandshake {
 public:
  Tls13Handshake(const HandshakeServer& server, Verifier* verifier, std::optional<Verdict>& verdict,
                 ByteBuffer& output);

  // Whether who sent the ClientHello `message` holds the secret of the ticket in it.
  static bool binder_holds(const OfferedTicket& offered, std::span<const std::uint8_t> message,
                           const Secret256& ticket_secret);
  // Answers the ClientHello `message` with the whole flight up to Finished. With a `ticket_secret`, of a ticket that is
  // honoured, no certificate is sent and none is asked for. False: nothing was answered, and OpenSSL may.
  bool begin(const PlainHello& hello, std::span<const std::uint8_t> message, const Secret256* ticket_secret);

  TlsVersion version() const override { return TlsVersion::V13; }
  const char* cipher_name() const override { return "TLS_AES_128_GCM_SHA256"; }
  std::size_t record_bytes(std::span<const std::uint8_t> bytes) const override;
  bool hand_over(TlsRecords& records) override;
  bool ticket_secret(std::span<const std::uint8_t> nonce, Secret256& secret) const override;
  bool resumes() const override { return resumes_; }

 private:
  enum class Expects : std::uint8_t { Certificate, CertificateVerify, Finished, Nothing };

  bool write_flight(const PlainHello& hello, const ServerCredential* credential);
  Step read_record(std::span<const std::uint8_t> record) override;
  Step read_plain(std::span<const std::uint8_t> record);
  Step on_message(HandshakeType type, std::span<const std::uint8_t> message) override;
  Step on_certificate(std::span<const std::uint8_t> body);
  Step on_certificate_verify(std::span<const std::uint8_t> body);
  Step on_finished(std::span<const std::uint8_t> body);
  Step on_alert(std::uint8_t level, std::uint8_t description) override;
  void send_alert(std::uint8_t level, std::uint8_t description) override;

  Tls13KeySchedule schedule_;
  RecordKey reading_;  // the client's handshake key
  Expects expects_ = Expects::Certificate;
  bool takes_tickets_ = false;
  bool resumes_ = false;
  bool encrypted_ = false;  // a record under the client's handshake key has come
};

}  // namespace sallyport
