#include "proxy/io/ring.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "cache/base/check.h"
#include "proxy/io/look_again.h"

namespace sallyport {

namespace {

Refusal explain(int error, const char* call) {
  std::string what = std::string("io_uring is refused (") + call + ": " + std::strerror(error) + "): ";
  if (error == EPERM || error == ENOSYS || error == EACCES) {
    what +=
        "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile (Docker and "
        "containerd block them by default), and check that the sysctl kernel.io_uring_disabled is 0";
  } else if (error == ENOMEM) {
    what += "raise the memory limit of the container, or RLIMIT_MEMLOCK (LimitMEMLOCK= in systemd)";
  } else if (error == EMFILE || error == ENFILE) {
    what += "raise the open-file limit (LimitNOFILE= in systemd)";
  } else {
    what += "Linux 6.1 or newer is needed";
  }
  return {Refusal::Kind::Unavailable, std::move(what)};
}

// After the operation was prepared, which clears the flags.
void address(io_uring_sqe* sqe, Socket socket) {
  if (socket.direct()) sqe->flags |= IOSQE_FIXED_FILE;
}

}  // namespace

Answer<void> Ring::Buffers::set_up(io_uring& of, unsigned wanted) {
  // liburing 2.3 has no io_uring_setup_buf_ring: by hand.
  void* mapped =
      ::mmap(nullptr, count * sizeof(io_uring_buf), PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  if (mapped == MAP_FAILED) return explain(errno, "mmap");
  ring = static_cast<io_uring_buf_ring*>(mapped);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(ring);
  registration.ring_entries = count;
  registration.bgid = static_cast<std::uint16_t>(group);
  const int outcome = io_uring_register_buf_ring(&of, &registration, 0);
  if (outcome < 0) return explain(-outcome, "io_uring_register_buf_ring");
  io_uring_buf_ring_init(ring);
  const std::size_t all = std::size_t{count} * (bytes + apart);
  memory = ReceiveMemory(all);
  if (touched) std::memset(memory.data(), 0, all);
  for (unsigned i = count; i > 0; --i) spare.push_back(static_cast<unsigned short>(i - 1));
  hand_out(wanted);
  return {};
}

Ring::Buffers::~Buffers() {
  if (ring != nullptr) ::munmap(ring, count * sizeof(io_uring_buf));
}

void Ring::Buffers::hand_out(unsigned wanted) {
  for (; handed_out < wanted && !spare.empty(); ++handed_out) {
    const unsigned short buffer = spare.back();
    spare.pop_back();
    io_uring_buf_ring_add(ring, at(buffer), bytes, buffer, io_uring_buf_ring_mask(count), 0);
    io_uring_buf_ring_advance(ring, 1);
  }
}

void Ring::Buffers::give_back(unsigned short buffer, unsigned wanted) {
  spare.push_back(buffer);
  --handed_out;
  hand_out(wanted);
}

Answer<std::unique_ptr<Ring>> Ring::create(unsigned direct_connections) {
  std::unique_ptr<Ring> ring(new Ring);
  if (auto made = ring->set_up(direct_connections); !made) return made.error();
  return ring;
}

Answer<void> Ring::set_up(unsigned direct_connections) {
  io_uring_params params{};
  // The completion ring is larger: every connection may complete in one turn.
  params.flags =
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE;
  params.cq_entries = kEntries * 8;
  int outcome = io_uring_queue_init_params(kEntries, &ring_, &params);
  if (outcome < 0) return explain(-outcome, "io_uring_setup");
  initialised_ = true;
  io_uring_register_ring_fd(&ring_);  // saves the kernel a look-up; working without it is fine

  sockets_.set_up(ring_, direct_connections);
  if (auto made = small_.set_up(ring_, small_.count); !made) return made;
  return large_.set_up(ring_, 0);
}

Ring::~Ring() {
  if (initialised_) io_uring_queue_exit(&ring_);
}

io_uring_sqe* Ring::entry() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe != nullptr) return sqe;
  // The submission ring is full in the middle of a turn: hand it over and go on.
  io_uring_submit(&ring_);
  sqe = io_uring_get_sqe(&ring_);
  CHECK(sqe != nullptr);
  return sqe;
}

