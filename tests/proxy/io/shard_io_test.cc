// Both ways to the kernel, io_uring's and epoll's, against the real one: what a shard relies on, and their waits.
#include "proxy/io/shard_io.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "proxy/io/epoll.h"
#include "proxy/io/ring.h"

namespace sallyport {
namespace {

using std::chrono::milliseconds, std::chrono::steady_clock;

enum class Kind : std::uint8_t { Ring, Epoll };

template <class Made>
std::unique_ptr<ShardIo> made() {
  auto io = Made::create();
  EXPECT_TRUE(io) << io.error().what;
  return io ? std::unique_ptr<ShardIo>(std::move(*io)) : nullptr;
}

std::unique_ptr<ShardIo> made(Kind kind) {
  return kind == Kind::Ring ? made<Ring>() : made<Epoll>();
}

// A socket that is read, and its other end.
struct Reader {
  int ends[2] = {-1, -1};
  Completion completion;
  std::string got;
  std::unique_ptr<ShardIo> io;

  explicit Reader(Kind kind) : io(made(kind)) {
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    if (!io) return;
    completion.arm<&Reader::on_recv>(*this);
    io->recv(Socket(ends[0]), Reading::Multishot, completion);
    io->turn(milliseconds(0));
  }
  ~Reader() {
    io.reset();
    for (const int end : ends) ::close(end);
  }
  void on_recv(const IoResult& result) { got.append(result.data.begin(), result.data.end()); }
};

// How often this thread has given up its processor of its own accord: getrusage(2).
long sleeps() {
  rusage usage{};
  EXPECT_EQ(::getrusage(RUSAGE_THREAD, &usage), 0);
  return usage.ru_nvcsw;
}

// Something arrives while a turn may wait for much longer. Whether it has slept by then.
bool sleeps_until_arrival(Reader& reader, milliseconds awake) {
  std::thread writer([&] {
    std::this_thread::sleep_for(milliseconds(200));
    EXPECT_EQ(::write(reader.ends[1], "answer", 6), 6);
  });
  const long before = sleeps();
  reader.io->turn(milliseconds(60'000), awake);
  const long slept = sleeps() - before;
  writer.join();
  EXPECT_EQ(reader.got, "answer");
  EXPECT_GE(reader.io->waited(), milliseconds(50));
  return slept > 0;
}

class ShardIoTest : public testing::TestWithParam<Kind> {};

// A thread that waits for a page, or for the lock of the process's memory, is counted as asleep, too: that happens now
// and then where many threads run, so one time in twenty that it does not is enough.
TEST_P(ShardIoTest, AwakeItTakesWhatArrivesWithoutHavingSlept) {
  bool slept = true;
  for (int i = 0; i < 20 && slept; ++i) {
    Reader reader(GetParam());
    ASSERT_TRUE(reader.io);
    slept = sleeps_until_arrival(reader, milliseconds(60'000));
  }
  EXPECT_FALSE(slept);
}

TEST_P(ShardIoTest, AsleepItIsWokenByWhatArrives) {
  Reader reader(GetParam());
  ASSERT_TRUE(reader.io);
  EXPECT_TRUE(sleeps_until_arrival(reader, milliseconds(0)));
}

TEST_P(ShardIoTest, AwakeForAWhileItFallsAsleepThen) {
  Reader reader(GetParam());
  ASSERT_TRUE(reader.io);
  EXPECT_TRUE(sleeps_until_arrival(reader, milliseconds(2)));
}

TEST_P(ShardIoTest, ARestIsNotCutShort) {
  Reader reader(GetParam());
  ASSERT_TRUE(reader.io);
  Completion sent;
  struct Nothing {
    void on_sent(const IoResult&) {}
  } nothing;
  sent.arm<&Nothing::on_sent>(nothing);
  const std::string hello = "hello";
  reader.io->send(Socket(reader.ends[0]), std::span(reinterpret_cast<const std::uint8_t*>(hello.data()), 5),
                  Behind::Others, sent);
  ASSERT_EQ(::write(reader.ends[1], "answer", 6), 6);
  const long before = sleeps();
  const auto begun = steady_clock::now();
  reader.io->rest(milliseconds(20));
  EXPECT_GE(steady_clock::now() - begun, milliseconds(20));
  EXPECT_GE(sleeps() - before, 1);
  char got[8];
  EXPECT_EQ(::recv(reader.ends[1], got, sizeof got, MSG_DONTWAIT), 5) << "what was asked for is on its way";
  EXPECT_EQ(reader.got, "") << "for the next turn";
  reader.io->turn(milliseconds(0));
  EXPECT_EQ(reader.got, "answer");
  EXPECT_GE(reader.io->waited(), milliseconds(20));
  // It counts for that turn alone. A turn that does not wait may still be held up by others: of many not all are.
  std::chrono::microseconds least(milliseconds(20));
  for (int i = 0; i < 100; ++i) {
    reader.io->turn(milliseconds(0));
    least = std::min(least, reader.io->waited());
  }
  EXPECT_LT(least, milliseconds(20));
}

TEST_P(ShardIoTest, AWaitHasAnEnd) {
  Reader reader(GetParam());
  ASSERT_TRUE(reader.io);
  for (const milliseconds awake : {milliseconds(0), milliseconds(5)}) {
    const auto begun = steady_clock::now();
    reader.io->turn(milliseconds(10), awake);
    EXPECT_GE(steady_clock::now() - begun, milliseconds(10));
    EXPECT_EQ(reader.got, "");
  }
}

// One completion and all that came of it.
struct Waiter {
  Completion completion;
  std::vector<int> values;
  std::string got;
  bool more = false, filled = false;
  Waiter() { completion.arm<&Waiter::on_done>(*this); }
  void on_done(const IoResult& result) {
    values.push_back(result.value);
    got.append(result.data.begin(), result.data.end());
    more = result.more;
    filled = result.filled;
  }
};

std::span<const std::uint8_t> bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// Two connected TCP sockets of ours on loopback, and a listener, all of which a test uses as it likes.
class Sockets : public ShardIoTest {
 protected:
  void SetUp() override {
    io_ = made(GetParam());
    ASSERT_TRUE(io_);
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0);
    ASSERT_EQ(::listen(listener_, 64), 0);
    socklen_t length = sizeof address_;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address_), &length);
  }
  void TearDown() override {
    io_.reset();
    for (const int fd : plain_) ::close(fd);
    ::close(listener_);
  }
  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&address_); }
  // A client's blocking socket; it is closed at the end.
  int client() {
    plain_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(plain_.back(), address(), sizeof address_), 0);
    return plain_.back();
  }
  // Until `enough`, or a test has failed that waited for long.
  template <class Enough>
  void turns(Enough enough) {
    const auto until = steady_clock::now() + std::chrono::seconds(60);
    while (!enough()) {
      io_->turn(milliseconds(100));
      ASSERT_LT(steady_clock::now(), until);
    }
  }
  // A socket of ours, accepted, and its client.
  std::pair<Socket, int> accepted() {
    const int peer = client();
    Waiter waiter;
    sockaddr_storage from{};
    socklen_t length = 0;
    io_->accept(Socket(listener_), false, from, length, waiter.completion);
    turns([&] { return !waiter.values.empty(); });
    EXPECT_GE(waiter.values.front(), 0);
    EXPECT_EQ(from.ss_family, AF_INET);
    return {io_->accepted({.value = waiter.values.front()}, false), peer};
  }

