// The log. One writer thread owns the output; every producing thread has its own Logger, a bounded ring
// of finished lines, so that a stalled stdout stops nobody: a full ring drops the line and counts it.
// Lines are an event and fields, `key=value` text or one JSON object; values from outside are escaped,
// so no name in a certificate can forge a line. Into systemd's journal each goes with its priority. No key, token or
// payload is ever passed here.
#pragma once

#include <array>
#include <atomic>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

namespace sallyport {

enum class Level : std::uint8_t { Debug, Info, Warn, Error };
inline constexpr std::array<std::string_view, 4> kLevelNames = {"debug", "info", "warn",
                                                                "error"};  // as operators write
enum class LogFormat : std::uint8_t { Text, Json };

struct Field {
  std::string_view key;
  std::string_view text;
  std::int64_t number = 0;
  bool is_number = false;

  constexpr Field(std::string_view k, std::string_view v) : key(k), text(v) {}
  constexpr Field(std::string_view k, const char* v) : key(k), text(v) {}
  Field(std::string_view k, const std::string& v) : key(k), text(v) {}
  template <std::integral N>
  constexpr Field(std::string_view k, N v) : key(k), number(static_cast<std::int64_t>(v)), is_number(true) {}
};

// One producing thread's end. Calls are made by one thread at a time and never block.
class Logger {
 public:
  virtual ~Logger() = default;

  void debug(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::Debug, event, fields); }
  void info(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::Info, event, fields); }
  void warn(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::Warn, event, fields); }
  void error(std::string_view event, std::initializer_list<Field> fields = {}) { write(Level::Error, event, fields); }

  virtual void write(Level level, std::string_view event, std::initializer_list<Field> fields) = 0;
  // False: a line of this level goes nowhere, and its fields need not be made.
  virtual bool wants(Level /*level*/) const { return true; }
  // To whoever watches what happens (feed.h), and not to the log.
  virtual void tell(std::string_view /*event*/, std::initializer_list<Field> /*fields*/) {}
  virtual bool watched() const { return false; }
};

// Swallows everything: for tests and tools.
class NullLogger final : public Logger {
 public:
  void write(Level, std::string_view, std::initializer_list<Field>) override {}
  bool wants(Level) const override { return false; }
};

class Feed;

// Owns the rings and the writer thread. Loggers live as long as the Log.
class Log {
 public:
  // `feed`, which outlives it, gets every line from info on, whatever `level` is.
  Log(Level level, LogFormat format, int fd = 1, Feed* feed = nullptr);
  ~Log();  // writes what is queued, for at most one second
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  Logger& logger();                         // a new producer; any thread
  void set(Level level, LogFormat format);  // any thread
  void set_level(Level level);              // likewise
  Level level() const;
  std::uint64_t dropped() const;  // lines lost to full rings since the start

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sallyport
