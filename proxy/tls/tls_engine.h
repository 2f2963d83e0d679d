// TLS with no socket in it. One engine serves one connection: ciphertext is lent to it, plaintext comes
// out; plaintext goes in, ciphertext lands in the output buffer. The ClientHello decides who makes the
// handshake: Tls13Handshake or Tls12Handshake where it asks for what they do, otherwise OpenSSL, whose
// custom BIO reads from the lent bytes and appends to the output (README.md). The
// device's standing is decided inside the handshake by the Verifier. After a handshake with AES-GCM
// there is no SSL object and TlsRecords goes on. Runs on its shard's thread only.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cache/base/result.h"
#include "cache/standing/device_gate.h"
#include "proxy/io/byte_buffer.h"
#include "proxy/tls/engine_input.h"
#include "proxy/tls/own_handshake.h"
#include "proxy/tls/ticket.h"
#include "proxy/tls/tls_context.h"
#include "proxy/tls/tls_makers.h"
#include "proxy/tls/tls_records.h"
#include "proxy/tls/verifier.h"

namespace sallyport {

struct Ticketed;

class TlsEngine {
 public:
  // `verifier` is null on a one-way listener: no certificate is asked for. `verifier` and `output` outlive
  // the engine. An allocation failure inside OpenSSL makes the first handshake() fail.
  TlsEngine(const TlsContext& context, Verifier* verifier, ByteBuffer& output);
  ~TlsEngine();
  TlsEngine(const TlsEngine&) = delete;
  TlsEngine& operator=(const TlsEngine&) = delete;

  // Lends ciphertext for the calls that follow, until the next lend(). What the engine has not read is
  // unread(): the caller keeps those bytes and lends them again, first, next time.
  void lend(std::span<const std::uint8_t> ciphertext) { input_.lend(ciphertext); }
  std::size_t unread() const { return input_.lent().size(); }
  std::span<const std::uint8_t> rest() const { return input_.lent(); }  // those bytes
  void end_of_input() { input_.end(); }  // the peer's TCP FIN: after the lent bytes there is nothing more

  // How much of the lent ciphertext a step of the handshake takes: with OneRecord the client's certificate, its
  // signature and its Finished are a step each, and WantInput may leave whole records unread().
  enum class Pace : std::uint8_t { All, OneRecord };
  Step handshake(Pace pace = Pace::All);
  // Decrypts into `into`; `n` is what was written there. Done with n > 0, or another step. `into` has room for as much
  // as is unread(), or for TlsRecords::kMostOpened bytes.
  Step read(std::span<std::uint8_t> into, std::size_t& n);
  // A read() would only ask for more ciphertext.
  bool drained() const;
  // What is kept of unread() ciphertext begins with a record that was torn: how many bytes are missing of it, or of its
  // header; 0 where more ciphertext changes nothing, or the engine does not keep torn records.
  std::size_t missing(std::span<const std::uint8_t> kept) const;
  // False while the client has said half a message of TLS to OpenSSL: write() fails until a read() has taken the rest.
  bool takes_data() const;
  // Encrypts all of `plain` (the output buffer grows). Done, or Failed, where nothing more may be sent; with
  // has_spent_key() all of it was, and more may be until close().
  Step write(std::span<const std::uint8_t> plain);
  // A key of TLS 1.2 is spent (key_use.h): read() and write() fail from now on, and close() is due.
  bool has_spent_key() const;
  // Appends our close_notify to the output, once; harmless afterwards or after a failure.
  void close();

  bool established() const;
  bool resumed() const { return resumed_; }                // by a ticket: no certificate was seen
  TicketFate ticket_fate() const { return ticket_fate_; }  // after the handshake, also after Failed
  bool ticket_issued() const { return ticket_issued_; }
  std::string_view cipher_name() const { return cipher_name_; }  // as OpenSSL names it; after the handshake
  int version_index() const;                                     // 0: TLS 1.2, 1: TLS 1.3; kTlsVersionNames
  // Who makes the handshake, from its ClientHello on, also where it fails.
  TlsMaker handshake_maker() const { return handshake_by_; }
  // After the handshake: whose the records are from then on, and the group of the key exchange.
  TlsMaker records_maker() const { return records_.active() ? TlsMaker::Own : TlsMaker::Openssl; }
  KeyGroup key_group() const { return group_; }
  const std::optional<Verdict>& verdict() const;  // set once the Verifier was asked
  std::optional<Verdict>& verdict();
  const Error& error() const;  // after Failed: reason is the verdict's where it refused, no_certificate, or tls_error

 private:
  friend struct TlsCallbacks;
  Step choose();
  Step refuse(std::size_t output_before);
  bool begin_ours(std::span<const std::uint8_t> record);
  std::unique_ptr<OwnHandshake> answer(std::span<const std::uint8_t> message);
  std::unique_ptr<OwnHandshake> answer13(const PlainHello& hello, std::span<const std::uint8_t> message);
  bool honours(const Ticket& ticket);
  TicketFate fate_of(const Ticket& ticket);
  void asks_for(std::optional<std::string_view> server_name);
  Ticketed ticketed(bool resumed) const;
  bool begin_openssl();
  Step shake();
  Step shake_ours();
  Step finish_ours();
  bool outlived_its_key();
  Step not_proven(Step step);
  Step shake_openssl();
  void ticket_not_opened();
  Step step_after(int outcome);
  void keep_buffers(bool keep);
  Step seal(std::span<const std::uint8_t> plain);
  bool take_over(std::size_t output_before);
  void settle();

  // Whose handshake it is: neither's until the ClientHello has come, and neither's once records_ is active.
  std::unique_ptr<OwnHandshake> ours_;
  SSL* ssl_ = nullptr;
  TlsRecords records_;
  // Of the context, and alive as long as the reference to it is held: until the handshake has finished, or ssl_ has.
  SSL_CTX* context_;
  SessionSwap* swap_;
  const HandshakeServer* server_;
  const Resumption* resumption_;
  const bool alone_;  // OpenSSL's, handshake and records
  Verifier* verifier_;
  ByteBuffer& output_;
  EngineInput input_;
  std::uint64_t sealed_by_client_ = 0;  // the records that OpenSSL has read with the client's key of TLS 1.2
  const char* cipher_name_ = "";        // static
  TlsMaker handshake_by_ = TlsMaker::Openssl;
  KeyGroup group_ = KeyGroup::None;
  std::uint64_t endings_ = 0;   // of ticket keys, before the client's ticket was opened
  std::uint8_t due_alert_ = 0;  // the client has broken a rule, which error_ names
  bool close_sent_ = false;
  bool keeps_buffers_ = false;  // OpenSSL's, from one record to the next
  bool resumed_ = false;
  bool by_ticket_ = false;  // verdict_ is of a ticket that was honoured; until the handshake has finished
  bool ticket_issued_ = false;
  TicketFate ticket_fate_ = TicketFate::None;
  std::int64_t authenticated_at_ = 0;  // of the ticket that was honoured
  std::string server_name_;            // that the client asks for, in lower case; empty: none
  std::optional<Verdict> verdict_;
  Error error_{};
};

}  // namespace sallyport
