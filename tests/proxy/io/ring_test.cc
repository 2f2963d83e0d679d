// The ring's waits against the real kernel.
#include "proxy/io/ring.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

namespace sallyport {
namespace {

using std::chrono::milliseconds, std::chrono::steady_clock;

// A socket that a ring reads, and its other end.
struct Reader {
  int ends[2] = {-1, -1};
  Completion completion;
  std::string got;
  std::unique_ptr<Ring> ring;

  Reader() {
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    auto made = Ring::create();
    EXPECT_TRUE(made) << made.error().what;
    if (!made) return;
    ring = std::move(*made);
    completion.arm<&Reader::on_recv>(*this);
    ring->recv(Socket(ends[0]), Reading::Multishot, completion);
    ring->turn(milliseconds(0));
  }
  ~Reader() {
    ring.reset();
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
  reader.ring->turn(milliseconds(60'000), awake);
  const long slept = sleeps() - before;
  writer.join();
  EXPECT_EQ(reader.got, "answer");
  EXPECT_GE(reader.ring->waited(), milliseconds(50));
  return slept > 0;
}

// A thread that waits for a page, or for the lock of the process's memory, is counted as asleep, too: that happens now
// and then where many threads run, so one time in twenty that it does not is enough.
TEST(RingTest, AwakeItTakesWhatArrivesWithoutHavingSlept) {
  bool slept = true;
  for (int i = 0; i < 20 && slept; ++i) {
    Reader reader;
    ASSERT_TRUE(reader.ring);
    slept = sleeps_until_arrival(reader, milliseconds(60'000));
  }
  EXPECT_FALSE(slept);
}

TEST(RingTest, AsleepItIsWokenByWhatArrives) {
  Reader reader;
  ASSERT_TRUE(reader.ring);
  EXPECT_TRUE(sleeps_until_arrival(reader, milliseconds(0)));
}

TEST(RingTest, AwakeForAWhileItFallsAsleepThen) {
  Reader reader;
  ASSERT_TRUE(reader.ring);
  EXPECT_TRUE(sleeps_until_arrival(reader, milliseconds(2)));
}

TEST(RingTest, ARestIsNotCutShort) {
  Reader reader;
  ASSERT_TRUE(reader.ring);
  Completion sent;
  struct Nothing {
    void on_sent(const IoResult&) {}
  } nothing;
  sent.arm<&Nothing::on_sent>(nothing);
  const std::string hello = "hello";
  reader.ring->send(Socket(reader.ends[0]), std::span(reinterpret_cast<const std::uint8_t*>(hello.data()), 5), sent);
  ASSERT_EQ(::write(reader.ends[1], "answer", 6), 6);
  const long before = sleeps();
  const auto begun = steady_clock::now();
  reader.ring->rest(milliseconds(20));
  EXPECT_GE(steady_clock::now() - begun, milliseconds(20));
  EXPECT_GE(sleeps() - before, 1);
  char got[8];
  EXPECT_EQ(::recv(reader.ends[1], got, sizeof got, MSG_DONTWAIT), 5) << "what was asked for is on its way";
  EXPECT_EQ(reader.got, "") << "for the next turn";
  reader.ring->turn(milliseconds(0));
  EXPECT_EQ(reader.got, "answer");
  EXPECT_GE(reader.ring->waited(), milliseconds(20));
  // It counts for that turn alone. A turn that does not wait may still be held up by others: of many not all are.
  std::chrono::microseconds least(milliseconds(20));
  for (int i = 0; i < 100; ++i) {
    reader.ring->turn(milliseconds(0));
    least = std::min(least, reader.ring->waited());
  }
  EXPECT_LT(least, milliseconds(20));
}

TEST(RingTest, AWaitHasAnEnd) {
  Reader reader;
  ASSERT_TRUE(reader.ring);
  for (const milliseconds awake : {milliseconds(0), milliseconds(5)}) {
    const auto begun = steady_clock::now();
    reader.ring->turn(milliseconds(10), awake);
    EXPECT_GE(steady_clock::now() - begun, milliseconds(10));
    EXPECT_EQ(reader.got, "");
  }
}

}  // namespace
}  // namespace sallyport
