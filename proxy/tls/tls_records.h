// The records of an established connection with AES-GCM, of TLS 1.3 (RFC 8446, section 5) or TLS 1.2 (RFC 5246,
// sections 6 and 7.2): what an SSL object does after the handshake, in 250 bytes instead of 12 KB, without a copy of
// the stream and at a third of the cost a byte. The handshake is ours or OpenSSL's; begin() takes its traffic secrets
// over, or its keys. What may come after a handshake is here: application data, alerts, KeyUpdate in TLS 1.3, and in
// TLS 1.2 the wish for another handshake, which is declined; anything else ends the connection as the RFC says.
// ChaCha20 and connections that negotiated a fragment length stay with OpenSSL. Runs on its shard's thread only.
#pragma once

#include <cstdint>
#include <span>

#include "cache/crypto/light_tls_kdf.h"
#include "proxy/io/byte_buffer.h"
#include "proxy/tls/key_use.h"
#include "proxy/tls/record_cipher.h"
#include "proxy/tls/record_layer.h"

namespace sallyport {

enum class Step : std::uint8_t {
  Done,       // handshake(): finished. read()/write(): progress was made
  WantInput,  // nothing more without more ciphertext
  Closed,     // the peer's close_notify: an orderly end
  Truncated,  // the peer's TCP end came without a close_notify
  Failed,     // a fatal error; error() says which; an alert may be in the output
};

class TlsRecords {
 public:
  // The most a record's plaintext takes before its padding and type are taken off: section 5.2, 2^14 + 256 bytes of
  // ciphertext without the tag. Room for as much is room for any record.
  static constexpr std::size_t kMostOpened = kMostSealed - RecordCipher::kTagBytes;

  // Where a handshake leaves its secrets; begin() uses them.
  TrafficSecrets& secrets() { return secrets_; }
  // Takes over where `secrets()` has both: `key_bytes` of the negotiated AES-GCM, `written` records that were sealed
  // with the server's secret already (tickets). False: nothing has changed.
  bool begin(std::size_t key_bytes, std::uint64_t written);
  // The same with the keys of a TLS 1.2 connection, whose sequences go on.
  bool begin(RecordKey& client, RecordKey& server);
  bool active() const { return active_; }
  TlsVersion version() const { return reading_.version; }

  // Opens the next records of `input`, which it shortens by what it has used, until there is application data:
  // Done with `n` > 0 bytes of it in `into`, which has room for the first record of `input`, or another step.
  // What the protocol has to answer is in `output`.
  Step read(std::span<const std::uint8_t>& input, std::span<std::uint8_t> into, std::size_t& n, ByteBuffer& output);
  // Of the record that `bytes` begin with, or of its header, how many are missing; 0: none, or it will be refused.
  static std::size_t missing(TlsVersion version, std::span<const std::uint8_t> bytes);
  std::size_t missing(std::span<const std::uint8_t> bytes) const { return missing(version(), bytes); }
  // Seals all of `plain`. False: after close() or a failure.
  bool write(std::span<const std::uint8_t> plain, ByteBuffer& output);
  // One handshake message, of at most a record, before anything was written: a NewSessionTicket.
  void send_message(std::span<const std::uint8_t> message, ByteBuffer& output);
  void close(ByteBuffer& output);  // close_notify

  // Of AES-GCM's two keys in TLS 1.2, which have no successor: once one is spent nothing more should be read, and
  // nothing written but what is due. Where OpenSSL's are the records, these count, too (tls_key_use.h).
  KeyUses& key_uses() { return key_uses_; }
  const KeyUses& key_uses() const { return key_uses_; }
  bool has_spent_key() const { return version() == TlsVersion::V12 && key_uses_.spent(); }

  // After Failed: OpenSSL's code of the reason, SSL_R_*.
  int failure() const { return failure_; }

 private:
  void next_generation(bool of_client);
  void answer_key_update(ByteBuffer& output);
  Step fail(TlsFailure failure, ByteBuffer& output);
  Step alert(std::span<const std::uint8_t> content, ByteBuffer& output);
  Step handshake(std::span<const std::uint8_t> content, ByteBuffer& output);
  Step ended_by_peer(int description);
  Step alert12(std::uint8_t level, int description, ByteBuffer& output);
  Step handshake12(std::span<const std::uint8_t> content, ByteBuffer& output);
  void send_alert(std::uint8_t level, std::uint8_t description, ByteBuffer& output);

  TrafficSecrets secrets_;
  RecordKey reading_, writing_;
  KeyUses key_uses_;
  bool active_ = false;
  bool read_closed_ = false, write_closed_ = false;
  bool answer_due_ = false;  // the client asked for a KeyUpdate of ours
  // Since the last application data, all bounded: what says nothing must not cost without end.
  std::uint8_t empty_ = 0, key_updates_ = 0, warnings_ = 0;
  // Of a handshake message that goes on in the next record; a KeyUpdate has five bytes.
  static constexpr std::size_t kKeyUpdateBytes = 5;
  std::array<std::uint8_t, kKeyUpdateBytes> message_{};
  std::uint8_t message_bytes_ = 0;
  int failure_ = 0;
};

}  // namespace sallyport