  std::unique_ptr<ShardIo> io_;
  sockaddr_in address_{};
  int listener_ = -1;
  std::vector<int> plain_;
};

TEST_P(Sockets, SeveralAcceptsTakeAConnectionEach) {
  std::vector<Waiter> waiters(4);
  std::vector<sockaddr_storage> from(4);
  std::vector<socklen_t> lengths(4);
  for (std::size_t i = 0; i < waiters.size(); ++i) {
    io_->accept(Socket(listener_), false, from[i], lengths[i], waiters[i].completion);
  }
  io_->turn(milliseconds(0));
  for (int i = 0; i < 3; ++i) client();
  const auto taken = [&] {
    return std::count_if(waiters.begin(), waiters.end(), [](const Waiter& each) { return !each.values.empty(); });
  };
  turns([&] { return taken() == 3; });
  for (Waiter& each : waiters) {
    for (const int fd : each.values) io_->close(io_->accepted({.value = fd}, false));
    io_->cancel(each.completion);
  }
  turns([&] { return taken() == 4; });
  EXPECT_EQ(std::count_if(waiters.begin(), waiters.end(),
                          [](const Waiter& each) { return each.values == std::vector{-ECANCELED}; }),
            1);
  for (const Waiter& each : waiters) EXPECT_FALSE(each.completion.submitted());
}

