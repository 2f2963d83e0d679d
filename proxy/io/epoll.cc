#include "proxy/io/epoll.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "proxy/io/look_again.h"

namespace sallyport {

namespace {

using std::chrono::duration_cast, std::chrono::microseconds, std::chrono::steady_clock;

constexpr std::size_t kEventsAtOnce = 512;
// As Ring's buffers: little before anybody is proven, eight TLS records where a stream is taken whole.
constexpr std::size_t kOnce = 2 * 1024, kMultishot = 16 * 1024, kLarge = 32 * 1024, kWhole = 128 * 1024;

constexpr microseconds kConnectsAgain{5'000};

bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

}  // namespace

Answer<std::unique_ptr<Epoll>> Epoll::create() {
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return Refusal{Refusal::Kind::Unavailable, std::string("epoll_create1: ") + std::strerror(errno)};
  return std::unique_ptr<Epoll>(new Epoll(fd));
}

Epoll::Epoll(int fd) : epoll_(fd), events_(kEventsAtOnce), room_(kWhole) {}

Epoll::~Epoll() {
  ::close(epoll_);
}

// Also tells epoll of a descriptor that is new; where that is refused, it stays unknown.
Epoll::Watch& Epoll::watch(int fd) {
  const auto at = static_cast<std::size_t>(fd);
  if (at >= watches_.size()) watches_.resize(std::max(at + 1, watches_.size() * 2));
  Watch& found = watches_[at];
  if (found.known) return found;
  epoll_event wanted{};
  wanted.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  wanted.data.fd = fd;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &wanted) != 0) return found;
  found.known = true;
  found.may_write = true;
  return found;
}

// An operation of that descriptor. Null: epoll does not take it, and the operation has failed.
Epoll::Watch* Epoll::begin(int fd, Completion& completion) {
  Watch& at = watch(fd);
  completion.submit();
  completion.wait_at(fd);
  if (at.known) return &at;
  ended_.push_back({&completion, -ENOMEM});
  return nullptr;
}

void Epoll::due_to_read(int fd) {
  if (!std::exchange(watches_[static_cast<std::size_t>(fd)].read_due, true)) reads_due_.push_back(fd);
}

void Epoll::due_to_write(int fd) {
  if (!std::exchange(watches_[static_cast<std::size_t>(fd)].write_due, true)) writes_due_.push_back(fd);
}

std::size_t Epoll::room_of(Reading reading) {
  switch (reading) {
    case Reading::Once: return kOnce;
    case Reading::Multishot: return kMultishot;
    case Reading::Large: return kLarge;
    case Reading::Whole: return kWhole;
  }
  return kOnce;
}

void Epoll::recv(Socket socket, Reading reading, Completion& completion) {
  Watch* const at = begin(socket.handle(), completion);
  if (at == nullptr) return;
  at->reader = &completion;
  at->reading = reading;
  if (at->may_read) due_to_read(socket.handle());
}

void Epoll::send(Socket socket, std::span<const std::uint8_t> bytes, Behind behind, Completion& completion) {
  Watch* const at = begin(socket.handle(), completion);
  if (at == nullptr) return;
  at->writer = &completion;
  at->bytes = bytes.data();
  at->length = bytes.size();
  at->behind = behind;
  at->address = nullptr;
  if (at->may_write) due_to_write(socket.handle());
}

void Epoll::connect(Socket socket, const sockaddr* address, socklen_t length, Completion& completion) {
  Watch* const at = begin(socket.handle(), completion);
  if (at == nullptr) return;
  at->writer = &completion;
  at->address = address;
  at->address_length = length;
  at->connecting = false;
  at->may_write = true;
  due_to_write(socket.handle());
}

void Epoll::cancel(Completion& completion) {
  if (!completion.submitted() || completion.cancelled()) return;
  completion.mark_cancelled();
  Watch& at = watches_[static_cast<std::size_t>(completion.place())];
  if (at.reader == &completion) {
    at.reader = nullptr;
  } else if (at.writer == &completion) {
    at.writer = nullptr;
    at.connecting = false;
  } else if (at.listens) {
    auto& waiting = acceptors_[completion.place()];
    const auto found = std::find_if(waiting.begin(), waiting.end(),
                                    [&](const Acceptor& each) { return each.completion == &completion; });
    if (found == waiting.end()) return;
    waiting.erase(found);
  } else {
    return;  // it has ended, and is told so in this turn or the next
  }
  ended_.push_back({&completion, -ECANCELED});
}

