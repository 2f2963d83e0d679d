// The server's side of a full TLS 1.2 handshake (RFC 5246) with a client that asks for what nearly every device without
// TLS 1.3 asks for: ECDHE over X25519 or P-256, AES-128-GCM and the extended master secret (PlainHello12). Everything
// else is OpenSSL's: tickets that come back, other ciphers and groups, no extended master secret. It costs three
// quarters of OpenSSL's; see tls13_handshake.h. Who the client is decides the Verifier; that it holds its key, its
// CertificateVerify. Nothing else ends in Done. Runs on its shard's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "cache/crypto/openssl_ptr.h"
#include "cache/crypto/sha2.h"
#include "proxy/io/byte_buffer.h"
#include "proxy/tls/own_handshake.h"
#include "proxy/tls/record_cipher.h"
#include "proxy/tls/tls12_client_hello.h"
#include "proxy/tls/tls12_key_schedule.h"

namespace sallyport {

class Resumption;

class Tls12Handshake final : public OwnHandshake {
 public:
  // `resumption` is null where no tickets are issued. `server_name`: as Ticket has it; it outlives this.
  Tls12Handshake(const HandshakeServer& server, const Resumption* resumption, const std::string& server_name,
                 Verifier* verifier, std::optional<Verdict>& verdict, ByteBuffer& output);

  // Answers the ClientHello `message` with the whole flight up to ServerHelloDone. False: nothing was answered, and
  // OpenSSL may.
  bool begin(const PlainHello12& hello, std::span<const std::uint8_t> message);

  TlsVersion version() const override { return TlsVersion::V12; }
  const char* cipher_name() const override;
  std::size_t record_bytes(std::span<const std::uint8_t> bytes) const override;
  bool hand_over(TlsRecords& records) override;
  bool issued_ticket() const override { return issued_ticket_; }

 private:
  enum class Expects : std::uint8_t {
    Certificate,
    ClientKeyExchange,
    CertificateVerify,
    ChangeCipherSpec,
    Finished,
    Nothing
  };

  void add(std::span<const std::uint8_t> message);
  Step read_record(std::span<const std::uint8_t> record) override;
  Step read_finished(std::span<const std::uint8_t> record);
  Step on_change_cipher_spec(std::span<const std::uint8_t> content);
  Step on_message(HandshakeType type, std::span<const std::uint8_t> message) override;
  Step on_certificate(std::span<const std::uint8_t> body);
  Step on_client_key_exchange(std::span<const std::uint8_t> body);
  Step on_certificate_verify(std::span<const std::uint8_t> body);
  Step on_finished(std::span<const std::uint8_t> body);
  bool write_end();
  Message ticket();
  Step on_alert(std::uint8_t level, std::uint8_t description) override;
  void send_alert(std::uint8_t level, std::uint8_t description) override;

  const Resumption* const resumption_;
  const std::string& server_name_;
  Sha256 transcript_;
  ByteBuffer signed_;  // all messages, until the CertificateVerify that signs them
  KeyPtr exchange_key_;
  Tls12Agreement agreed_;
  RecordKey reading_, writing_;
  std::uint16_t suite_ = 0;
  Expects expects_ = Expects::Certificate;
  bool takes_ticket_ = false, issued_ticket_ = false;
};

}  // namespace sallyport
