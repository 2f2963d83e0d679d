#include "proxy/io/ring_sockets.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

namespace sallyport {

namespace {

// IORING_FEAT_RW_ATTR, of Linux 6.14: later than every change that is needed here.
constexpr unsigned kRecentKernel = 1U << 16;
constexpr unsigned kOpSetsockopt = 3;
constexpr unsigned kSpare = 64;

}  // namespace

void prepare_setsockopt(io_uring_sqe& sqe, int slot, int level, int option, const void* value, unsigned length) {
  std::memset(&sqe, 0, sizeof sqe);
  sqe.opcode = IORING_OP_URING_CMD;
  sqe.flags = IOSQE_FIXED_FILE;
  sqe.fd = slot;
  sqe.off = kOpSetsockopt;
  sqe.addr = static_cast<unsigned>(level) | std::uint64_t{static_cast<unsigned>(option)} << 32;
  sqe.file_index = length;
  sqe.addr3 = reinterpret_cast<std::uint64_t>(value);
}

bool RingSockets::set_up(io_uring& ring, unsigned connections) {
  if (connections == 0 || (ring.features & kRecentKernel) == 0) return false;
  if (io_uring_register_files_sparse(&ring, 2 * connections) < 0) return false;
  ring_ = &ring;
  half_ = connections;
  if (io_uring_register_file_alloc_range(&ring, 0, half_) < 0 || !kernel_can(ring)) {
    io_uring_unregister_files(&ring);
    half_ = 0;
    return false;
  }
  for (unsigned slot = 2 * half_; slot-- > half_;) free_.push_back(static_cast<int>(slot));
  return true;
}

// Asks the kernel itself: version numbers say little where distributions backport.
bool RingSockets::kernel_can(io_uring& ring) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int slot = static_cast<int>(half_);
  const bool moved = fd >= 0 && io_uring_register_files_update(&ring, half_, &fd, 1) == 1;
  if (fd >= 0) ::close(fd);
  if (!moved) return false;
  static const linger reset{1, 0};
  io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  if (sqe == nullptr) return false;
  prepare_setsockopt(*sqe, slot, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  io_uring_cqe* cqe = nullptr;
  bool good = io_uring_submit_and_wait(&ring, 1) >= 0 && io_uring_peek_cqe(&ring, &cqe) == 0 && cqe->res == 0;
  if (cqe != nullptr) io_uring_cqe_seen(&ring, cqe);
  int none = -1;
  good = io_uring_register_files_update(&ring, half_, &none, 1) == 1 && good;
  return good;
}

bool RingSockets::room() const {
  return accepted_ + kSpare < half_ && free_.size() > kSpare;
}

int RingSockets::adopt(int fd) {
  if (free_.empty()) return -1;
  const int slot = free_.back();
  if (io_uring_register_files_update(ring_, static_cast<unsigned>(slot), &fd, 1) != 1) return -1;
  free_.pop_back();
  ::close(fd);
  return slot;
}

Completion* RingSockets::shutting_down(int slot) {
  const auto [at, fresh] = shutting_down_.try_emplace(slot);
  if (!fresh) return nullptr;
  ShuttingDown& ending = at->second;
  ending.sockets = this;
  ending.slot = slot;
  ending.done.arm<&ShuttingDown::on_done>(ending);
  return &ending.done;
}

void RingSockets::ShuttingDown::on_done(const IoResult&) {
  RingSockets& of = *sockets;
  const int ended = slot;
  const bool close = close_after;
  of.shutting_down_.erase(ended);  // and this with it
  if (close) of.close(ended);
}

void RingSockets::close(int slot) {
  if (const auto found = shutting_down_.find(slot); found != shutting_down_.end()) {
    found->second.close_after = true;
    return;
  }
  int none = -1;
  io_uring_register_files_update(ring_, static_cast<unsigned>(slot), &none, 1);
  if (static_cast<unsigned>(slot) < half_) {
    --accepted_;
  } else {
    free_.push_back(slot);
  }
}

}  // namespace sallyport