void Epoll::accept(Socket listener, bool, sockaddr_storage& peer, socklen_t& peer_length, Completion& completion) {
  Watch* const at = begin(listener.handle(), completion);
  if (at == nullptr) return;
  if (!std::exchange(at->listens, true)) {
    // A process that shares the socket may take the connection that it was announced for.
    ::fcntl(listener.handle(), F_SETFL, ::fcntl(listener.handle(), F_GETFL) | O_NONBLOCK);
  }
  acceptors_[listener.handle()].push_back({&completion, &peer, &peer_length});
  if (at->may_read) due_to_read(listener.handle());
}

void Epoll::read_event(int event_fd, std::uint64_t& into, Completion& completion) {
  Watch* const at = begin(event_fd, completion);
  if (at == nullptr) return;
  at->reader = &completion;
  at->event = &into;
  if (at->may_read) due_to_read(event_fd);
}

Socket Epoll::open(int family) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return Socket(fd >= 0 ? fd : -errno);
}

void Epoll::end_sending(Socket socket) {
  ::shutdown(socket.handle(), SHUT_WR);
}

std::size_t Epoll::unsent(Socket socket) {
  int bytes = 0;
  if (::ioctl(socket.handle(), SIOCOUTQ, &bytes) < 0) return SIZE_MAX;  // tcp(7)
  return static_cast<std::size_t>(bytes);
}

void Epoll::close(Socket socket) {
  const int fd = socket.handle();
  if (static_cast<std::size_t>(fd) < watches_.size()) {
    Watch& at = watches_[static_cast<std::size_t>(fd)];
    if (at.listens) {
      // Another process may have it, too: then epoll would go on telling of it (epoll(7), question 6).
      ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
      acceptors_.erase(fd);
    }
    const bool read_due = at.read_due, write_due = at.write_due;
    at = Watch();
    at.read_due = read_due;
    at.write_due = write_due;
  }
  ::close(fd);
}

void Epoll::abort(Socket socket) {
  static const linger reset{1, 0};  // socket(7): close then drops what is queued and sends RST
  ::setsockopt(socket.handle(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(socket);
}

void Epoll::submit() {
  write_all_due();
}

// No completion runs in here.
void Epoll::write_all_due() {
  for (std::size_t i = 0; i < writes_due_.size(); ++i) write(writes_due_[i]);
  writes_due_.clear();
}

void Epoll::write(int fd) {
  Watch& at = watches_[static_cast<std::size_t>(fd)];
  at.write_due = false;
  if (at.writer == nullptr || !at.may_write) return;
  if (at.address == nullptr) {
    const ssize_t sent = ::send(fd, at.bytes, at.length, send_flags(at.behind) | MSG_DONTWAIT);
    if (sent >= 0) return write_ended(at, static_cast<int>(sent));
    if (!would_block(errno)) return write_ended(at, -errno);
    at.may_write = false;
    return;
  }
  if (at.connecting) {
    int error = 0;
    socklen_t length = sizeof error;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
    return write_ended(at, -error);
  }
  if (::connect(fd, at.address, at.address_length) == 0) return write_ended(at, 0);
  // Of a unix socket: its queue is full. Nothing tells when there is room (unix(7)), so it is asked again.
  if (would_block(errno)) return connects_again_.push_back(fd);
  if (errno != EINPROGRESS && errno != EINTR) return write_ended(at, -errno);
  at.connecting = true;
  at.may_write = false;
}

void Epoll::write_ended(Watch& watch, int value) {
  watch.connecting = false;
  watch.address = nullptr;
  ended_.push_back({std::exchange(watch.writer, nullptr), value});
}

// Asks what may go on, waiting for so long at most.
void Epoll::look(microseconds most) {
  const timespec limit{most.count() / 1'000'000, most.count() % 1'000'000 * 1'000};
  int count = ::epoll_pwait2(epoll_, events_.data(), static_cast<int>(events_.size()), &limit, nullptr);
  if (count < 0 && (errno == ENOSYS || errno == EPERM)) {  // an old kernel, or a filter of system calls
    count = ::epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()),
                         static_cast<int>((most.count() + 999) / 1000));
  }
  for (int i = 0; i < count; ++i) {
    const auto [events, data] = events_[static_cast<std::size_t>(i)];
    Watch& at = watches_[static_cast<std::size_t>(data.fd)];
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) at.hung_up = true;
    if ((events & EPOLLIN) != 0 || at.hung_up) at.may_read = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) at.may_write = true;
    if (at.may_read && (at.reader != nullptr || at.listens)) due_to_read(data.fd);
    if (at.may_write && at.writer != nullptr) due_to_write(data.fd);
  }
}

