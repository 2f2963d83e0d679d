#include "cache/base/log.h"

#include <poll.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "cache/base/feed.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

using Clock = spdlog::log_clock;

constexpr std::size_t kRingLines = 1024;  // a power of two
// The last places of a ring are for warnings and errors: sessions that begin and end by the thousand must not cost one.
constexpr std::size_t kForTrouble = kRingLines / 8;
// What a slot keeps of its memory for the next line: a producer's ring holds half a MB at most while lines are taken.
constexpr std::size_t kSlotKeeps = 512;
constexpr std::size_t kMostText = 4096;   // of one value: a path, a sentence; what a peer chose is shorter (text.h)
constexpr std::size_t kPipeChunk = 4096;  // PIPE_BUF: after POLLOUT a pipe takes this much without blocking
constexpr auto kLastWords = std::chrono::seconds(1);

struct Line {
  Clock::time_point at;
  Level level = Level::Info;
  std::string text;  // reused: its memory stays with the slot, where that is little
};

struct Shape {
  std::atomic<Level> level;
  std::atomic<LogFormat> format;
};

// A value as long as nobody means it to be is cut where that shows.
std::string_view cut(std::string_view text, std::string& room) {
  if (text.size() <= kMostText) return text;
  return room = shortened(text, kMostText);
}

void append_text_field(std::string& out, const Field& field) {
  out += ' ';
  out += field.key;
  out += '=';
  if (field.is_number) {
    out += std::to_string(field.number);
    return;
  }
  const bool plain = !field.text.empty() && field.text.find_first_of(" \"=\\") == std::string_view::npos;
  if (!plain) out += '"';
  std::string room;
  append_escaped(out, cut(field.text, room), true);
  if (!plain) out += '"';
}

void append_json_field(std::string& out, const Field& field) {
  out += ",\"";
  append_json_escaped(out, field.key);
  out += "\":";
  if (field.is_number) {
    out += std::to_string(field.number);
    return;
  }
  out += '"';
  std::string room;
  append_json_escaped(out, cut(field.text, room));
  out += '"';
}

// As spdlog writes it.
std::string_view word_of(Level level) {
  return level == Level::Warn ? "warning" : kLevelNames[static_cast<std::size_t>(level)];
}

// One producer, one consumer: `head_` is the producer's, `tail_` the writer's.
class RingLogger final : public Logger {
 public:
  RingLogger(const Shape& shape, std::atomic<std::uint32_t>& bell, Feed::Inlet* inlet)
      : shape_(shape), bell_(bell), inlet_(inlet), ring_(kRingLines) {}

  void write(Level level, std::string_view event, std::initializer_list<Field> fields) override {
    if (level >= Level::Info && watched()) feed(level, event, fields);
    if (level < shape_.level.load(std::memory_order_relaxed)) return;
    const std::size_t head = head_.load(std::memory_order_relaxed);
    const std::size_t most = level >= Level::Warn ? kRingLines : kRingLines - kForTrouble;
    if (head - tail_.load(std::memory_order_acquire) >= most) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    Line& line = ring_[head % kRingLines];
    line.at = Clock::now();
    line.level = level;
    made_.clear();
    if (shape_.format.load(std::memory_order_relaxed) == LogFormat::Json) {
      make_json(event, fields);
    } else {
      append_escaped(made_, event, false);
      for (const Field& field : fields) append_text_field(made_, field);
    }
    line.text.assign(made_);
    head_.store(head + 1, std::memory_order_release);
    bell_.fetch_add(1, std::memory_order_release);
    bell_.notify_one();
  }

  bool wants(Level level) const override {
    return level >= shape_.level.load(std::memory_order_relaxed) || (level >= Level::Info && watched());
  }
  void tell(std::string_view event, std::initializer_list<Field> fields) override {
    if (watched()) feed(Level::Info, event, fields);
  }
  bool watched() const override { return inlet_ != nullptr && inlet_->watched(); }

  // The writer's end.
  Line* oldest() {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    return tail == head_.load(std::memory_order_acquire) ? nullptr : &ring_[tail % kRingLines];
  }
  void pop() {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    std::string& text = ring_[tail % kRingLines].text;
    if (text.capacity() > kSlotKeeps) std::string().swap(text);
    tail_.store(tail + 1, std::memory_order_release);
  }
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  void make_json(std::string_view event, std::initializer_list<Field> fields) {
    made_ += "\"event\":\"";
    append_json_escaped(made_, event);
    made_ += '"';
    for (const Field& field : fields) append_json_field(made_, field);
  }
  void feed(Level level, std::string_view event, std::initializer_list<Field> fields) {
    made_ = "{\"time\":\"" + utc_ms(Clock::now()) + "\",\"level\":\"" + std::string(word_of(level)) + "\",";
    make_json(event, fields);
    made_ += '}';
    inlet_->put(made_);
  }

  const Shape& shape_;
  std::atomic<std::uint32_t>& bell_;
  Feed::Inlet* const inlet_;  // null: nobody can watch
  std::vector<Line> ring_;
  std::string made_;  // the producer's: a line grows here, and takes no more room in the ring than it needs
  std::atomic<std::size_t> head_{0}, tail_{0};
  std::atomic<std::uint64_t> dropped_{0};
};

// systemd.exec(5), JOURNAL_STREAM: whether this descriptor leads to the journal.
bool is_journal(int fd) {
  const char* const named = std::getenv("JOURNAL_STREAM");
  struct stat about {};
  return named != nullptr && ::fstat(fd, &about) == 0 &&
         named == std::to_string(about.st_dev) + ":" + std::to_string(about.st_ino);
}

