// What systemd is told, over a socket of the test's own; and when the watchdog is fed.
#include "admin/operations/systemd.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <ctime>
#include <filesystem>

#include "admin/operations/shard_watch.h"
#include "cache/base/log.h"

namespace sallyport {
namespace {

using namespace std::chrono_literals;

// What systemd is: a datagram socket with this name, @ for an abstract one.
class Listening {
 public:
  explicit Listening(std::string name) : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(name.begin(), name.end(), address.sun_path);
    if (name.front() == '@') address.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), length), 0) << name;
  }
  ~Listening() { ::close(fd_); }
  std::string heard() {
    std::array<char, 512> text{};
    const ssize_t length = ::recv(fd_, text.data(), text.size(), 0);
    return length < 0 ? "" : std::string(text.data(), static_cast<std::size_t>(length));
  }

 private:
  int fd_;
};

struct SystemdTells : ::testing::TestWithParam<bool> {
  const std::string name = (GetParam() ? "@sallyport-test-" : "/tmp/sallyport-test-") + std::to_string(::getpid());
  void TearDown() override { std::filesystem::remove(name); }
};

TEST_P(SystemdTells, EachChangeInOneDatagram) {
  Listening systemd(name);
  const Systemd tells(name, true);
  tells.ready("serving");
  EXPECT_EQ(systemd.heard(), "READY=1\nSTATUS=serving");
  tells.stopping("draining", 55s);
  EXPECT_EQ(systemd.heard(), "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=55000000");
  tells.main_is(4711);
  EXPECT_EQ(systemd.heard(), "MAINPID=4711");
  tells.feed_watchdog();
  EXPECT_EQ(systemd.heard(), "WATCHDOG=1");
  EXPECT_EQ(systemd.heard(), "");
}

// systemd takes READY for the answer only where the time of RELOADING is not before its own request.
TEST_P(SystemdTells, AReloadCarriesTheTimeOfSystemdsClock) {
  Listening systemd(name);
  const auto now_us = [] {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000 + now.tv_nsec / 1'000;
  };
  const auto before = now_us();
  Systemd(name, false).reloading();
  const std::string heard = systemd.heard();
  const std::string_view head = "RELOADING=1\nMONOTONIC_USEC=";
  ASSERT_EQ(heard.substr(0, head.size()), head);
  const long long said = std::stoll(heard.substr(head.size()));
  EXPECT_GE(said, before);
  EXPECT_LE(said, now_us());
}

TEST_P(SystemdTells, AWatchdogThatIsNotThereIsNotFed) {
  Listening systemd(name);
  Systemd(name, false).feed_watchdog();
  EXPECT_EQ(systemd.heard(), "");
}

INSTANTIATE_TEST_SUITE_P(PathAndAbstract, SystemdTells, ::testing::Bool());

TEST(Systemd, WithoutASocketThatCanBeNothingIsSent) {
  for (const std::string& socket : {std::string(), std::string("vsock:2:1"), "/" + std::string(200, 'x')}) {
    Systemd(socket, true).ready("serving");
  }
}

struct Watching : ::testing::Test {
  Log log{Level::Error, LogFormat::Text};
  ShardWatch watch{log.logger()};
  std::vector<ShardInfo> shards = std::vector<ShardInfo>(2);
  ShardWatch::Time now{};
  bool look(std::uint64_t first, std::uint64_t second, std::chrono::milliseconds later = 1'000ms) {
    now += later;
    shards[0].turned_us += first;
    shards[1].turned_us += second;
    return watch.all_turn(shards, now);
  }
};

TEST_F(Watching, OneShardThatStandsStillIsEnough) {
  EXPECT_TRUE(look(5, 5));
  EXPECT_TRUE(look(1, 1'000'000));
  EXPECT_FALSE(look(0, 5));
  EXPECT_FALSE(look(5, 0));
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(look(5, 0)) << i;
  EXPECT_TRUE(look(5, 5));
}

// Signals wake the main thread earlier than every second: in so short a time a shard need not have turned.
TEST_F(Watching, LooksThatFollowEachOtherClosely) {
  EXPECT_TRUE(look(5, 5));
  for (int i = 0; i < 8; ++i) EXPECT_FALSE(look(1, 0, 100ms)) << "not due yet";
  EXPECT_TRUE(look(0, 1, 100ms)) << "both have turned since the last look that was due";
}

TEST_F(Watching, AShardThatHasEndedIsNotMissed) {
  EXPECT_TRUE(look(5, 5));
  shards[1].ended = true;
  EXPECT_TRUE(look(5, 0));
  EXPECT_FALSE(look(0, 0));
}

}  // namespace
}  // namespace sallyport
