// A script for an authenticated peer of TlsRecords: what it seals, what it sends that is not sealed, where its stream
// is cut between reads, and what the server writes meanwhile. Whatever the script, what arrives is a beginning of what
// was sent, both ways; an end is final; and a peer that keeps to RFC 8446, or 5246, is never refused.
//
// The first byte: bit 0, the longer key; bit 1, a server's key near the last record of one key; bit 2, TLS 1.2. Then
// steps of Action and operands.
#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>

#include "proxy/tls/tls_records.h"
#include "tests/proxy/tls/record_peer.h"

namespace sallyport::test {
namespace {

void require(bool invariant) {
  if (!invariant) __builtin_trap();
}

class Script {
 public:
  explicit Script(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  bool ended() const { return bytes_.empty(); }
  std::uint8_t byte() {
    const auto one = take(1);
    return one.empty() ? 0 : one[0];
  }
  std::size_t number(std::size_t below) {
    const std::size_t high = byte();
    return (high << 8 | byte()) % below;
  }
  std::span<const std::uint8_t> take(std::size_t n) {
    const auto taken = bytes_.first(std::min(n, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

enum class Action : std::uint8_t {
  SealData,      // length (2); padding (2), in TLS 1.2 the explicit nonce
  SealAny,       // type, length, padding or nonce, content
  SealAlert,     // description
  SealMessage,   // a KeyUpdate: request; in TLS 1.2 a ClientHello: its length
  SealTorn,      // the same in two records, and where it is torn
  SendUnsealed,  // length, bytes
  Deliver,       // how many bytes of what was sent (2)
  Write,         // length (2)
  TakeOutput,
  Close,
  kCount,
};

// Bytes that go one way: what was put in comes out, in order and without a gap.
class Stream {
 public:
  Bytes put(std::size_t n) {
    Bytes more(n);
    for (std::uint8_t& byte : more) byte = value_at(put_++);
    return more;
  }
  void expect(std::span<const std::uint8_t> bytes) {
    require(bytes.size() <= put_ - come_);
    for (const std::uint8_t byte : bytes) require(byte == value_at(come_++));
  }
  bool all_came() const { return come_ == put_; }

 private:
  // No two places less than 251 * 256 bytes apart look the same for long.
  static std::uint8_t value_at(std::size_t place) { return static_cast<std::uint8_t>(place % 251 + place / 251); }
  std::size_t put_ = 0, come_ = 0;
};

// Both ends of one connection, and what each may expect of the other. Peer: RecordPeer, or RecordPeer12.
template <typename Peer>
class Connection {
 public:
  Connection(std::size_t key_bytes, bool worn_key)
      : peer_(begin(key_bytes, worn_key, records_)), plain_(TlsRecords::kMostOpened) {
    answers_allowed_ = worn_key && !kOfTls12 ? 1 : 0;
  }

  void act(Action action, Script& script) {
    switch (action) {
      case Action::SealData: return seal_data(script.number(kMostContent + 2), script.number(kMostContent + 2));
      case Action::SealAny: return seal_any(script);
      case Action::SealAlert: return seal_alert(script.byte());
      case Action::SealMessage: return seal_message(script.byte() % 4, 0);
      case Action::SealTorn: {
        const std::uint8_t operand = script.byte() % 2;
        return seal_message(operand, 1 + script.byte() % 4U);
      }
      case Action::SendUnsealed: legal_ = false; return send(script.take(script.byte()));
      case Action::Deliver: return deliver(script.number(0x10000));
      case Action::Write: return write(script.number(40'000));
      case Action::TakeOutput: return take_output();
      case Action::Close: closed_ = true; return records_.close(output_);
      case Action::kCount: return;
    }
  }
  void finish() {
    deliver(wire_.size());
    take_output();
    require(to_client_.all_came());
    if (!legal_) return;
    require(last_ == (ended_ ? Step::Closed : Step::WantInput));
    require(ended_ || (left_.empty() && to_broker_.all_came()));
  }

 private:
  static constexpr std::size_t kMostContent = 16 * 1024;
  static constexpr std::uint8_t kNoRenegotiation = 100;
  static constexpr std::uint64_t kWorn = (std::uint64_t{1} << 24) - 3;
  static constexpr bool kOfTls12 = std::is_same_v<Peer, RecordPeer12>;
  static constexpr int kUpdatesInARow = 32, kWarningsInARow = 4;

  static Peer begin(std::size_t key_bytes, bool worn_key, TlsRecords& records) {
    if constexpr (kOfTls12) {
      const std::uint64_t written = worn_key ? kWorn : RecordPeer12::kBehindFinished;
      RecordKey client, server;
      RecordPeer12(key_bytes, written, written).share(client, server);
      require(records.begin(client, server));
      return Peer(key_bytes, written, written);
    } else {
      const Bytes client = secret(key_bytes, 1), server = secret(key_bytes, 2);
      const std::uint64_t written = worn_key ? kWorn : 0;
      RecordPeer::share(client, server, records.secrets());
      require(records.begin(key_bytes, written));
      return Peer(key_bytes, client, server, written);
    }
  }
  static Bytes secret(std::size_t key_bytes, std::uint8_t of) { return Bytes(key_bytes == 16 ? 32 : 48, of); }

  void send(std::span<const std::uint8_t> bytes) { wire_.insert(wire_.end(), bytes.begin(), bytes.end()); }

  // `more` says how much padding there is, or which explicit nonce.
  void seal(std::uint8_t type, std::span<const std::uint8_t> content, std::size_t more = 0) {
    if constexpr (kOfTls12) {
      peer_.choose_nonce(more);
      send(peer_.seal(type, content));
    } else {
      send(peer_.seal(type, content, more));
    }
  }
  void seal_data(std::size_t length, std::size_t more) {
    const bool good = length > 0 && length + (kOfTls12 ? 0 : more) <= kMostContent;
    legal_ = legal_ && good;
    quiet_ = 0;
    seal(kApplicationData, to_broker_.put(length), more);
  }
  void seal_any(Script& script) {
    const std::uint8_t type = script.byte(), length = script.byte(), more = script.byte();
    if (type == kApplicationData) return seal_data(length, more);
    legal_ = false;
    // A record ends one message at most, and this one may.
    if (type == kHandshake) ++answers_allowed_;
    // Zeros are padding: in front of them content would have to be told from the type.
    if constexpr (!kOfTls12) {
      if (type == 0) return send(peer_.seal_inner(Bytes(length + std::size_t{1}, 0)));
    }
    seal(type, script.take(length), more);
  }
  void seal_alert(std::uint8_t description) {
    const bool ignored = kOfTls12 && description != kNoRenegotiation && ++quiet_ <= kWarningsInARow;
    legal_ = legal_ && (description == 0 || ignored);
    ended_ = ended_ || description == 0;
    seal(kAlert, Bytes{1, description});
  }
  void seal_message(std::uint8_t operand, std::size_t torn_at) {
    ++quiet_;
    if constexpr (kOfTls12) {
      legal_ = legal_ && torn_at == 0 && quiet_ <= kWarningsInARow;
      ++answers_allowed_;
    } else {
      legal_ = legal_ && operand <= 1 && quiet_ <= kUpdatesInARow;
      if (operand == 1) ++answers_allowed_;
    }
    const Bytes message = kOfTls12 ? client_hello(operand) : key_update_message(operand);
    const std::span<const std::uint8_t> all(message);
    torn_at = std::min(torn_at, all.size());
    if (torn_at > 0) seal(kHandshake, all.first(torn_at));
    seal(kHandshake, all.subspan(torn_at));
    if constexpr (!kOfTls12) peer_.rekey_client();
  }
  static Bytes client_hello(std::uint8_t length) {
    Bytes message = {1, 0, 0, length};
    message.resize(message.size() + length, 0x5A);
    return message;
  }

  void write(std::size_t length) {
    const bool open = !closed_ && last_ != Step::Failed;
    require(records_.write(open ? to_client_.put(length) : Bytes(length), output_) == open);
    for (std::size_t left = open ? length : 0; left > 0; left -= std::min(left, kMostContent)) {
      written_.add(std::min(left, kMostContent) + RecordCipher::kOverhead12);
    }
    // A key of TLS 1.2 has an end; TLS 1.3 has another key.
    require(kOfTls12 ? records_.has_spent_key() || !written_.spent() : !records_.has_spent_key());
  }

  // As the session does it: what is left of one read comes first in the next.
  void deliver(std::size_t n) {
    const auto end = wire_.begin() + static_cast<std::ptrdiff_t>(std::min(n, wire_.size()));
    left_.insert(left_.end(), wire_.begin(), end);
    wire_.erase(wire_.begin(), end);
    std::span<const std::uint8_t> input(left_);
    while (read(input) == Step::Done) {
    }
    left_.erase(left_.begin(), left_.end() - static_cast<std::ptrdiff_t>(input.size()));
  }
  Step read(std::span<const std::uint8_t>& input) {
    const std::span<const std::uint8_t> before = input;
    const std::size_t output_before = output_.size();
    std::size_t n = SIZE_MAX;
    const Step step = records_.read(input, plain_, n, output_);
    require(input.size() <= before.size() && input.data() == before.data() + (before.size() - input.size()));
    require(n <= plain_.size() && (n > 0) == (step == Step::Done));
    require(step != Step::Truncated);
    require((records_.failure() != 0) == (step == Step::Failed));
    if (last_ == Step::Failed || last_ == Step::Closed) {
      require(step == last_ && input.size() == before.size() && output_.size() == output_before);
    }
    if (step == Step::Done) to_broker_.expect(std::span<const std::uint8_t>(plain_).first(n));
    if (step == Step::WantInput) {
      const std::size_t missing = records_.missing(input);
      require(missing > 0 && input.size() + missing <= RecordCipher::kHeaderBytes + kMostContent + 256);
    }
    // A KeyUpdate waits where something is being sent; an alert does not.
    if (!kOfTls12 && output_before > 0 && step != Step::Failed) require(output_.size() == output_before);
    return last_ = step;
  }

  void take_output() {
    for (std::span<const std::uint8_t> bytes = output_.bytes(); !bytes.empty();) {
      const auto record = peer_.open(bytes);
      require(record && !alerted_);
      const Bytes& content = record->content;
      if (record->type == kApplicationData) {
        require(!content.empty());
        to_client_.expect(content);
      } else if (record->type == kHandshake) {
        require(!kOfTls12 && content == key_update_message(0) && --answers_allowed_ >= 0);
      } else if (kOfTls12 && record->type == kAlert && content == Bytes{1, kNoRenegotiation}) {
        require(--answers_allowed_ >= 0);
      } else {
        require(record->type == kAlert && content.size() == 2);
        require(content == Bytes{1, 0} ? closed_ : content[0] == 2 && last_ == Step::Failed);
        alerted_ = true;
      }
    }
    output_.release();
  }

  TlsRecords records_;
  KeyUse written_;
  Peer peer_;
  ByteBuffer output_;
  Bytes plain_;
  Bytes wire_, left_;  // sent and not delivered; delivered and not used
  Stream to_broker_, to_client_;
  Step last_ = Step::WantInput;
  bool closed_ = false, alerted_ = false;  // the server
  bool ended_ = false;                     // the peer
  bool legal_ = true;                      // the peer has kept to its RFC and to our bounds
  int quiet_ = 0;            // KeyUpdates, or warnings and ClientHellos, of the peer's since its last data
  int answers_allowed_ = 0;  // the most KeyUpdates, or declined handshakes, that the server has cause for
};

template <typename Peer>
void play(Script script, std::size_t key_bytes, bool worn_key) {
  Connection<Peer> connection(key_bytes, worn_key);
  for (int steps = 0; steps < 200 && !script.ended(); ++steps) {
    const auto action = static_cast<Action>(script.byte() % static_cast<std::uint8_t>(Action::kCount));
    connection.act(action, script);
  }
  connection.finish();
}

}  // namespace
}  // namespace sallyport::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sallyport::test;
  if (!sallyport::RecordCipher::available()) return 0;
  sallyport::KeyUse::limit(10'000);
  Script script({data, size});
  const std::uint8_t how = script.byte();
  const auto play_it = (how & 4) != 0 ? &play<RecordPeer12> : &play<RecordPeer>;
  play_it(script, (how & 1) != 0 ? 32 : 16, (how & 2) != 0);
  return 0;
}