// sd-daemon(3): the level of syslog before a line, which the journal takes off again.
char priority_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::err: return '3';
    case spdlog::level::warn: return '4';
    case spdlog::level::debug: return '7';
    default: return '6';
  }
}

// Writes to a descriptor that may stall: waits in poll(2), so that the end of the process is not held up.
class FdSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  FdSink(int fd, const std::atomic<bool>& stop) : fd_(fd), stop_(stop), journal_(is_journal(fd)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    if (journal_) {
      const std::array<char, 3> priority = {'<', priority_of(message.level), '>'};
      line.append(priority.data(), priority.data() + priority.size());
    }
    formatter_->format(message, line);
    std::size_t written = 0;
    while (written < line.size()) {
      if (!writable()) return;
      const ssize_t n = ::write(fd_, line.data() + written, std::min(kPipeChunk, line.size() - written));
      if (n < 0 && errno != EINTR && errno != EAGAIN) return;  // nobody reads: a log has nowhere to complain
      if (n > 0) written += static_cast<std::size_t>(n);
    }
  }
  void flush_() override {}

 private:
  bool writable() {
    while (!gave_up_) {
      pollfd poll_fd{fd_, POLLOUT, 0};
      if (::poll(&poll_fd, 1, 100) > 0) return true;
      if (!stop_.load(std::memory_order_relaxed)) continue;
      const auto now = std::chrono::steady_clock::now();
      if (last_words_ == std::chrono::steady_clock::time_point{}) last_words_ = now + kLastWords;
      gave_up_ = now > last_words_;
    }
    return false;
  }

  int fd_;
  const std::atomic<bool>& stop_;
  const bool journal_;
  std::chrono::steady_clock::time_point last_words_{};
  bool gave_up_ = false;
};

spdlog::level::level_enum spd_level(Level level) {
  switch (level) {
    case Level::Debug: return spdlog::level::debug;
    case Level::Info: return spdlog::level::info;
    case Level::Warn: return spdlog::level::warn;
    case Level::Error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

class Log::Impl {
 public:
  Impl(Level level, LogFormat format, int fd, Feed* feed) : feed_(feed) {
    shape_.level = level;
    shape_.format = format;
    auto sink = std::make_shared<FdSink>(fd, stop_);
    writer_ = std::make_unique<spdlog::logger>("sallyport", std::move(sink));
    writer_->set_level(spdlog::level::trace);
    thread_ = std::thread([this] { run(); });
  }

  ~Impl() {
    stop_ = true;
    bell_.fetch_add(1);
    bell_.notify_one();
    thread_.join();
  }

  Logger& logger() {
    const std::lock_guard lock(mutex_);
    loggers_.push_back(std::make_unique<RingLogger>(shape_, bell_, feed_ == nullptr ? nullptr : &feed_->inlet()));
    return *loggers_.back();
  }

  void set(Level level, LogFormat format) {
    shape_.level = level;
    shape_.format = format;
  }

  void set_level(Level level) { shape_.level = level; }
  Level level() const { return shape_.level; }

  std::uint64_t dropped() const {
    const std::lock_guard lock(mutex_);
    std::uint64_t sum = 0;
    for (const auto& logger : loggers_) sum += logger->dropped();
    return sum;
  }

 private:
  void run() {
    for (;;) {
      const std::uint32_t heard = bell_.load(std::memory_order_acquire);
      const bool last = stop_.load();
      while (write_round()) {
      }
      if (last) return;
      bell_.wait(heard, std::memory_order_acquire);
    }
  }

  // At most one line of every producer, oldest rings first: no shard's flood delays another's line.
  bool write_round() {
    bool any = false;
    for (RingLogger* logger : producers()) {
      Line* line = logger->oldest();
      if (line == nullptr) continue;
      apply_format();
      writer_->log(line->at, spdlog::source_loc{}, spd_level(line->level), line->text);
      logger->pop();
      any = true;
    }
    return any;
  }

  std::vector<RingLogger*> producers() {
    const std::lock_guard lock(mutex_);
    std::vector<RingLogger*> all;
    for (const auto& logger : loggers_) all.push_back(logger.get());
    return all;
  }

  void apply_format() {
    const LogFormat format = shape_.format.load(std::memory_order_relaxed);
    if (formatted_ && format == applied_) return;
    const char* pattern = format == LogFormat::Json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})"
                                                    : "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
    writer_->set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc));
    applied_ = format;
    formatted_ = true;
  }

  Shape shape_;
  Feed* const feed_;
  std::atomic<std::uint32_t> bell_{0};
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;  // guards the list only, which grows when a thread starts
  std::vector<std::unique_ptr<RingLogger>> loggers_;
  std::unique_ptr<spdlog::logger> writer_;
  LogFormat applied_ = LogFormat::Text;
  bool formatted_ = false;
  std::thread thread_;
};

Log::Log(Level level, LogFormat format, int fd, Feed* feed) : impl_(std::make_unique<Impl>(level, format, fd, feed)) {}
Log::~Log() = default;
Logger& Log::logger() {
  return impl_->logger();
}
void Log::set(Level level, LogFormat format) {
  impl_->set(level, format);
}
void Log::set_level(Level level) {
  impl_->set_level(level);
}
Level Log::level() const {
  return impl_->level();
}
std::uint64_t Log::dropped() const {
  return impl_->dropped();
}

}  // namespace sallyport
