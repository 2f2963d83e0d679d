#include "admin/operations/kept_rejections.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "admin/operations/objects.h"
#include "cache/base/file.h"
#include "cache/base/text.h"
#include "cache/crypto/sha2.h"
#include "cache/x509/certificate.h"

namespace sallyport {

namespace {

constexpr int kItemsFormat = 1;
constexpr std::size_t kHashDigits = 2 * Sha256::kBytes;

std::string hash_of(std::string_view text) {
  return to_hex(Sha256::of(text));
}

Reason reason_named(const std::string& name) {
  for (std::size_t i = 1; i < kReasonCount; ++i) {
    if (kReasons[i].name == name) return static_cast<Reason>(i);
  }
  return Reason::None;
}

// False: it did not take all of it.
bool put_file(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return false;
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return ::close(fd) == 0 && done == text.size();
}

}  // namespace

std::string encoded(const std::vector<Rejection>& rejections) {
  Json items = Json::array();
  for (const Rejection& seen : rejections) {
    items.push_back({{"reason", std::string(to_string(seen.reason))},
                     {"listener", seen.listener},
                     {"peer", seen.peer},
                     {"via", seen.via},
                     {"what", std::string(seen.what)},
                     {"subject", seen.subject},
                     {"issuer", seen.issuer},
                     {"serial", seen.serial},
                     {"fingerprint", seen.fingerprint},
                     {"claimed", seen.claimed},
                     {"count", seen.count},
                     {"claimed_count", seen.claimed_count},
                     {"first", seen.first},
                     {"last", seen.last}});
  }
  const Json all = {{"format", kItemsFormat}, {"items", std::move(items)}};
  const std::string text = all.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  return text + hash_of(text) + "\n";
}

Answer<std::vector<Rejection>> decoded(std::string_view text, std::set<std::string>& words) {
  const Refusal damaged{Refusal::Kind::Invalid, "it is damaged"};
  if (text.size() < kHashDigits + 1 || text.back() != '\n') return damaged;
  const std::string_view body = text.substr(0, text.size() - kHashDigits - 1);
  if (text.substr(body.size(), kHashDigits) != hash_of(body)) return damaged;
  const Json all = parse_json(body);
  if (!all.is_object() || all.value("format", 0) != kItemsFormat || !all.contains("items")) {
    return Refusal{Refusal::Kind::Invalid, "it is of another version"};
  }
  std::vector<Rejection> rejections;
  try {
    for (const Json& item : all["items"]) {
      if (rejections.size() == KeptRejections::kMost) break;
      Rejection seen;
      seen.reason = reason_named(item.at("reason").get<std::string>());
      if (seen.reason == Reason::None) continue;  // a version had one that this has not
      seen.listener = item.at("listener").get<std::string>();
      seen.peer = item.at("peer").get<std::string>();
      seen.via = item.at("via").get<std::string>();
      seen.what = *words.insert(item.at("what").get<std::string>()).first;
      seen.subject = item.at("subject").get<std::string>();
      seen.issuer = item.at("issuer").get<std::string>();
      seen.serial = item.at("serial").get<std::string>();
      seen.fingerprint = item.at("fingerprint").get<std::string>();
      seen.claimed = item.at("claimed").get<bool>();
      seen.count = item.at("count").get<std::uint64_t>();
      seen.claimed_count = item.at("claimed_count").get<std::uint64_t>();
      seen.first = item.at("first").get<std::int64_t>();
      seen.last = item.at("last").get<std::int64_t>();
      rejections.push_back(std::move(seen));
    }
  } catch (const Json::exception&) {
    return damaged;
  }
  return rejections;
}

KeptRejections::~KeptRejections() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void KeptRejections::load() {
  if (::access(path_.c_str(), F_OK) != 0) return;
  const auto text = read_file(path_, kLargestFile);
  auto read = text ? decoded(*text, words_) : Answer<std::vector<Rejection>>(text.error());
  if (read) {
    before_ = std::move(*read);
    return;
  }
  log_.warn("last-rejections",
            {{"file", path_}, {"why", read.error().what}, {"means", "removed: `rejections` begins anew"}});
  ::unlink(path_.c_str());
}

void KeptRejections::start() {
  asked_at_count_ = refused_so_far();
  thread_ = std::thread([this] { run(); });
}

void KeptRejections::stop() {
  auto last = last_ones();
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    parting_ = std::move(last);
  }
  changed_.notify_one();
}

std::vector<Rejection> KeptRejections::all() const {
  std::vector<std::vector<Rejection>> parts;
  parts.push_back(plane_.rejections());
  parts.push_back(before_);
  return merged(std::move(parts));
}

void KeptRejections::run() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kEvery, [this] { return stop_; })) {
    lock.unlock();
    write(last_ones());
    lock.lock();
  }
  const std::vector<Rejection> parting = std::exchange(parting_, {});
  lock.unlock();
  write(parting);
}

std::uint64_t KeptRejections::refused_so_far() const {
  std::uint64_t all = 0;
  for (const ShardCounters* shard : plane_.counters()) {
    for (const ListenerCounters& listener : shard->listeners) {
      for (const Cell& cell : listener.rejections) all += cell.get();
    }
  }
  return all;
}

// None where nothing was refused since they were asked for.
std::vector<Rejection> KeptRejections::last_ones() {
  const std::uint64_t refused = refused_so_far();
  if (asked_at_count_.exchange(refused) == refused) return {};
  std::vector<std::vector<Rejection>> parts;
  parts.push_back(plane_.rejections(kOfEach));
  parts.push_back(before_);
  std::vector<Rejection> last = merged(std::move(parts));
  if (last.size() > kMost) last.resize(kMost);
  return last;
}

// In the place of the one before, whole or not at all; a crash may leave either.
void KeptRejections::write(const std::vector<Rejection>& last) {
  if (last.empty()) return;
  const std::string being_made = path_ + ".new";
  if (!put_file(being_made, encoded(last)) || ::rename(being_made.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    ::unlink(being_made.c_str());
    log_.warn("last-rejections", {{"file", path_}, {"why", std::strerror(error)}, {"means", "not written now"}});
    asked_at_count_ = kNever;  // the next look tries again
  }
}

}  // namespace sallyport
