#include "bench/loadgen/sink.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <unordered_map>
#include <vector>

#include "bench/loadgen/address.h"
#include "bench/loadgen/loop.h"
#include "bench/loadgen/mqtt.h"

namespace load {

namespace {

volatile std::sig_atomic_t g_stop = 0;

constexpr std::size_t kPayload = 64 * 1024;
constexpr std::size_t kReadAtOnce = 256 * 1024;

class Sink;

class Guest final : public Ready {
 public:
  Guest(Sink& sink, int fd) : sink_(sink), fd_(fd) {}
  ~Guest() override { ::close(fd_); }
  int fd() const { return fd_; }
  void on_ready(std::uint32_t events) override;

 private:
  bool read_all();
  bool skip_header(std::span<const std::uint8_t>& bytes);
  bool answer();
  bool write_all();

  Sink& sink_;
  const int fd_;
  Frames frames_;
  std::string out_;
  std::size_t sent_ = 0;
  std::size_t to_pour_ = 0;  // bytes of payload still owed
  std::string header_;       // PROXY, as far as it has come
  bool begun_ = false;       // the header has gone by, or none is expected
  bool v5_ = false;
  bool waits_for_room_ = false;
};

class Sink final : public Ready {
 public:
  Sink(const std::string& listen, Expects expected)
      : expects(expected), buffer_(kReadAtOnce), poured_(publish_packet("d", kPayload, 0, 0, false)) {
    const Address address = Address::parse(listen);
    fd_ = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // inherited by what is accepted
    if (::bind(fd_, address.get(), address.length()) != 0 || ::listen(fd_, 65535) != 0) give_up(listen.c_str());
    loop.add(fd_, EPOLLIN, *this);
    std::printf("listening on %s\n", Address::of(fd_).text().c_str());
    std::fflush(stdout);
  }
  ~Sink() override { ::close(fd_); }

  void on_ready(std::uint32_t) override {
    for (int i = 0; i < 64; ++i) {
      const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      auto guest = std::make_unique<Guest>(*this, fd);
      loop.add(fd, EPOLLIN, *guest);
      guests_.emplace(fd, std::move(guest));
    }
  }
  void leaves(int fd) { gone_.push_back(fd); }
  void run() {
    while (g_stop == 0) {
      loop.turn(now_ns() + 200'000'000);
      for (const int fd : gone_) guests_.erase(fd);
      gone_.clear();
    }
  }

  Loop loop;
  const Expects expects;
  std::vector<std::uint8_t>& buffer() { return buffer_; }
  const std::string& poured() const { return poured_; }

 private:
  int fd_;
  std::vector<std::uint8_t> buffer_;
  const std::string poured_;
  std::unordered_map<int, std::unique_ptr<Guest>> guests_;
  std::vector<int> gone_;
};

void Guest::on_ready(std::uint32_t) {
  if (!read_all() || !write_all()) sink_.leaves(fd_);
}

bool Guest::read_all() {
  const ssize_t n = ::recv(fd_, sink_.buffer().data(), sink_.buffer().size(), 0);
  if (n < 0) return errno == EAGAIN;
  if (n == 0) return false;
  std::span<const std::uint8_t> bytes{sink_.buffer().data(), static_cast<std::size_t>(n)};
  if (!begun_ && sink_.expects == Expects::Proxy && !skip_header(bytes)) return false;
  while (true) {
    const Frames::Found found = frames_.next(bytes);
    if (found == Frames::Found::NeedMore) return true;
    if (found == Frames::Found::Malformed || frames_.packet() == Packet::Disconnect) return false;
    if (!answer()) return false;
  }
}

// The PROXY protocol, sections 2.1 and 2.2, as far as its length. False: it is none.
bool Guest::skip_header(std::span<const std::uint8_t>& bytes) {
  constexpr std::string_view kV1 = "PROXY ", kV2("\r\n\r\n\0\r\nQUIT\n", 12);
  constexpr std::size_t kV2Head = 16, kLongest = 4096;
  while (!bytes.empty()) {
    header_ += static_cast<char>(bytes[0]);
    bytes = bytes.subspan(1);
    const bool v2 = header_[0] == kV2[0];
    const std::string_view begins = v2 ? kV2 : kV1;
    const std::size_t known = std::min(header_.size(), begins.size());
    if (header_.substr(0, known) != begins.substr(0, known) || header_.size() > kLongest) return false;
    const auto at = [&](std::size_t place) {
      return static_cast<std::size_t>(static_cast<unsigned char>(header_[place]));
    };
    begun_ = v2 ? header_.size() >= kV2Head && header_.size() == kV2Head + (at(14) << 8 | at(15))
                : header_.ends_with("\r\n");
    if (begun_) return true;
  }
  return true;
}

// False: it does not say what is expected.
bool Guest::answer() {
  const std::string_view head = frames_.head();
  const auto length_of = [&](std::size_t at) {
    return at + 1 < head.size() ? static_cast<std::size_t>(static_cast<unsigned char>(head[at])) << 8 |
                                      static_cast<unsigned char>(head[at + 1])
                                : 0;
  };
  switch (frames_.packet()) {
    case Packet::Connect:
      v5_ = head.size() > 6 && head[6] == 5;
      // MQTT 3.1.1 and 5, section 3.1.2.3: the flags follow name and level.
      if (sink_.expects == Expects::UserName && (head.size() < 8 || (head[7] & 0x80) == 0)) return false;
      out_ += v5_ ? std::string_view("\x20\x03\x00\x00\x00", 5) : std::string_view("\x20\x02\x00\x00", 4);
      break;
    case Packet::Publish:
      if (frames_.qos() == 1 && length_of(0) + 4 <= head.size()) {
        out_ += std::string_view("\x40\x02", 2);
        out_ += head.substr(length_of(0) + 2, 2);
      }
      break;
    case Packet::Subscribe: {
      const std::size_t at = v5_ ? 3 : 2;
      const std::string topic(head.substr(std::min(at + 2, head.size()), length_of(at)));
      if (topic.starts_with("down/")) to_pour_ = std::strtoull(topic.c_str() + 5, nullptr, 10);
      out_ += v5_ ? std::string_view("\x90\x04\x00\x01\x00\x00", 6) : std::string_view("\x90\x03\x00\x01\x00", 5);
      break;
    }
    case Packet::Pingreq: out_ += kPingresp; break;
    default: break;
  }
  return true;
}

bool Guest::write_all() {
  while (true) {
    if (sent_ == out_.size()) {
      out_.clear();
      sent_ = 0;
      if (to_pour_ == 0) break;
      out_ = sink_.poured();
      to_pour_ -= std::min(to_pour_, kPayload);
    }
    const ssize_t n = ::send(fd_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return false;
    if (n < 0) {
      if (!waits_for_room_) sink_.loop.change(fd_, EPOLLIN | EPOLLOUT, *this);
      waits_for_room_ = true;
      return true;
    }
    sent_ += static_cast<std::size_t>(n);
  }
  if (waits_for_room_) sink_.loop.change(fd_, EPOLLIN, *this);
  waits_for_room_ = false;
  return true;
}

}  // namespace

int run_sink(const std::string& listen, Expects expects) {
  std::signal(SIGTERM, [](int) { g_stop = 1; });
  std::signal(SIGINT, [](int) { g_stop = 1; });
  Sink sink(listen, expects);
  sink.run();
  return 0;
}

}  // namespace load
