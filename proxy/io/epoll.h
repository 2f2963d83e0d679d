// Where io_uring is refused: the same operations over readiness, epoll(7), edge-triggered. An operation is tried when
// its turn has come, and waits for its descriptor where it would block. A receive is read when its completion runs,
// into one buffer that all of them share. Used by its shard's thread alone.
//
// Each descriptor is told to epoll once, when it is first used. "May read" and "may write" are kept of it: set by an
// event, and cleared where the kernel says EAGAIN or gave less than there was room for (epoll(7), question 9).
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cache/base/result.h"
#include "proxy/io/receive_memory.h"
#include "proxy/io/shard_io.h"

namespace sallyport {

class Epoll final : public ShardIo {
 public:
  static Answer<std::unique_ptr<Epoll>> create();
  ~Epoll() override;

  void recv(Socket socket, Reading reading, Completion& completion) override;
  void send(Socket socket, std::span<const std::uint8_t> bytes, Behind behind, Completion& completion) override;
  void connect(Socket socket, const sockaddr* address, socklen_t length, Completion& completion) override;
  void cancel(Completion& completion) override;
  Socket open(int family) override;
  void end_sending(Socket socket) override;
  std::size_t unsent(Socket socket) override;
  void close(Socket socket) override;
  void abort(Socket socket) override;

  void accept(Socket listener, bool direct, sockaddr_storage& peer, socklen_t& peer_length,
              Completion& completion) override;
  Socket accepted(const IoResult& result, bool) override { return Socket(result.value); }
  bool has_direct() const override { return false; }
  bool room_for_direct() const override { return false; }
  Socket make_direct(Socket socket) override { return socket; }
  void read_event(int event_fd, std::uint64_t& into, Completion& completion) override;
  void submit() override;
  void turn(std::chrono::microseconds patience,
            std::chrono::microseconds awake = std::chrono::microseconds(0)) override;
  void rest(std::chrono::microseconds time) override;
  std::chrono::microseconds waited() const override { return waited_; }

 private:
  struct Acceptor {
    Completion* completion;
    sockaddr_storage* peer;
    socklen_t* length;
  };
  // What waits for a descriptor: at most one operation each way, but that several accepts wait for a listener.
  struct Watch {
    Completion* reader = nullptr;
    Completion* writer = nullptr;
    std::uint64_t* event = nullptr;       // the reader is read_event()'s
    const std::uint8_t* bytes = nullptr;  // the writer sends these, or …
    std::size_t length = 0;
    const sockaddr* address = nullptr;  // … it connects to this one, or waits until it has (`connecting`)
    socklen_t address_length = 0;
    Reading reading = Reading::Once;
    Behind behind = Behind::Others;
    bool known = false;  // to epoll
    bool listens = false;
    bool may_read = false, may_write = false;
    bool hung_up = false;  // the peer's end is among what there is to read, or an error
    bool connecting = false;
    bool read_due = false, write_due = false;  // it is in the list
  };
  struct Ended {
    Completion* completion;
    int value;
  };

  explicit Epoll(int fd);
  Watch& watch(int fd);
  Watch* begin(int fd, Completion& completion);
  // Tries what can be tried now, and remembers what came of it.
  void write_all_due();
  void write(int fd);
  void write_ended(Watch& watch, int value);
  void due_to_read(int fd);
  void due_to_write(int fd);
  void look(std::chrono::microseconds most);
  void run_ended();
  void run_readers();
  void read(int fd);
  void accept_all(int fd);
  static std::size_t room_of(Reading reading);

  const int epoll_;
  std::vector<Watch> watches_;  // by descriptor
  std::unordered_map<int, std::deque<Acceptor>> acceptors_;
  std::vector<int> reads_due_, writes_due_, now_due_;
  std::vector<int> connects_again_;  // to unix sockets whose queue was full
  std::vector<Ended> ended_, running_;
  std::vector<epoll_event> events_;
  ReceiveMemory room_;  // what is received, until its completion has run
  std::chrono::microseconds waited_{0}, rested_{0};
};

}  // namespace sallyport