void Ring::recv(Socket socket, Reading reading, Completion& completion) {
  io_uring_sqe* sqe = entry();
  const bool large = reading == Reading::Large || reading == Reading::Whole;
  const Buffers& from = large ? large_ : small_;
  if (reading == Reading::Multishot) {
    io_uring_prep_recv_multishot(sqe, socket.handle(), nullptr, 0, 0);
  } else {
    const bool piece = reading == Reading::Large || (large && most_streams_ >= kFewStreams);
    io_uring_prep_recv(sqe, socket.handle(), nullptr, piece ? kPiece : from.bytes, 0);
  }
  // io_uring_prep_recv(3): where nothing is expected to be there yet, the kernel need not look first.
  if (completion.drained()) sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
  address(sqe, socket);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = static_cast<std::uint16_t>(from.group);
  io_uring_sqe_set_data(sqe, &completion);
  completion.take_large(large);
  if (large) {
    most_streams_ = std::max(most_streams_, ++streams_);
    large_.hand_out(most_streams_);
  }
  completion.submit();
}

void Ring::send(Socket socket, std::span<const std::uint8_t> bytes, Behind behind, Completion& completion) {
  io_uring_sqe* sqe = entry();
  io_uring_prep_send(sqe, socket.handle(), bytes.data(), bytes.size(), send_flags(behind));
  address(sqe, socket);
  io_uring_sqe_set_data(sqe, &completion);
  completion.submit();
}

void Ring::connect(Socket socket, const sockaddr* to, socklen_t length, Completion& completion) {
  io_uring_sqe* sqe = entry();
  io_uring_prep_connect(sqe, socket.handle(), to, length);
  address(sqe, socket);
  io_uring_sqe_set_data(sqe, &completion);
  completion.submit();
}

void Ring::cancel(Completion& completion) {
  if (!completion.submitted() || completion.cancelled()) return;
  completion.mark_cancelled();
  io_uring_sqe* sqe = entry();
  io_uring_prep_cancel(sqe, &completion, 0);
  io_uring_sqe_set_data(sqe, nullptr);
}

void Ring::accept(Socket listener, bool direct, sockaddr_storage& peer, socklen_t& peer_length,
                  Completion& completion) {
  io_uring_sqe* sqe = entry();
  peer_length = sizeof peer;
  auto* address = reinterpret_cast<sockaddr*>(&peer);
  io_uring_prep_accept(sqe, listener.handle(), address, &peer_length, direct ? 0 : SOCK_CLOEXEC);
  // Not io_uring_prep_accept_direct(): liburing 2.3 adds one to this value, which makes it a plain accept.
  if (direct) sqe->file_index = IORING_FILE_INDEX_ALLOC;
  io_uring_sqe_set_data(sqe, &completion);
  completion.submit();
}

Socket Ring::accepted(const IoResult& result, bool direct) {
  if (direct) sockets_.accepted();
  return Socket(result.value, direct);
}

Socket Ring::make_direct(Socket socket) {
  const int slot = sockets_.adopt(socket.handle());
  return slot >= 0 ? Socket(slot, true) : socket;
}

void Ring::read_event(int event_fd, std::uint64_t& into, Completion& completion) {
  io_uring_sqe* sqe = entry();
  io_uring_prep_read(sqe, event_fd, &into, sizeof into, 0);
  io_uring_sqe_set_data(sqe, &completion);
  completion.submit();
}

Socket Ring::open(int family) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return Socket(fd >= 0 ? fd : -errno);
}
void Ring::end_sending(Socket socket) {
  if (!socket.direct()) {
    ::shutdown(socket.handle(), SHUT_WR);
    return;
  }
  Completion* done = sockets_.shutting_down(socket.handle());
  if (done == nullptr) return;
  io_uring_sqe* sqe = entry();
  io_uring_prep_shutdown(sqe, socket.handle(), SHUT_WR);
  address(sqe, socket);
  io_uring_sqe_set_data(sqe, done);
  done->submit();
}

