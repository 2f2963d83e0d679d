#include "admin/operations/import.h"

#include <openssl/x509.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <ctime>
#include <deque>
#include <mutex>
#include <thread>

#include "admin/operations/objects.h"
#include "cache/base/text.h"
#include "cache/crypto/openssl_ptr.h"
#include "cache/standing/ca_set.h"

namespace sallyport {

namespace {

constexpr std::size_t kBatch = 256;
constexpr std::size_t kBlockLimit = 64 * 1024;  // one PEM block
constexpr std::size_t kLineLimit = 16 * 1024;
constexpr int kNiceness = 10;  // behind devices and operators

constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
constexpr std::string_view kEnd = "-----END CERTIFICATE-----";

struct Block {
  std::uint64_t line = 0;
  std::string pem;
};

}  // namespace

Examined examine_device(const DeviceGate& gate, const CaSet& cas, const Certificate& leaf,
                        const std::vector<Certificate>& intermediates, std::int64_t now) {
  const X509StackPtr sent(sk_X509_new_null());
  for (const Certificate& each : intermediates) sk_X509_push(sent.get(), each.x509());
  Examined examined;
  Admits admits;
  admits.by_operator = true;
  examined.verdict = gate.decide({leaf.x509(), sent.get()}, cas, admits, now);
  const Verdict& verdict = examined.verdict;
  if (!verdict.admitted() || !verdict.identity || !verdict.path) return examined;
  examined.registration =
      Registration{verdict.leaf_der, *verdict.identity, *verdict.path, false, RegisteredBy::Operator};
  return examined;
}

std::string in_words(const Verdict& refused) {
  return std::string(to_string(refused.reason)) + (refused.why.empty() ? "" : ": " + std::string(refused.why));
}

class Importer::Impl {
 public:
  Impl(Registrar& r, const DeviceGate& g, ImportProgress& p, Actor b, unsigned workers, std::function<bool()> s)
      : registrar(r), gate(g), progress(p), by(std::move(b)), still(std::move(s)), most_waiting(2 * workers) {
    ++progress.running;
    for (unsigned i = 0; i < workers; ++i) threads.emplace_back([this] { work(); });
  }
  ~Impl() {
    close();
    --progress.running;
  }

  // Lines of the stream, whatever pieces they came in.
  bool take(std::string_view piece) {
    if (!may_go_on()) return false;
    while (!piece.empty()) {
      const std::size_t end = piece.find('\n');
      const std::string_view part = piece.substr(0, end);
      if (partial.size() + part.size() > kLineLimit) {
        if (!endless) fail(line_number + 1, "unreadable", "a line is longer than 16 KiB");
        endless = true;
      } else {
        partial += part;
      }
      if (end == std::string_view::npos) return !poisoned;
      take_line();
      if (poisoned) return false;
      piece.remove_prefix(end + 1);
    }
    return !poisoned;
  }

  void take_line() {
    ++line_number;
    std::string_view line = partial;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    if (line == kBegin) {
      if (inside) fail(block.line, "unreadable", "the certificate has no END line");
      block = {line_number, std::string(kBegin) + "\n"};
      inside = true;
      abandoned = false;
    } else if (line.find("PRIVATE KEY-----") != std::string_view::npos) {
      poisoned = true;  // whoever sends one by mistake must hear of it, and of nothing else
    } else if (line == kEnd && inside) {
      block.pem += std::string(kEnd) + "\n";
      inside = false;
      push();
    } else if (inside) {
      block.pem += std::string(line) + "\n";
      if (block.pem.size() > kBlockLimit) {
        fail(block.line, "unreadable", "the certificate is larger than 64 KiB");
        inside = false;
        abandoned = true;
      }
    } else if (line == kEnd) {
      // A slip in the line before it, and the certificate would be text.
      if (!abandoned)
        fail(line_number, "unreadable", "an END line without its BEGIN line: what is above it was not read");
      abandoned = false;
    } else if (line.substr(0, 11) == "-----BEGIN ") {
      fail(line_number, "unreadable", "not a certificate: " + std::string(line.substr(0, 60)));
    }
    partial.clear();
    endless = false;
  }

  void push() {
    batch.push_back(std::move(block));
    ++progress.read;
    if (batch.size() == kBatch) hand_over();
  }

  void hand_over() {
    if (batch.empty()) return;
    std::unique_lock lock(mutex);
    room.wait(lock, [this] { return waiting.size() < most_waiting; });
    waiting.push_back(std::move(batch));
    batch.clear();
    ready.notify_one();
  }

  void close() {
    if (threads.empty()) return;
    {
      const std::lock_guard lock(mutex);
      closed = true;
    }
    ready.notify_all();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }

