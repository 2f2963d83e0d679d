// The kernel, made up: sockets are byte queues, operations complete in a later turn, in an order and with
// faults that one seed decides. It watches the rules of Io: one operation a completion, no operation on a
// closed socket, and a lent buffer that stays as it is until its send completes. It is as strict as a kernel may be: a
// reset destroys what the peer has not read, and closing with unread data is a reset, as is data that comes later.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "proxy/io/io.h"

namespace sallyport::test {

class FakeIo final : public Io {
 public:
  struct Faults {
    double short_sends = 0.3;      // a send takes only some of its bytes
    double no_buffers = 0.02;      // -ENOBUFS on a receive
    double late = 0.3;             // an operation stays for another turn
    double beats_cancel = 0.3;     // a cancelled operation completes in spite of it
    std::size_t window = 1 << 20;  // what the peer takes before it reads
  };

  explicit FakeIo(std::mt19937_64& random) : random_(random) {}

  // Io
  void recv(Socket socket, Reading reading, Completion& completion) override;
  void send(Socket socket, std::span<const std::uint8_t> bytes, Behind behind, Completion& completion) override;
  void connect(Socket socket, const sockaddr* address, socklen_t length, Completion& completion) override;
  void cancel(Completion& completion) override;
  Socket open(int family) override;
  void end_sending(Socket socket) override;
  std::size_t unsent(Socket socket) override { return wires_[socket.handle()].outgoing.size(); }
  void close(Socket socket) override;
  void abort(Socket socket) override;

  // The peer's side of a socket.
  void peer_writes(Socket socket, const std::string& bytes);
  std::string peer_reads(Socket socket, std::size_t most);
  void peer_ends(Socket socket) { wires_[socket.handle()].peer_fin = true; }
  void peer_resets(Socket socket);
  void peer_closes(Socket socket) { wires_[socket.handle()].peer_fin = wires_[socket.handle()].peer_closed = true; }
  bool peer_sees_end(Socket socket) { return wires_[socket.handle()].fin || !wires_[socket.handle()].open; }
  bool peer_sees_reset(Socket socket) { return wires_[socket.handle()].aborted; }
  std::size_t unread_by_session(Socket socket) { return wires_[socket.handle()].incoming.size(); }
  std::size_t received_by_session(Socket socket) { return wires_[socket.handle()].received; }

  Faults faults;
  int refuse_connects = 0;     // so many of the next ones fail
  int refuse_with = 111;       // ECONNREFUSED, or another errno
  bool hold_connects = false;  // while it is so, none completes
  bool turn();                 // completes what it likes; false when nothing was in flight
  int open_sockets() const;
  std::size_t in_flight() const { return operations_.size(); }
  std::size_t sending_bytes(Socket socket) const;
  std::size_t faults_made = 0;
  std::size_t most_read = 0;  // by one receive
  std::vector<std::string> broken_rules;

 private:
  enum class Kind { Recv, Send, Connect };
  struct Wire {
    bool open = false;
    std::string incoming;  // from the peer, not yet received
    std::string outgoing;  // to the peer, not yet read by it
    bool peer_fin = false, peer_closed = false, peer_reset = false, fin = false, aborted = false;
    std::size_t received = 0;   // by the session, in all
    bool end_promised = false;  // all of a send with Behind::TheEnd was taken
  };
  struct Operation {
    Kind kind;
    Socket socket;
    Reading reading = Reading::Once;
    std::span<const std::uint8_t> bytes;
    std::string copy;  // of the bytes as they were lent
    Behind behind = Behind::Others;
    bool cancelled = false;
  };

  bool chance(double p) { return std::uniform_real_distribution<double>(0, 1)(random_) < p; }
  std::size_t up_to(std::size_t most) { return std::uniform_int_distribution<std::size_t>(1, most)(random_); }
  void submit(Completion& completion, Operation operation);
  bool run(Completion& completion);  // true if it completed or gave a result
  bool run_recv(Completion& completion, Operation& operation);
  bool run_send(Completion& completion, Operation& operation);
  void finish(Completion& completion, int value);
  void hold_to_promises();
  static void reset(Wire& wire);
  void broke(const std::string& rule) { broken_rules.push_back(rule); }

  std::mt19937_64& random_;
  std::map<int, Wire> wires_;
  std::map<Completion*, Operation> operations_;
  int next_ = 3;
};

}  // namespace sallyport::test
