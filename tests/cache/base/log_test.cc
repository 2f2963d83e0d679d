// The log: one line an event whatever the values hold, JSON that parses, and nobody waits for a stalled
// output.
#include "cache/base/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>

#include "cache/base/text.h"

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
