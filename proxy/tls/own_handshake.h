// What our own handshakes have in common (tls12_handshake.h, tls13_handshake.h): messages put together from records,
// the client's certificate brought before the Verifier and its proof checked, and how one fails. Everything else is
// OpenSSL's. Runs on its shard's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cache/base/result.h"
#include "proxy/io/byte_buffer.h"
#include "proxy/tls/client_hello.h"
#include "proxy/tls/handshake_crypto.h"
#include "proxy/tls/handshake_message.h"
#include "proxy/tls/handshake_server.h"
#include "proxy/tls/record_layer.h"
#include "proxy/tls/secret256.h"
#include "proxy/tls/tls_records.h"
#include "proxy/tls/verifier.h"

namespace sallyport {

class OwnHandshake {
 public:
  virtual ~OwnHandshake() = default;
  OwnHandshake(const OwnHandshake&) = delete;
  OwnHandshake& operator=(const OwnHandshake&) = delete;

  virtual TlsVersion version() const = 0;
  virtual const char* cipher_name() const = 0;  // static; as OpenSSL names it
  Group group() const { return group_; }        // of the key exchange, once the ClientHello was answered
  // How many bytes the record that `bytes` begin with has at all, or its header where they are fewer; a record that
  // will be refused by its header has the header alone.
  virtual std::size_t record_bytes(std::span<const std::uint8_t> bytes) const = 0;
  // One record of the client's, whole as record_bytes() says. WantInput: the next one; or Done, Closed, Failed.
  Step read(std::span<const std::uint8_t> record);

  // After Done: `records` goes on with what was agreed. False where it cannot.
  virtual bool hand_over(TlsRecords& records) = 0;
  // After Done: the secret of a ticket with this nonce that is to be sent now; false where none is.
  virtual bool ticket_secret(std::span<const std::uint8_t> /*nonce*/, Secret256& /*secret*/) const { return false; }
  virtual bool resumes() const { return false; }        // by a ticket
  virtual bool issued_ticket() const { return false; }  // within the handshake

  const Error& error() const { return error_; }  // after Failed

 protected:
  // All outlive it. `verifier` is asked on a mutual listener; without one nobody is let in there. What it says is in
  // `verdict`.
  OwnHandshake(const HandshakeServer& server, Verifier* verifier, std::optional<Verdict>& verdict, ByteBuffer& output)
      : server_(server), verifier_(verifier), verdict_(verdict), output_(output) {}

  virtual Step read_record(std::span<const std::uint8_t> record) = 0;
  // In the order of the version's RFC, and in no other. Done after the client's Finished alone.
  virtual Step on_message(HandshakeType type, std::span<const std::uint8_t> message) = 0;
  virtual Step on_alert(std::uint8_t level, std::uint8_t description) = 0;
  // To the client, under whatever key is due.
  virtual void send_alert(std::uint8_t level, std::uint8_t description) = 0;

  // What a record holds that is not encrypted, or is, with `key`.
  Step read_content(ContentType type, std::span<const std::uint8_t> content);
  Step read_alert(std::span<const std::uint8_t> content);
  Step read_sealed(RecordKey& key, std::span<const std::uint8_t> record);
  bool in_message() const { return !messages_.empty(); }  // part of one has come
  // What a client without certificate is told is the version's.
  Step judge(std::span<const std::span<const std::uint8_t>> ders, Alert alert_without);
  Step check(Proof proof);
  // A record that says nothing, of which there may be a few.
  Step nothing(TlsFailure where_too_many);
  Step ended_by_peer(std::uint8_t description);
  Step fail(TlsFailure failure);
  Step fail(std::uint8_t alert, const Error& error);

  const HandshakeServer& server_;
  Verifier* const verifier_;
  std::optional<Verdict>& verdict_;
  ByteBuffer& output_;
  ClientKey client_key_;
  Group group_ = Group::X25519;

 private:
  Step read_messages();

  ByteBuffer messages_;        // not yet whole
  std::uint8_t nothings_ = 0;  // records that said nothing
  bool closed_ = false;        // by the client's close_notify
  Error error_{};
};

// RFC 8446, section 6.2, unsupported_certificate: how a handshake ends whose client has a key that OpenSSL cannot read.
Error unknown_key();

// One record that is not encrypted.
void append_record(ContentType type, std::span<const std::uint8_t> content, ByteBuffer& output);

}  // namespace sallyport
