// The log: one line an event whatever the values hold, JSON that parses, and nobody waits for a stalled
// output.
#include "cache/base/log.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "cache/base/text.h"
#include "tests/eventually.h"

namespace sallyport {
namespace {

using namespace std::string_literals;

// What a log with these lines writes.
std::string written(LogFormat format, const std::function<void(Logger&)>& lines, Level level = Level::Info) {
  int pipe_fds[2];
  EXPECT_EQ(::pipe(pipe_fds), 0);
  {
    Log log(level, format, pipe_fds[1]);
    lines(log.logger());
  }
  ::close(pipe_fds[1]);
  std::string all;
  char chunk[4096];
  for (ssize_t n = 0; (n = ::read(pipe_fds[0], chunk, sizeof chunk)) > 0;)
    all.append(chunk, static_cast<std::size_t>(n));
  ::close(pipe_fds[0]);
  return all;
}

TEST(Log, AValueCannotForgeALine) {
  for (const LogFormat format : {LogFormat::Text, LogFormat::Json}) {
    const std::string text = written(format, [](Logger& log) {
      log.info("rejected", {{"subject", "CN = a\nrejected reason=none"}, {"peer", "x\r\x1b[2J\0y"s}, {"n", -5}});
    });
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    for (const char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << text;
  }
}

TEST(Log, TextQuotesWhatHasSpacesAndEqualsSigns) {
  const std::string text = written(LogFormat::Text, [](Logger& log) {
    log.info("event", {{"plain", "abc"}, {"spaced", "a b"}, {"empty", ""}, {"quote", "a\"b"}, {"number", 42}});
  });
  EXPECT_NE(text.find(" info event plain=abc spaced=\"a b\" empty=\"\" quote=\"a\\\"b\" number=42\n"),
            std::string::npos)
      << text;
  EXPECT_EQ(text[10], 'T');
}

// systemd names the descriptor; a log that is written elsewhere has nothing before its lines.
TEST(Log, TheJournalGetsPriorities) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  struct stat about {};
  ASSERT_EQ(::fstat(pipe_fds[1], &about), 0);
  const std::string journal = std::to_string(about.st_dev) + ":" + std::to_string(about.st_ino);
  std::string text;
  for (const std::string& named : {journal, journal + "0"}) {
    ASSERT_EQ(::setenv("JOURNAL_STREAM", named.c_str(), 1), 0);
    Log log(Level::Debug, LogFormat::Text, pipe_fds[1]);
    Logger& out = log.logger();
    out.debug("a"), out.info("b"), out.warn("c"), out.error("d");
  }
  ::unsetenv("JOURNAL_STREAM");
  ::close(pipe_fds[1]);
  char chunk[4096];
  for (ssize_t n = 0; (n = ::read(pipe_fds[0], chunk, sizeof chunk)) > 0;)
    text.append(chunk, static_cast<std::size_t>(n));
  ::close(pipe_fds[0]);
  std::string starts;
  for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) starts += text.substr(at, 3);
  EXPECT_EQ(starts, "<7><6><4><3>202202202202") << text;
}

TEST(Log, JsonIsOneObject) {
  const std::string text = written(LogFormat::Json, [](Logger& log) {
    log.warn("event", {{"k", "a\"\\\n\xff"}, {"n", 1}});
  });
  EXPECT_NE(text.find("\"level\":\"warning\",\"event\":\"event\",\"k\":\"a\\\"\\\\\\u000a\xEF\xBF\xBD\",\"n\":1}\n"),
            std::string::npos)
      << text;
}

TEST(Log, LevelsBelowAreNotWritten) {
  const std::string text = written(
      LogFormat::Text,
      [](Logger& log) {
        log.info("not this");
        log.error("this");
      },
      Level::Warn);
  EXPECT_EQ(text.find("not this"), std::string::npos);
  EXPECT_NE(text.find("this"), std::string::npos);
}

// Whatever a million sessions say, the line that says what is wrong finds room.
TEST(Log, AFloodOfLinesLeavesRoomForAWarning) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  {
    Log log(Level::Info, LogFormat::Text, pipe_fds[1]);
    Logger& logger = log.logger();
    const std::string long_value(2000, 'x');
    for (int i = 0; i < 5'000; ++i) logger.info("flood", {{"value", long_value}});
    const std::uint64_t dropped = log.dropped();
    EXPECT_GT(dropped, 0U);
    for (int i = 0; i < 100; ++i) logger.warn("trouble", {{"number", i}});
    EXPECT_EQ(log.dropped(), dropped);
    for (int i = 0; i < 1'000; ++i) logger.warn("trouble", {{"number", i}});
    EXPECT_GT(log.dropped(), dropped) << "bounded all the same";
  }
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

TEST(Log, AStalledOutputStopsNobodyAndDropsAreCounted) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  {
    Log log(Level::Info, LogFormat::Text, pipe_fds[1]);
    Logger& logger = log.logger();
    const std::string long_value(200, 'x');
    for (int i = 0; i < 20'000; ++i) logger.info("flood", {{"value", long_value}});
    EXPECT_GT(log.dropped(), 10'000U);
  }
  // Nobody has read a byte, and we are here: neither a line nor the end waits for the output.
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

// What a value of 57 KB once took stays with nobody: neither as a line, nor as the memory of a slot.
TEST(Log, ALongValueIsCutAndLeavesNoMemoryBehind) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  std::size_t longest = 0, lines = 0;
  std::thread reader([&] {
    std::string line;
    char chunk[65536];
    for (ssize_t n = 0; (n = ::read(pipe_fds[0], chunk, sizeof chunk)) > 0;) {
      for (const char c : std::string_view(chunk, static_cast<std::size_t>(n))) {
        if (c != '\n') {
          line += c;
          continue;
        }
        longest = std::max(longest, line.size());
        lines += line.find("flood") != std::string::npos ? 1 : 0;
        line.clear();
      }
    }
  });
  {
    Log log(Level::Info, LogFormat::Text, pipe_fds[1]);
    Logger& logger = log.logger();
    const std::size_t before = ::mallinfo2().uordblks;
    const std::string long_value(57'000, 'x');
    for (int i = 0; i < 3'000; ++i) logger.info("flood", {{"value", long_value}});
    // Within a second or so the writer has taken them all, and says so by taking one more.
    EXPECT_TRUE(eventually([&] {
      const std::uint64_t dropped = log.dropped();
      logger.info("short");
      return log.dropped() == dropped && ::mallinfo2().uordblks < before + 1'500'000;
    })) << "1,024 slots keep what a long line took: "
        << ::mallinfo2().uordblks - before;
  }
  ::close(pipe_fds[1]);
  reader.join();
  ::close(pipe_fds[0]);
  EXPECT_GT(lines, 1'000U);
  EXPECT_LT(longest, 5'000U);
}

TEST(Text, WhatIsCutSaysSoAndHoldsNoHalfCharacter) {
  EXPECT_EQ(shortened(std::string(256, 'x')), std::string(256, 'x'));
  EXPECT_EQ(shortened(std::string(257, 'x')), std::string(253, 'x') + "…");
  EXPECT_EQ(kept_of(std::string(256, 'x')), std::string(256, 'x'));
  EXPECT_EQ(kept_of(std::string(15'000, 'x')), std::string(257, 'x') + "…");
  const std::string smile = "\xF0\x9F\x98\x80";
  for (std::size_t before = 245; before < 262; ++before) {
    std::string text(before, 'x');
    for (int i = 0; i < 10; ++i) text += smile;
    for (const std::string& made : {shortened(text), kept_of(text)}) {
      for (std::string_view rest = made; !rest.empty(); rest.remove_prefix(utf8_sequence(rest))) {
        ASSERT_GT(utf8_sequence(rest), 0U) << before;
      }
    }
    EXPECT_LE(shortened(text).size(), kPeerText);
    EXPECT_GT(kept_of(text).size(), kPeerText) << "what was cut is never taken for a whole text of a good length";
  }
  EXPECT_EQ(shortened(std::string(1'000, '\x80')).size(), kPeerText) << "no UTF-8 at all";
}

// Whatever ends a line, moves a cursor or turns the order of text round is shown as its bytes.
TEST(Text, NothingSteersWhoReadsIt) {
  const auto utf8 = [](std::uint32_t point) {
    if (point < 0x80) return std::string(1, static_cast<char>(point));
    if (point < 0x800) {
      return std::string{static_cast<char>(0xC0 | point >> 6), static_cast<char>(0x80 | (point & 0x3F))};
    }
    return std::string{static_cast<char>(0xE0 | point >> 12), static_cast<char>(0x80 | (point >> 6 & 0x3F)),
                       static_cast<char>(0x80 | (point & 0x3F))};
  };
  std::vector<std::uint32_t> steering = {0x61C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF, 0x7F};
  for (std::uint32_t point = 0; point < 0x20; ++point) steering.push_back(point);
  for (std::uint32_t point = 0x80; point < 0xA0; ++point) steering.push_back(point);
  for (std::uint32_t point = 0x202A; point <= 0x202E; ++point) steering.push_back(point);
  for (std::uint32_t point = 0x2066; point <= 0x2069; ++point) steering.push_back(point);
  for (const std::uint32_t point : steering) {
    const std::string raw = "a" + utf8(point) + "b";
    const std::string shown = escaped(raw);
    EXPECT_EQ(shown.substr(0, 3), "a\\x") << point;
    EXPECT_EQ(shown.find(utf8(point)), std::string::npos) << point;
    std::string json;
    append_json_escaped(json, raw);
    EXPECT_EQ(json.substr(0, 3), "a\\u") << point;
    if (point < 0x7F) continue;
    EXPECT_EQ(steering_escaped("{\"k\": \"" + raw + "\"}"), "{\"k\": \"" + json + "\"}") << point;
  }
  EXPECT_EQ(steering_escaped("{\n \"k\": \"Zähler 世 \xF0\x9F\x98\x80 \xFF\"\n}"),
            "{\n \"k\": \"Zähler 世 \xF0\x9F\x98\x80 \xFF\"\n}");
}

TEST(Text, Utf8IsJudgedAsTheStandardSays) {
  EXPECT_EQ(utf8_sequence("a"), 1U);
  EXPECT_EQ(utf8_sequence("\xC3\xA4"), 2U);
  EXPECT_EQ(utf8_sequence("\xF0\x9F\x98\x80"), 4U);
  for (const std::string& bad :
       {"\xC0\x80"s, "\xE0\x80\x80"s, "\xED\xA0\x80"s, "\xF4\x90\x80\x80"s, "\xFF"s, "\xC3"s, ""s}) {
    EXPECT_EQ(utf8_sequence(bad), 0U);
  }
  EXPECT_EQ(escaped("a\xE2\x80\xAE"
                    "b"),
            "a\\xe2\\x80\\xae"
            "b")
      << "text that reads backwards";
}

}  // namespace
}  // namespace sallyport
