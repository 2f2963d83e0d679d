// The kernel as sessions see it: operations that complete later, on the shard's own thread. Ring (io_uring) and Epoll
// are real, the simulation has a fake. An operation's Completion is a member of the object
// that waits for it: nothing is allocated per operation, and the object must outlive it.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <span>
#include <string_view>

namespace sallyport {

// What the kernel knows a connection by. Only an Io opens, uses and closes one.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int handle, bool direct = false) : handle_(handle), direct_(direct) {}
  bool valid() const { return handle_ >= 0; }
  int handle() const { return handle_; }   // a descriptor, or where it is (an invalid one may say why: -errno)
  bool direct() const { return direct_; }  // … direct, a place in its ring's own table

 private:
  int handle_ = -1;
  bool direct_ = false;
};

// How a receive goes about it.
enum class Reading : std::uint8_t {
  Once,       // one result, of at most a small buffer
  Multishot,  // a result, of at most a small buffer each, whenever something arrives
  Large,      // one result, of at most 32 KiB: for streams that fill the small buffers
  Whole,      // one result, of at most 128 KiB: for streams all of which is taken at once where it goes to
};

struct IoResult {
  int value = 0;                       // bytes or a descriptor; negative: -errno
  bool more = false;                   // a multishot operation goes on
  bool filled = false;                 // of a recv: it took all the room there was
  std::span<const std::uint8_t> data;  // of a recv; borrowed until the callback returns
};

// 24 bytes. `submitted` is true while the kernel may still write to the object.
class Completion {
 public:
  template <auto kMethod, class T>
  void arm(T& object) {
    object_ = &object;
    run_ = [](void* o, const IoResult& result) { (static_cast<T*>(o)->*kMethod)(result); };
  }
  bool submitted() const { return submitted_; }
  bool large() const { return large_; }  // the Io's: which kind of buffer it takes
  void take_large(bool large) { large_ = large; }
  bool drained() const { return drained_; }  // the Io's: the last receive left nothing in the socket
  void leave(bool nothing) { drained_ = nothing; }
  int place() const { return place_; }  // the Io's: the descriptor that it waits for
  void wait_at(int place) { place_ = place; }
  void submit() { submitted_ = true; }
  // The Io's: the operation has ended unless `result.more`.
  void complete(const IoResult& result) {
    if (!result.more) submitted_ = cancelled_ = false;
    run_(object_, result);
  }
  // A cancel was asked for; its own result still arrives.
  bool cancelled() const { return cancelled_; }
  void mark_cancelled() { cancelled_ = true; }

 private:
  void* object_ = nullptr;
  void (*run_)(void*, const IoResult&) = nullptr;
  bool submitted_ = false;
  bool cancelled_ = false;
  bool large_ = false;
  bool drained_ = false;
  int place_ = -1;
};
static_assert(sizeof(Completion) == 24);

// The errors that say what this machine lacks (descriptors, memory, local ports), and nothing of the peer.
struct Shortage {
  int error;
  std::string_view name;
};
inline constexpr std::array<Shortage, 5> kShortages = {{{EMFILE, "EMFILE"},
                                                        {ENFILE, "ENFILE"},
                                                        {ENOMEM, "ENOMEM"},
                                                        {ENOBUFS, "ENOBUFS"},
                                                        {EADDRNOTAVAIL, "EADDRNOTAVAIL"}}};
constexpr bool is_our_shortage(int error) {
  for (const Shortage& each : kShortages) {
    if (each.error == error) return true;
  }
  return false;
}

// What comes behind the bytes of a send: others, some time; or end_sending(), or close(), as soon as they were taken.
// Then they may wait for the FIN, and one segment has both (MSG_MORE, send(2)); the kernel lets them wait for 200 ms at
// most.
enum class Behind : std::uint8_t { Others, TheEnd };

constexpr int send_flags(Behind behind) {
  return MSG_NOSIGNAL | (behind == Behind::TheEnd ? MSG_MORE : 0);
}

class Io {
 public:
  virtual ~Io() = default;

  // Multishot goes on until it fails, is cancelled, or the kernel ends it (result.more is false): then the
  // caller starts it again. -ENOBUFS: every buffer was in use; start it again later.
  virtual void recv(Socket socket, Reading reading, Completion& completion) = 0;
  // One in flight per socket. `bytes` must stay where they are until it completes; it may be short.
  virtual void send(Socket socket, std::span<const std::uint8_t> bytes, Behind behind, Completion& completion) = 0;
  virtual void connect(Socket socket, const sockaddr* address, socklen_t length, Completion& completion) = 0;
  // Asks for an early end; the operation still completes (-ECANCELED, or with what it had).
  virtual void cancel(Completion& completion) = 0;

  // These answer at once and never block.
  virtual std::size_t unsent(Socket socket) = 0;  // bytes that the peer's kernel has not; more than any where unknown
  virtual Socket open(int family) = 0;            // a stream socket; invalid, its handle -errno, where that is refused
  virtual void end_sending(Socket socket) = 0;    // FIN
  virtual void close(Socket socket) = 0;          // no operation of it is in flight
  virtual void abort(Socket socket) = 0;          // close, with a reset to the peer
};

}  // namespace sallyport