  void work() {
    // Of this thread alone: setpriority(2), "C library/kernel differences".
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), kNiceness);
    for (;;) {
      std::vector<Block> mine;
      {
        std::unique_lock lock(mutex);
        ready.wait(lock, [this] { return closed || !waiting.empty(); });
        if (waiting.empty()) return;
        mine = std::move(waiting.front());
        waiting.pop_front();
      }
      room.notify_one();
      register_all(mine);
    }
  }

  // Once no is no for good: the same token is not waited for.
  bool may_go_on() {
    if (!ended && !still()) ended = true;
    return !ended;
  }

  void register_all(const std::vector<Block>& blocks) {
    if (!may_go_on()) return;
    const auto cas = registrar.ca_set();
    const std::int64_t now = std::time(nullptr);
    std::vector<Registration> good;
    std::vector<std::uint64_t> lines;
    for (const Block& each : blocks) {
      auto leaf = Certificate::from_pem_lightly(each.pem);
      if (!leaf) {
        fail(each.line, "unreadable", leaf.error().what);
        continue;
      }
      Examined examined = examine_device(gate, *cas, *leaf, {}, now);
      if (examined.registration) {
        good.push_back(std::move(*examined.registration));
        lines.push_back(each.line);
      } else if (examined.verdict.admitted()) {
        ++already;
      } else {
        const std::string why(examined.verdict.why);
        fail(each.line, std::string(to_string(examined.verdict.reason)),
             shortened(leaf->subject()) + (why.empty() ? "" : ": " + why));
      }
    }
    if (good.empty()) return;
    std::vector<std::string> subjects;
    for (const Registration& each : good) subjects.push_back(each.identity.subject);
    const auto outcome = registrar.register_devices(std::move(good), by);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (!outcome) {
        fail(lines[i], "internal_error", outcome.error().what);
      } else if ((*outcome)[i].refused != Reason::None) {
        fail(lines[i], std::string(to_string((*outcome)[i].refused)), subjects[i]);
      } else if ((*outcome)[i].already) {
        ++already;
      } else {
        ++registered;
        ++progress.registered;
      }
    }
  }

  void fail(std::uint64_t line, std::string reason, std::string detail) {
    const std::lock_guard lock(failures_mutex);
    ++failed;
    ++progress.failed;
    if (failures.size() < kFailuresKept) failures.push_back({line, std::move(reason), std::move(detail)});
  }

  HttpResponse finish(bool whole) {
    if (!partial.empty()) take_line();
    if (!may_go_on() || poisoned) batch.clear();
    if (inside) fail(block.line, "unreadable", "the certificate has no END line");
    hand_over();
    close();
    if (poisoned) {
      return problem(400, "private-key",
                     "a private key was sent: only certificates belong here; treat that key as known to others (line " +
                         std::to_string(line_number) + "; " + std::to_string(registered) +
                         " devices before it were registered)");
    }
    const std::string counts = std::to_string(registered) + " registered, " + std::to_string(already) +
                               " registered before, " + std::to_string(failed) + " refused";
    const auto noted = registrar.record(by, "device.import", "stream",
                                        ended   ? counts + ", then its token was revoked or ended"
                                        : whole ? counts
                                                : counts + ", incomplete");
    if (ended) {
      return problem(
          401, "unauthorized",
          "this token was revoked or has ended while the body came: nothing more is registered (" + counts + ")");
    }
    if (!noted && registered > 0)
      return problem(503, "unavailable", counts + "; the audit log has no line of it: " + noted.error().what);
    std::sort(failures.begin(), failures.end(),
              [](const ImportFailure& a, const ImportFailure& b) { return a.line < b.line; });
    Json list = Json::array();
    for (const ImportFailure& each : failures) {
      list.push_back({{"line", each.line}, {"reason", each.reason}, {"detail", each.detail}});
    }
    const Json json = {{"registered", registered.load()},
                       {"already", already.load()},
                       {"failed", failed},
                       {"complete", whole},
                       {"failures", std::move(list)},
                       {"failures_omitted", failed - failures.size()}};
    return {200, "application/json", dump(json)};
  }

  Registrar& registrar;
  const DeviceGate& gate;
  ImportProgress& progress;
  const Actor by;
  const std::function<bool()> still;
  const std::size_t most_waiting;

  // The stream's reader.
  std::string partial;
  std::uint64_t line_number = 0;
  Block block;
  bool inside = false, endless = false, poisoned = false;
  bool abandoned = false;  // a block that was too large: its END line is still to come
  std::vector<Block> batch;

  std::mutex mutex;
  std::condition_variable ready, room;
  std::deque<std::vector<Block>> waiting;
  bool closed = false;
  std::vector<std::thread> threads;

  std::atomic<bool> ended{false};
  std::atomic<std::uint64_t> registered{0}, already{0};
  std::mutex failures_mutex;
  std::uint64_t failed = 0;
  std::vector<ImportFailure> failures;
};

Importer::Importer(Registrar& registrar, const DeviceGate& gate, ImportProgress& progress, Actor by, unsigned workers,
                   std::function<bool()> still)
    : impl_(std::make_unique<Impl>(registrar, gate, progress, std::move(by), std::max(1U, workers), std::move(still))) {
}
Importer::~Importer() = default;

bool Importer::take(std::string_view piece) {
  return impl_->take(piece);
}
HttpResponse Importer::finish(bool whole) {
  return impl_->finish(whole);
}

}  // namespace sallyport
