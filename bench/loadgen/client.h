// One device: TCP, TLS with its certificate, MQTT. It connects, tells its owner what arrives, and leaves. Runs on
// its loop's thread alone.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bench/loadgen/address.h"
#include "bench/loadgen/loop.h"
#include "bench/loadgen/mqtt.h"
#include "bench/loadgen/pki.h"

namespace load {

using ContextPtr = std::unique_ptr<SSL_CTX, Free<&SSL_CTX_free>>;
using SessionPtr = std::unique_ptr<SSL_SESSION, Free<&SSL_SESSION_free>>;

// Who it is; kept over its connections. `session` is the newest ticket it was given.
struct Device {
  std::string name;
  Credential credential;
  SessionPtr session;
};

// What every connection of a load is made with.
struct Dialling {
  Address to;
  bool plain = false;
  bool v5 = false;
  SSL_CTX* context = nullptr;
  const X509* intermediate = nullptr;
};

struct TlsChoice {
  std::string version = "1.3";
  std::string cipher;  // empty: OpenSSL's choice
  std::string group = "X25519:P-256";
  std::string trust;  // the server's CA; empty: it is not verified
};
ContextPtr client_context(const TlsChoice& choice);

class Client final : public Ready {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_connected(Client& client) = 0;  // CONNACK arrived, and it admits
    virtual void on_packet(Client& client, Frames& frames) = 0;
    // Exactly once for each connect(). `why` is empty after leave(). The client may be connected again, later.
    virtual void on_closed(Client& client, std::string_view why) = 0;
  };

  Client(Loop& loop, const Dialling& dialling, Owner& owner) : loop_(loop), dialling_(dialling), owner_(owner) {}
  ~Client() override { drop(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // `due_ns`: when it should have begun; latencies count from there. `resume`: offer the device's ticket.
  void connect(Device& device, bool resume, std::int64_t due_ns, std::size_t number);
  // Sent at once, in one TLS record as far as one holds it; what the kernel does not take waits.
  void send(std::string_view bytes);
  bool backlogged() const { return !out_.empty(); }
  // DISCONNECT, close_notify, FIN; over when the other side has closed.
  void leave();
  void drop();  // without a word, and without on_closed()
  void on_ready(std::uint32_t events) override;

  bool open() const { return fd_ >= 0; }
  bool connected() const { return state_ == State::Connected; }
  bool was_connected() const { return was_connected_; }  // the last connection, up to its CONNACK
  bool resumed() const { return resumed_; }
  std::int64_t due_ns() const { return due_ns_; }
  Device& device() { return *device_; }
  std::size_t tag = 0;  // the owner's

 private:
  enum class State : std::uint8_t { Closed, Dialling, Handshaking, AwaitingConnack, Connected, Leaving };
  void close(std::string_view why);
  void handshake();
  void begin_mqtt();
  void read();
  bool write();
  void listen_for(std::uint32_t events);

  Loop& loop_;
  const Dialling& dialling_;
  Owner& owner_;
  int fd_ = -1;
  SSL* ssl_ = nullptr;
  Device* device_ = nullptr;
  State state_ = State::Closed;
  std::uint32_t events_ = 0;
  std::int64_t due_ns_ = 0;
  bool resumed_ = false, was_connected_ = false;
  Frames frames_;
  std::string out_;
};

}  // namespace load
