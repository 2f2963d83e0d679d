// TLS with no socket in it. One engine serves one connection: ciphertext is lent to it, plaintext comes
// out; plaintext goes in, ciphertext lands in the output buffer. A custom BIO reads from the lent bytes
// and appends to the output, so nothing is copied twice (DESIGN.md section 4, "BIO"). The device's
// standing is decided inside the handshake by the Verifier. After a TLS 1.3 handshake with AES-GCM the
// SSL object is gone and TlsRecords goes on. Runs on its shard's thread only.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <optional>
#include <span>

#include "cache/device_gate.h"
#include "cache/result.h"
#include "proxy/byte_buffer.h"
#include "proxy/tls_context.h"
#include "proxy/tls_records.h"

namespace sallyport {

// Asked once in a full handshake of a mutual listener, when the client's certificate has arrived, before
// the possession of its key is proven (CertificateVerify follows in the same flight).
class Verifier {
 public:
  virtual ~Verifier() = default;
  virtual Verdict verify(const PeerChain& peer) = 0;
  // Asked when a ticket came back: the device's standing now. Anything but admission declines the ticket.
  virtual Verdict resume(const Identity&, std::uint64_t /*chain_id*/) { return {.reason = Reason::NotRegistered}; }
};

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
  void lend(std::span<const std::uint8_t> ciphertext);
  std::size_t unread() const;
  std::span<const std::uint8_t> rest() const { return input_; }  // those bytes
  void end_of_input();  // the peer's TCP FIN: after the lent bytes there is nothing more

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
  // Encrypts all of `plain` (the output buffer grows). Done or Failed.
  Step write(std::span<const std::uint8_t> plain);
  // Appends our close_notify to the output, once; harmless afterwards or after a failure.
  void close();

  bool established() const;
  bool resumed() const { return resumed_; }       // by a ticket: no certificate was seen
  int version_index() const;                      // 0: TLS 1.2, 1: TLS 1.3; kTlsVersionNames
  const std::optional<Verdict>& verdict() const;  // set once the Verifier was asked
  std::optional<Verdict>& verdict();
  const Error& error() const;  // after Failed: reason is the verdict's where it refused, no_certificate, or tls_error

 private:
  friend struct TlsCallbacks;
  Step shake();
  Step step_after(int outcome);
  bool take_over(std::size_t output_before);
  SSL* ssl_ = nullptr;  // null when records_ is active
  TlsRecords records_;
  SessionSwap* swap_;  // alive while ssl_ is
  Verifier* verifier_;
  ByteBuffer& output_;
  std::span<const std::uint8_t> input_;
  bool input_ended_ = false;
  bool close_sent_ = false;
  bool resumed_ = false;
  bool by_ticket_ = false;  // verdict_ is of a ticket that was honoured; until the handshake has finished
  std::optional<Verdict> verdict_;
  Error error_{};
};

}  // namespace sallyport