void Epoll::rest(microseconds time) {
  const auto begun = steady_clock::now();
  write_all_due();
  std::this_thread::sleep_for(time);
  rested_ = duration_cast<microseconds>(steady_clock::now() - begun);
}

void Epoll::turn(microseconds patience, microseconds awake) {
  const auto begun = steady_clock::now();
  for (const int fd : connects_again_) due_to_write(fd);
  connects_again_.clear();
  write_all_due();
  if (!connects_again_.empty()) patience = std::min(patience, kConnectsAgain);
  const auto idle = [this] { return ended_.empty() && reads_due_.empty() && writes_due_.empty(); };
  look(microseconds(0));
  // An event that nothing waits for is no reason to come back.
  for (auto now = steady_clock::now(); idle() && now < begun + patience; now = steady_clock::now()) {
    if (now < begun + awake) {
      look_again();
      look(microseconds(0));
    } else {
      look(std::chrono::ceil<microseconds>(begun + patience - now));
    }
  }
  waited_ = rested_ + duration_cast<microseconds>(steady_clock::now() - begun);
  rested_ = microseconds(0);
  write_all_due();
  run_ended();
  run_readers();
}

void Epoll::run_ended() {
  running_.swap(ended_);
  for (const Ended& each : running_) each.completion->complete({.value = each.value});
  running_.clear();
}

// What they ask for anew is for the next turn: nobody who sends without end keeps the others waiting.
void Epoll::run_readers() {
  now_due_.swap(reads_due_);
  for (const int fd : now_due_) {
    watches_[static_cast<std::size_t>(fd)].read_due = false;
    watches_[static_cast<std::size_t>(fd)].listens ? accept_all(fd) : read(fd);
  }
  now_due_.clear();
}

// A completion may open and close sockets: no Watch is kept over it.
void Epoll::read(int fd) {
  Watch& at = watches_[static_cast<std::size_t>(fd)];
  if (at.reader == nullptr || !at.may_read) return;
  Completion& completion = *at.reader;
  IoResult result;
  if (at.event != nullptr) {
    const ssize_t n = ::read(fd, at.event, sizeof *at.event);  // only after epoll said so: it does not block
    result.value = n >= 0 ? static_cast<int>(n) : -errno;
    at.may_read = false;
    at.event = nullptr;
  } else {
    const std::size_t room = room_of(at.reading);
    const ssize_t n = ::recv(fd, room_.data(), room, MSG_DONTWAIT);
    if (n < 0 && would_block(errno)) {
      at.may_read = false;
      return;
    }
    result.value = n >= 0 ? static_cast<int>(n) : -errno;
    result.filled = n == static_cast<ssize_t>(room);
    if (n > 0) result.data = {room_.data(), static_cast<std::size_t>(n)};
    // Where the peer has ended there is one thing more to read.
    if (n >= 0 && !result.filled && !at.hung_up) at.may_read = false;
    result.more = at.reading == Reading::Multishot && n > 0;
    if (result.more && at.may_read) due_to_read(fd);
  }
  if (!result.more) at.reader = nullptr;
  completion.complete(result);
}

// As many as are asked for and wait, each told at once: who is told may ask for the next.
void Epoll::accept_all(int fd) {
  for (std::size_t asked = acceptors_[fd].size(); asked > 0; --asked) {
    Watch& at = watches_[static_cast<std::size_t>(fd)];
    if (!at.listens || !at.may_read) return;
    auto& waiting = acceptors_[fd];
    if (waiting.empty()) return;
    const Acceptor first = waiting.front();
    *first.length = sizeof *first.peer;
    const int taken = ::accept4(fd, reinterpret_cast<sockaddr*>(first.peer), first.length, SOCK_CLOEXEC);
    if (taken < 0 && would_block(errno)) {
      at.may_read = false;
      return;
    }
    const int value = taken >= 0 ? taken : -errno;
    waiting.pop_front();
    first.completion->complete({.value = value});
  }
  const Watch& at = watches_[static_cast<std::size_t>(fd)];
  if (at.listens && at.may_read && !acceptors_[fd].empty()) due_to_read(fd);
}

}  // namespace sallyport
