// With ring_sockets the only user of liburing: one io_uring per shard with two rings of provided buffers. Completions
// are taken in a batch and then run; what they submit goes to the kernel with the next wait, in one system call a turn.
// Used by its shard's thread alone.
#pragma once

#include <liburing.h>

#include <chrono>
#include <memory>
#include <vector>

#include "cache/base/result.h"
#include "proxy/io/receive_memory.h"
#include "proxy/io/ring_sockets.h"
#include "proxy/io/shard_io.h"

namespace sallyport {

class Ring final : public ShardIo {
 public:
  // Refusals name what the kernel denied and the remedy: a container's seccomp profile, a sysctl, a limit.
  // `direct_connections`: for how many connections there is to be room beside the process's open-file limit.
  static Answer<std::unique_ptr<Ring>> create(unsigned direct_connections = 0);
  ~Ring() override;

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
  Socket accepted(const IoResult& result, bool direct) override;
  bool has_direct() const override { return sockets_.usable(); }
  bool room_for_direct() const override { return sockets_.room(); }
  Socket make_direct(Socket socket) override;
  void read_event(int event_fd, std::uint64_t& into, Completion& completion) override;
  void submit() override;
  void turn(std::chrono::microseconds patience,
            std::chrono::microseconds awake = std::chrono::microseconds(0)) override;
  void rest(std::chrono::microseconds time) override;
  std::chrono::microseconds waited() const override { return waited_; }

 private:
  static constexpr unsigned kEntries = 4096;

  // Buffers that the kernel takes from when something has arrived: io_uring_register_buf_ring(3).
  struct Buffers {
    int group = 0;
    unsigned count = 0, bytes = 0;  // count: a power of two
    unsigned apart = 0;             // bytes between two
    bool touched = false;           // its pages are faulted in at once, not on the data path
    io_uring_buf_ring* ring = nullptr;
    ReceiveMemory memory;
    // The kernel goes round all it has, whether it needs one or all of them: what it does not need is kept from it, for
    // every buffer that was used once stays in memory.
    unsigned handed_out = 0;
    std::vector<unsigned short> spare;

    Answer<void> set_up(io_uring& of, unsigned wanted);
    ~Buffers();
    std::uint8_t* at(unsigned short buffer) { return memory.data() + std::size_t{buffer} * (bytes + apart); }
    void hand_out(unsigned wanted);
    void give_back(unsigned short buffer, unsigned wanted);
  };

  struct Ended {
    Completion* completion;
    int value;
    unsigned flags;
  };

  Ring() = default;
  Answer<void> set_up(unsigned direct_connections);
  io_uring_sqe* entry();

  void stay_awake(std::chrono::steady_clock::time_point until);
  void finish(const Ended& ended);

  io_uring ring_{};
  bool initialised_ = false;
  // Small, because a multishot receive hands out up to 32 of them at once, and as many again before its
  // cancellation arrives: what a session that stalls may be left holding.
  Buffers small_{.group = 0, .count = 4096, .bytes = 2048, .touched = true};
  // Eight TLS records: fewer system calls and wake-ups a MB than with two. One a receive, given back before the next is
  // asked for. Where many stream, each receive takes a piece only, for others wait for the end of a turn; `apart` so
  // that the pieces do not share the same few sets of the processor's cache.
  static constexpr unsigned kFewStreams = 8, kPiece = 32 * 1024;
  Buffers large_{.group = 1, .count = 64, .bytes = 128 * 1024, .apart = kPiece};
  // Receives in flight into large buffers: now, and at most in the last turns, for a stream sends as often as it
  // receives.
  static constexpr unsigned kTurnsToForget = 256;
  unsigned streams_ = 0, most_streams_ = 0, turns_ = 0;
  RingSockets sockets_;
  std::vector<Ended> ended_;
  std::chrono::microseconds waited_{0}, rested_{0};
};

}  // namespace sallyport
