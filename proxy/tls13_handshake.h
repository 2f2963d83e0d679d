// The server's side of a TLS 1.3 handshake (RFC 8446), full or with a ticket, with a client that asks for what nearly
// every device asks for: TLS_AES_128_GCM_SHA256 and X25519 or P-256 (PlainHello). Everything else is OpenSSL's: other
// versions, ciphers and groups, a second ClientHello. It costs two thirds of OpenSSL's, which fetches, decodes and
// copies for every case there is; the cryptography is OpenSSL's here, too (tls13_crypto.h). Who the client is decides
// the Verifier; that it holds its key, its CertificateVerify, and that it holds a ticket's secret, the binder. Nothing
// else ends in Done. Runs on its shard's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "cache/openssl_ptr.h"
#include "cache/result.h"
#include "proxy/byte_buffer.h"
#include "proxy/client_hello.h"
#include "proxy/record_cipher.h"
#include "proxy/record_layer.h"
#include "proxy/tls13_crypto.h"
#include "proxy/tls13_key_schedule.h"
#include "proxy/tls13_messages.h"
#include "proxy/tls13_server.h"
#include "proxy/tls_records.h"
#include "proxy/verifier.h"

namespace sallyport {

class Tls13Handshake {
 public:
  // All outlive it. `verifier` is asked on a mutual listener; without one nobody is let in there. What it says is in
  // `verdict`.
  Tls13Handshake(const Tls13Server& server, Verifier* verifier, std::optional<Verdict>& verdict, ByteBuffer& output);

  // Whether who sent the ClientHello `message` holds the secret of the ticket in it.
  static bool binder_holds(const OfferedTicket& offered, std::span<const std::uint8_t> message,
                           const Tls13Secret& ticket_secret);
  // Answers the ClientHello `message` with the whole flight up to Finished. With a `ticket_secret`, of a ticket that is
  // honoured, no certificate is sent and none is asked for. False: nothing was answered, and OpenSSL may.
  bool begin(const PlainHello& hello, std::span<const std::uint8_t> message, const Tls13Secret* ticket_secret);

  // How many bytes the record that `bytes` begin with has at all, or its header where they are fewer; a record that
  // will be refused by its header has the header alone.
  static std::size_t record_bytes(std::span<const std::uint8_t> bytes);
  // One record of the client's, whole as record_bytes() says. WantInput: the next one; or Done, Closed, Failed.
  Step read(std::span<const std::uint8_t> record);

  // After Done: `records` goes on with what was agreed. False where a key could not be derived.
  bool hand_over(TrafficSecrets& secrets) const;
  // After Done: the secret of the ticket with this nonce.
  bool ticket_secret(std::span<const std::uint8_t> nonce, Tls13Secret& secret) const;
  bool takes_tickets() const { return takes_tickets_; }
  bool resumes() const { return resumes_; }  // by a ticket

  const Error& error() const { return error_; }  // after Failed

 private:
  enum class Expects : std::uint8_t { Certificate, CertificateVerify, Finished, Nothing };

  bool write_flight(const PlainHello& hello, const Tls13Credential* credential);
  Step read_plain(std::span<const std::uint8_t> record);
  Step read_messages();
  Step on_message(std::span<const std::uint8_t> message);
  Step on_certificate(std::span<const std::uint8_t> body);
  Step on_certificate_verify(std::span<const std::uint8_t> body);
  Step on_finished(std::span<const std::uint8_t> body);
  Step on_alert(std::span<const std::uint8_t> content);
  Step fail(TlsFailure failure);
  Step fail(std::uint8_t alert, const Error& error);

  const Tls13Server& server_;
  Verifier* const verifier_;
  std::optional<Verdict>& verdict_;
  ByteBuffer& output_;
  Tls13KeySchedule schedule_;
  RecordKey reading_;    // the client's handshake key
  ByteBuffer messages_;  // decrypted, not yet whole
  ClientKey client_key_;
  Expects expects_ = Expects::Certificate;
  bool takes_tickets_ = false;
  bool resumes_ = false;
  bool encrypted_ = false;     // a record under the client's handshake key has come
  std::uint8_t nothings_ = 0;  // records that said nothing
  Error error_{};
};

}  // namespace sallyport