TEST_P(Sockets, AReceiveHasWhatCame) {
  auto [socket, peer] = accepted();
  Waiter once;
  io_->recv(socket, Reading::Once, once.completion);
  io_->turn(milliseconds(0));
  EXPECT_TRUE(once.values.empty());
  ASSERT_EQ(::write(peer, "hello", 5), 5);
  turns([&] { return !once.values.empty(); });
  EXPECT_EQ(once.got, "hello");
  EXPECT_FALSE(once.completion.submitted());
  // Much more than one buffer: each receive has a part of it, none is lost.
  const std::string much(300'000, 'x');
  std::thread writer([&, to = peer] { EXPECT_EQ(::write(to, much.data(), much.size()), 300'000); });
  for (const Reading reading : {Reading::Large, Reading::Whole, Reading::Once, Reading::Multishot}) {
    Waiter part;
    io_->recv(socket, reading, part.completion);
    turns([&] { return !part.values.empty(); });

    EXPECT_LE(part.values.front(), reading == Reading::Once ? 2048 : 128 * 1024);
    io_->cancel(part.completion);
    turns([&] { return !part.completion.submitted(); });
    once.got += part.got;
  }
  Waiter rest;
  io_->recv(socket, Reading::Multishot, rest.completion);
  turns([&, socket = socket] {
    if (!rest.completion.submitted()) io_->recv(socket, Reading::Multishot, rest.completion);
    return once.got.size() + rest.got.size() >= 300'005;
  });
  writer.join();
  EXPECT_EQ(once.got + rest.got, "hello" + much);
  io_->cancel(rest.completion);
  turns([&] { return !rest.completion.submitted(); });
  io_->close(socket);
}

// The peer's last bytes and its end may come before they are read, together or after each other.
TEST_P(Sockets, TheEndComesAfterTheLastByte) {
  for (const bool multishot : {false, true}) {
    for (const int pause_ms : {0, 20}) {
      auto [socket, peer] = accepted();
      Waiter waiter;
      const Reading reading = multishot ? Reading::Multishot : Reading::Once;
      io_->recv(socket, reading, waiter.completion);
      io_->turn(milliseconds(0));
      ASSERT_EQ(::write(peer, "last", 4), 4);
      if (pause_ms > 0) io_->turn(milliseconds(pause_ms));
      ::shutdown(peer, SHUT_WR);
      turns([&, socket = socket] {
        if (!waiter.completion.submitted()) io_->recv(socket, reading, waiter.completion);
        return !waiter.values.empty() && waiter.values.back() == 0;
      });
      EXPECT_EQ(waiter.got, "last");
      io_->cancel(waiter.completion);
      turns([&] { return !waiter.completion.submitted(); });
      io_->close(socket);
    }
  }
}

TEST_P(Sockets, AResetIsAnError) {
  auto [socket, peer] = accepted();
  Waiter waiter;
  io_->recv(socket, Reading::Once, waiter.completion);
  io_->turn(milliseconds(0));
  const linger reset{1, 0};
  ::setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  plain_.clear();
  ::close(peer);
  turns([&] { return !waiter.values.empty(); });
  EXPECT_EQ(waiter.values, std::vector{-ECONNRESET});
  Waiter sent;
  io_->send(socket, bytes("more"), Behind::Others, sent.completion);
  turns([&] { return !sent.values.empty(); });
  EXPECT_EQ(sent.values, std::vector{-EPIPE}) << "and no signal";
  io_->close(socket);
}

// What does not fit waits for room; what is said of it is what was taken.
TEST_P(Sockets, ASendWaitsForItsPeer) {
  auto [socket, peer] = accepted();
  const std::string piece(1'000'000, 'y');
  std::size_t sent = 0, given = 0;
  Waiter waiter;
  for (int stalled = 0; stalled < 3;) {
    io_->send(socket, bytes(piece), Behind::Others, waiter.completion);
    ++given;
    for (int i = 0; i < 3 && waiter.completion.submitted(); ++i) io_->turn(milliseconds(10));
    if (waiter.completion.submitted()) break;
    sent += static_cast<std::size_t>(waiter.values.back());
    ASSERT_LT(given, 1000U);
  }
  ASSERT_TRUE(waiter.completion.submitted()) << "its peer reads nothing";
  EXPECT_GT(io_->unsent(socket), 0U);
  std::string got(64 * 1024, 0);
  std::size_t read = 0;
  while (waiter.completion.submitted()) {
    const ssize_t n = ::recv(peer, got.data(), got.size(), MSG_DONTWAIT);
    if (n > 0) read += static_cast<std::size_t>(n);
    io_->turn(milliseconds(1));
  }
  sent += static_cast<std::size_t>(waiter.values.back());
  io_->end_sending(socket);
  for (ssize_t n = 1; n > 0;) {
    n = ::recv(peer, got.data(), got.size(), 0);
    ASSERT_GE(n, 0);
    read += static_cast<std::size_t>(n);
  }
  EXPECT_EQ(read, sent);
  turns([&, socket = socket] { return io_->unsent(socket) == 0; });
  io_->close(socket);
}

TEST_P(Sockets, WhatIsSubmittedIsSentAtOnce) {
  auto [socket, peer] = accepted();
  Waiter waiter;
  io_->send(socket, bytes("now"), Behind::Others, waiter.completion);
  io_->submit();
  char got[8];
  EXPECT_EQ(::recv(peer, got, sizeof got, 0), 3);
  EXPECT_TRUE(waiter.values.empty()) << "completions run in a turn alone";
  turns([&] { return !waiter.values.empty(); });
  EXPECT_EQ(waiter.values, std::vector{3});
  io_->close(socket);
}

// One segment has both: the peer is woken once.
TEST_P(Sockets, TheLastBytesWaitForTheEndBehindThem) {
  auto [socket, peer] = accepted();
  Waiter waiter;
  io_->send(socket, bytes("bye"), Behind::TheEnd, waiter.completion);
  turns([&] { return !waiter.values.empty(); });
  EXPECT_EQ(waiter.values, std::vector{3});
  char got[8];
  EXPECT_LT(::recv(peer, got, sizeof got, MSG_DONTWAIT), 0) << "they are kept back";
  io_->end_sending(socket);
  io_->turn(milliseconds(0));
  EXPECT_EQ(::recv(peer, got, sizeof got, 0), 3);
  EXPECT_EQ(::recv(peer, got, sizeof got, 0), 0);
  io_->close(socket);
}

TEST_P(Sockets, AConnectionIsMadeOrRefused) {
  Socket socket = io_->open(AF_INET);
  ASSERT_TRUE(socket.valid());
  Waiter waiter;
  io_->connect(socket, address(), sizeof address_, waiter.completion);
  turns([&] { return !waiter.values.empty(); });
  EXPECT_EQ(waiter.values, std::vector{0});
  Waiter sent;
  io_->send(socket, bytes("hello"), Behind::Others, sent.completion);
  turns([&] { return !sent.values.empty(); });
  EXPECT_EQ(sent.values, std::vector{5});
  io_->close(socket);
  ::shutdown(listener_, SHUT_RDWR);  // nobody listens there any more
  socket = io_->open(AF_INET);
  Waiter refused;
  io_->connect(socket, address(), sizeof address_, refused.completion);
  turns([&] { return !refused.values.empty(); });
  EXPECT_EQ(refused.values, std::vector{-ECONNREFUSED});
  io_->close(socket);
}

// A unix socket's queue that is full is no refusal: who connects waits.
TEST_P(Sockets, AFullQueueOfAUnixSocketIsWaitedFor) {
  const int listening = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  const std::string path =
      testing::TempDir() + "full-queue-" + std::to_string(::getpid()) + (GetParam() == Kind::Ring ? "-ring" : "-epoll");
  path.copy(where.sun_path, sizeof where.sun_path - 1);
  ::unlink(path.c_str());
  ASSERT_EQ(::bind(listening, reinterpret_cast<sockaddr*>(&where), sizeof where), 0);
  ASSERT_EQ(::listen(listening, 0), 0);
  constexpr std::size_t kMany = 5;
  std::vector<Waiter> waiters(kMany);
  std::vector<Socket> sockets;
  for (Waiter& each : waiters) {
    sockets.push_back(io_->open(AF_UNIX));
    io_->connect(sockets.back(), reinterpret_cast<const sockaddr*>(&where), sizeof where, each.completion);
  }
  io_->turn(milliseconds(30));
  std::thread accepts([&] {
    for (std::size_t i = 0; i < kMany - 1; ++i) plain_.push_back(::accept(listening, nullptr, nullptr));
  });
  const auto done = [&] {
    return std::count_if(waiters.begin(), waiters.end(), [](const Waiter& each) { return !each.values.empty(); });
  };
  turns([&] { return done() == kMany; });
  accepts.join();
  for (std::size_t i = 0; i < kMany; ++i) {
    EXPECT_EQ(waiters[i].values, std::vector{0}) << i;
    io_->close(sockets[i]);
  }
  ::close(listening);
  ::unlink(path.c_str());
}

// 192.0.2.0/24 is nobody's (RFC 5737). Where there is no way to it that is said at once.
TEST_P(Sockets, AConnectionThatTakesLongIsCancelled) {
  sockaddr_in nobody{};
  nobody.sin_family = AF_INET;
  nobody.sin_port = htons(9);
  nobody.sin_addr.s_addr = htonl(0xC0000201);
  const Socket socket = io_->open(AF_INET);
  Waiter waiter;
  io_->connect(socket, reinterpret_cast<const sockaddr*>(&nobody), sizeof nobody, waiter.completion);
  io_->turn(milliseconds(50));
  io_->cancel(waiter.completion);
  turns([&] { return !waiter.completion.submitted(); });
  ASSERT_EQ(waiter.values.size(), 1U);
  EXPECT_LT(waiter.values.front(), 0);
  io_->close(socket);
}

TEST_P(Sockets, ACancelledReceiveEndsOnce) {
  auto [socket, peer] = accepted();
  for (const Reading reading : {Reading::Once, Reading::Multishot}) {
    Waiter waiter;
    io_->recv(socket, reading, waiter.completion);
    io_->turn(milliseconds(0));
    io_->cancel(waiter.completion);
    io_->cancel(waiter.completion);
    EXPECT_TRUE(waiter.values.empty()) << "completions run in a turn alone";
    turns([&] { return !waiter.completion.submitted(); });
    io_->turn(milliseconds(5));
    EXPECT_EQ(waiter.values, std::vector{-ECANCELED});
  }
  // Nothing is lost by it: what comes later is the next one's.
  ASSERT_EQ(::write(peer, "later", 5), 5);
  Waiter next;
  io_->recv(socket, Reading::Once, next.completion);
  turns([&] { return !next.values.empty(); });
  EXPECT_EQ(next.got, "later");
  io_->close(socket);
}

TEST_P(Sockets, AnAbortIsAReset) {
  auto [socket, peer] = accepted();
  io_->abort(socket);
  io_->turn(milliseconds(0));
  char got[8];
  EXPECT_EQ(::recv(peer, got, sizeof got, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

// A descriptor's number is another socket's at once: what the last one was told does not stick to it.
TEST_P(Sockets, ANumberThatIsUsedAgainBeginsAnew) {
  for (int i = 0; i < 200; ++i) {
    auto [socket, peer] = accepted();
    Waiter waiter;
    io_->recv(socket, Reading::Once, waiter.completion);
    const std::string said = std::to_string(i);
    ASSERT_EQ(::write(peer, said.data(), said.size()), static_cast<ssize_t>(said.size()));
    if (i % 3 == 0) ::shutdown(peer, SHUT_WR);
    turns([&] { return !waiter.values.empty(); });
    ASSERT_EQ(waiter.got, said);
    io_->close(socket);
    ::close(peer);
    plain_.clear();
  }
}

TEST_P(Sockets, AnEventIsReadAgainAndAgain) {
  const int event = ::eventfd(0, EFD_CLOEXEC);
  std::uint64_t count = 0;
  Waiter waiter;
  io_->read_event(event, count, waiter.completion);
  io_->turn(milliseconds(0));
  EXPECT_TRUE(waiter.values.empty());
  for (std::size_t i = 1; i <= 5; ++i) {
    ASSERT_EQ(::eventfd_write(event, i), 0);
    turns([&] { return waiter.values.size() == i; });
    EXPECT_EQ(count, i);
    if (i % 2 == 0) {  // before it is asked for again
      ASSERT_EQ(::eventfd_write(event, 40), 0);
    }
    io_->read_event(event, count, waiter.completion);
    if (i % 2 != 0) continue;
    turns([&] { return waiter.values.size() == i + 1; });
    EXPECT_EQ(count, 40U);
    waiter.values.pop_back();
    io_->read_event(event, count, waiter.completion);
  }
  io_.reset();
  ::close(event);
}

constexpr auto kName = [](const testing::TestParamInfo<Kind>& info) {
  return info.param == Kind::Ring ? "Ring" : "Epoll";
};
INSTANTIATE_TEST_SUITE_P(Kinds, ShardIoTest, testing::Values(Kind::Ring, Kind::Epoll), kName);
INSTANTIATE_TEST_SUITE_P(Kinds, Sockets, testing::Values(Kind::Ring, Kind::Epoll), kName);

}  // namespace
}  // namespace sallyport