std::size_t Ring::unsent(Socket socket) {
  int bytes = 0;
  if (socket.direct() || ::ioctl(socket.handle(), SIOCOUTQ, &bytes) < 0) return SIZE_MAX;  // tcp(7)
  return static_cast<std::size_t>(bytes);
}

void Ring::close(Socket socket) {
  if (socket.direct()) {
    // What still waits to be submitted names the slot, which somebody else may have next.
    if (io_uring_sq_ready(&ring_) > 0) submit();
    sockets_.close(socket.handle());
  } else {
    ::close(socket.handle());
  }
}

void Ring::abort(Socket socket) {
  static const linger reset{1, 0};  // socket(7): close then drops what is queued and sends RST
  if (socket.direct()) {
    io_uring_sqe* sqe = entry();
    prepare_setsockopt(*sqe, socket.handle(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    io_uring_sqe_set_data(sqe, nullptr);
  } else {
    ::setsockopt(socket.handle(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  close(socket);
}

void Ring::submit() {
  io_uring_submit(&ring_);
}

// With IORING_SETUP_TASKRUN_FLAG the kernel says in the ring that there is a completion to be made.
void Ring::stay_awake(std::chrono::steady_clock::time_point until) {
  constexpr int kLooks = 16;  // between two at the clock
  io_uring_submit(&ring_);
  do {
    for (int look = 0; look < kLooks; ++look) {
      const std::atomic_ref<unsigned> flags(*ring_.sq.kflags);
      if ((flags.load(std::memory_order_relaxed) & IORING_SQ_TASKRUN) != 0 || io_uring_cq_ready(&ring_) > 0) return;
      look_again();
    }
  } while (std::chrono::steady_clock::now() < until);
}

void Ring::rest(std::chrono::microseconds time) {
  const auto begun = std::chrono::steady_clock::now();
  io_uring_submit(&ring_);
  std::this_thread::sleep_for(time);
  rested_ = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begun);
}

void Ring::turn(std::chrono::microseconds patience, std::chrono::microseconds awake) {
  const auto begun = std::chrono::steady_clock::now();
  if (awake.count() > 0) stay_awake(begun + awake);
  __kernel_timespec limit{patience.count() / 1'000'000, patience.count() % 1'000'000 * 1'000};
  io_uring_cqe* cqe = nullptr;
  // Also with no patience the kernel must be entered: with DEFER_TASKRUN completions are made there.
  if (patience.count() == 0) {
    io_uring_submit_and_get_events(&ring_);
  } else {
    io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &limit, nullptr);
  }
  waited_ = rested_ + std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begun);
  rested_ = std::chrono::microseconds(0);

  if (++turns_ % kTurnsToForget == 0) most_streams_ = streams_;
  ended_.clear();
  unsigned head = 0;
  unsigned taken = 0;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ++taken;
    auto* completion = static_cast<Completion*>(io_uring_cqe_get_data(cqe));
    if (completion != nullptr) ended_.push_back({completion, cqe->res, cqe->flags});
  }
  io_uring_cq_advance(&ring_, taken);
  for (const Ended& ended : ended_) finish(ended);
}

void Ring::finish(const Ended& ended) {
  IoResult result;
  result.value = ended.value;
  result.more = (ended.flags & IORING_CQE_F_MORE) != 0;
  if (ended.completion->large()) --streams_;  // never a multishot
  ended.completion->leave(ended.value > 0 && (ended.flags & IORING_CQE_F_SOCK_NONEMPTY) == 0);
  if ((ended.flags & IORING_CQE_F_BUFFER) == 0) {
    ended.completion->complete(result);
    return;
  }
  const auto buffer = static_cast<unsigned short>(ended.flags >> IORING_CQE_BUFFER_SHIFT);
  const bool large = ended.completion->large();
  Buffers& from = large ? large_ : small_;
  if (ended.value > 0) {
    result.data = {from.at(buffer), static_cast<std::size_t>(ended.value)};
    result.filled = result.data.size() == from.bytes;
  }
  ended.completion->complete(result);
  from.give_back(buffer, large ? most_streams_ : from.count);
}

}  // namespace sallyport
