#include "admin/operations/takeover.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace sallyport {

namespace {

constexpr std::string_view kTakeOver = "take over", kGo = "go", kAll = "all", kServing = "serving", kEnd = "end",
                           kSockets = "sockets ", kNo = "no ";
constexpr int kWordMs = 5'000;       // for what the one that runs says, which looks every second
constexpr int kAskedMs = 500;        // for what the new one says at once; the main thread waits
constexpr int kClosingMs = 120'000;  // for the one that runs to write and close its registry
constexpr int kEndingMs = 30'000;    // for its sessions to be gone
constexpr std::size_t kLongestWord = 512;

Refusal failed(std::string what) {
  if (errno != 0) what += std::string(": ") + std::strerror(errno);
  return {Refusal::Kind::Unavailable, std::move(what)};
}

void close_all(const std::vector<ListeningSocket>& sockets) {
  for (const ListeningSocket& each : sockets) ::close(each.fd);
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy_n(path.begin(), std::min(path.size(), sizeof address.sun_path - 1), address.sun_path);
  return address;
}

bool say(int socket, std::string_view word) {
  return ::send(socket, word.data(), word.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(word.size());
}

bool readable(int socket, int within_ms) {
  pollfd polled{socket, POLLIN, 0};
  return ::poll(&polled, 1, within_ms) > 0;
}

// A message of sendmsg(2) and recvmsg(2), with room for one descriptor.
struct Parcel {
  explicit Parcel(void* text, std::size_t size) : part{text, size} {
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
  Parcel(const Parcel&) = delete;
  Parcel& operator=(const Parcel&) = delete;

  iovec part;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
};

// One message, and the descriptor it brought, or -1. False: none came in time, or it was the end.
bool hear(int socket, int within_ms, std::string& word, int& descriptor) {
  descriptor = -1;
  errno = 0;
  if (!readable(socket, within_ms)) return false;
  std::array<char, kLongestWord> text{};
  Parcel parcel(text.data(), text.size());
  const ssize_t length = ::recvmsg(socket, &parcel.message, MSG_CMSG_CLOEXEC);
  if (length <= 0) return false;
  const cmsghdr* head = CMSG_FIRSTHDR(&parcel.message);
  if (head != nullptr && head->cmsg_type == SCM_RIGHTS) std::memcpy(&descriptor, CMSG_DATA(head), sizeof descriptor);
  word.assign(text.data(), static_cast<std::size_t>(length));
  return true;
}

std::string hear(int socket, int within_ms) {
  std::string word;
  int descriptor = -1;
  if (!hear(socket, within_ms, word, descriptor)) return {};
  if (descriptor >= 0) ::close(descriptor);
  return word;
}

bool give(int socket, const ListeningSocket& listening) {
  Parcel parcel(const_cast<char*>(listening.listener.data()), listening.listener.size());
  cmsghdr* head = CMSG_FIRSTHDR(&parcel.message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(head), &listening.fd, sizeof listening.fd);
  return ::sendmsg(socket, &parcel.message, MSG_NOSIGNAL) > 0;
}

Refusal serves_on(const std::string& said) {
  return {Refusal::Kind::Conflict, "the process that runs serves on: " + said.substr(kNo.size())};
}

// What the kernel knows a folder by; "-" where there is none.
std::string folder_of(const std::string& path) {
  struct stat known {};
  if (::stat(path.c_str(), &known) != 0) return "-";
  return std::to_string(known.st_dev) + ":" + std::to_string(known.st_ino);
}

}  // namespace

std::string takeover_path(const std::string& admin_socket) {
  std::string path = admin_socket + ".takeover";
  return path.size() < sizeof(sockaddr_un::sun_path) ? path : std::string();
}

TakeoverOffer::~TakeoverOffer() {
  close();
  if (successor_ >= 0) ::close(successor_);
}

Answer<void> TakeoverOffer::listen(const std::string& path) {
  errno = 0;
  listening_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listening_ < 0) return failed("socket");
  ::unlink(path.c_str());  // whoever had it is gone: the registry is locked
  const sockaddr_un address = address_of(path);
  // Never, not even for a moment, with a wider mode.
  const mode_t before = ::umask(0177);
  const bool bound = ::bind(listening_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::umask(before);
  if (!bound || ::listen(listening_, 4) != 0) {
    auto refusal = failed(path);
    ::close(std::exchange(listening_, -1));
    return refusal;
  }
  path_ = path;
  return {};
}

void TakeoverOffer::close() {
  if (listening_ < 0) return;
  ::close(std::exchange(listening_, -1));
  ::unlink(path_.c_str());
}

bool TakeoverOffer::accepted(std::size_t sockets, const std::string& state_dir,
                             const std::function<std::string()>& why_not, Logger& log) {
  const int peer = ::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
  if (peer < 0) return false;
  ucred who{};
  socklen_t length = sizeof who;
  const bool same_user = ::getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 && who.uid == ::geteuid();
  const bool asks = same_user && hear(peer, kAskedMs) == kTakeOver;
  const std::string offered = std::string(kSockets) + std::to_string(sockets) + " " + folder_of(state_dir);
  std::string why = asks ? why_not() : "";
  const bool goes = asks && why.empty() && say(peer, offered) && hear(peer, kAskedMs) == kGo;
  if (goes) why = why_not();  // it may have taken its time
  if (goes && why.empty()) {
    successor_ = peer;
    successor_pid_ = who.pid;
    // One that takes nothing must not keep this process from hearing a signal.
    const timeval most{kWordMs / 1000, 0};
    ::setsockopt(successor_, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    log.info("taken-over", {{"by_pid", who.pid}, {"what", "the listeners go to another process; this one drains"}});
    return true;
  }
  if (!why.empty()) (void)say(peer, std::string(kNo) + why);
  log.warn("takeover-refused", {{"by_pid", who.pid}, {"by_uid", who.uid}, {"why", why}});
  ::close(peer);
  return false;
}

Answer<void> TakeoverOffer::hand_over(const std::vector<ListeningSocket>& sockets) {
  close();
  errno = 0;
  for (const ListeningSocket& each : sockets) {
    if (!give(successor_, each)) return failed("the new process does not take listener " + each.listener);
  }
  if (!say(successor_, kAll)) return failed("the new process does not answer");
  return {};
}

TakeoverOffer::Said TakeoverOffer::said() {
  if (successor_ < 0 || !readable(successor_, 0)) return Said::Nothing;
  const std::string word = hear(successor_, 0);
  if (word == kServing) return Said::Serving;
  if (word == kEnd) return Said::End;
  ::close(std::exchange(successor_, -1));
  return Said::Gone;
}

Answer<std::unique_ptr<Predecessor>> Predecessor::ask(const std::string& path, unsigned shards,
                                                      const std::string& state_dir) {
  auto asked = std::make_unique<Predecessor>();
  errno = 0;
  asked->socket_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(path);
  if (asked->socket_ < 0) return failed("socket");
  if (path.empty() || ::connect(asked->socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (path.empty() || errno == ENOENT || errno == ECONNREFUSED) return std::unique_ptr<Predecessor>();
    return failed(path);
  }
  if (auto received = asked->receive(shards, state_dir); !received) return received.error();
  return asked;
}

Answer<void> Predecessor::receive(unsigned shards, const std::string& state_dir) {
  if (!say(socket_, kTakeOver)) return failed("the process that runs does not answer");
  const std::string offered = hear(socket_, kWordMs);
  if (offered.starts_with(kNo)) return serves_on(offered);
  std::size_t sockets = 0;
  if (offered.substr(0, kSockets.size()) == kSockets) {
    std::from_chars(offered.data() + kSockets.size(), offered.data() + offered.size(), sockets);
  }
  if (sockets == 0) return failed("the process that runs gives its listeners to its own user alone, once");
  if (sockets > shards) {
    return Refusal{Refusal::Kind::Conflict,
                   "the process that runs has " + std::to_string(sockets) + " shards, and this one would have " +
                       std::to_string(shards) +
                       ": a socket that nobody takes over refuses who waits in its queue; set proxy.shards"};
  }
  // Another registry knows other devices: who is revoked there would be let in here.
  if (offered.substr(offered.rfind(' ') + 1) != folder_of(state_dir)) {
    return Refusal{Refusal::Kind::Conflict,
                   "the process that runs has another state_dir than " + state_dir +
                       ": its devices, and who of them is revoked, would be unknown here; set the same state_dir, or "
                       "drain it and start anew"};
  }
  if (!say(socket_, kGo)) return failed("the process that runs does not answer");
  for (;;) {
    ListeningSocket one;
    if (!hear(socket_, kClosingMs, one.listener, one.fd)) {
      return failed("the process that runs did not hand its listeners over");
    }
    if (one.fd < 0) {
      if (one.listener == kAll) return {};
      if (one.listener.starts_with(kNo)) return serves_on(one.listener);
      continue;
    }
    sockets_.push_back(std::move(one));
  }
}

Predecessor::~Predecessor() {
  close_all(sockets_);
  if (socket_ >= 0) ::close(socket_);
}

void Predecessor::say_serving() {
  const std::lock_guard lock(mutex_);
  if (socket_ >= 0) say(socket_, kServing);
}

void Predecessor::end_sessions() {
  const std::lock_guard lock(mutex_);
  if (socket_ < 0) return;
  say(socket_, kEnd);
  (void)hear(socket_, kEndingMs);  // its end
  ::close(std::exchange(socket_, -1));
}

}  // namespace sallyport
