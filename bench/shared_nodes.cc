// How many machines can share a registry: registrations a second over all of them, how long a revocation takes until it
// is in force at every node, how fast a snapshot is, and how much room PostgreSQL takes.
//
// Expected, from the pieces: a turn is three round trips and one commit, some 3 ms with a disk that syncs in one. What
// queues meanwhile goes with the next turn, so one node registers 4,096 devices a turn at most, and it is PostgreSQL's
// inserting (two rows of a device, some 10 us) that limits it: 20,000 to 50,000 a second. A follower costs it a look
// every 150 ms, and one for each NOTIFY: a hundred nodes and a hundred commits a second are 10,000 looks a second,
// which two cores do not give: from some tens of nodes on it is followers that take PostgreSQL's time, not writers.
//
//   shared_nodes URL NODES RATE SECONDS [SNAPSHOT_DEVICES]
//                  URL: an empty database of a PostgreSQL whose disk syncs. RATE: registrations a second over the two
//                  nodes that take them, 0: as many as it takes. The other nodes are simulated: a follower's thread and
//                  connections, which count what they get. SNAPSHOT_DEVICES: so many rows are made beside them, first
//   shared_nodes   3 nodes for a second, with a PostgreSQL of its own that does not sync: what ctest runs
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/scale.h"
#include "cache/registry/follower.h"
#include "cache/registry/registrar.h"
#include "cache/shared/shared_schema.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/status_cache.h"
#include "tests/cache/shared/postgres.h"

namespace sallyport::bench {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

double ms_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

struct Silent final : Logger {
  void write(Level level, std::string_view event, std::initializer_list<Field>) override {
    if (level >= Level::Error)
      std::fprintf(stderr, "shared_nodes: %.*s\n", static_cast<int>(event.size()), event.data());
  }
};
struct NoShards final : ChangeSink {
  void put_in_force(const Notice&) override {}
};

struct Plan {
  std::string url;
  std::size_t nodes = 3;
  std::uint64_t rate = 300, snapshot = 0;
  std::chrono::seconds time{1};
};

// A whole node, but for shards and TLS.
struct Node {
  Node(const std::string& folder, const Plan& plan, std::size_t number) {
    auto opened = RegistryStore::open(folder);
    if (!opened) return;
    store = std::move(*opened);
    registrar = std::make_unique<Registrar>(*store, cache, chains, shards, RegistrarOptions{}, log);
    good = registrar->share({plan.url, "node-" + std::to_string(number), "bench", 0ms, Stale::Serve}, log) &&
           registrar->warm();
    registrar->start();
    good = good && registrar->follow(60s);
  }
  ~Node() {
    if (registrar) registrar->stop();
  }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  Silent log;
  NoShards shards;
  StatusCache cache;
  ChainTable chains;
  std::unique_ptr<RegistryStore> store;
  std::unique_ptr<Registrar> registrar;
  bool good = false;
};

// What a node asks of PostgreSQL, and nothing of what it does with the answers.
class Simulated final : public Follower::Host {
 public:
  Simulated(const RegistryStore& store, const Plan& plan, std::size_t number)
      : follower_({plan.url, "node-" + std::to_string(number), "bench", 0ms, Stale::Serve}, store, *this, log_) {
    follower_.start();
  }
  std::uint64_t revision() const { return revision_; }
  std::uint64_t entries() const { return entries_; }
  bool synced(std::chrono::milliseconds limit) { return follower_.wait_synced(limit); }

 private:
  SharedPosition position() const override {
    const std::lock_guard lock(mutex_);
    return position_;
  }
  Answer<void> take(SharedNews news) override { return entries_ += news.entries.size(), at(news.now); }
  Answer<void> snapshot_begins(bool) override { return {}; }
  Answer<void> snapshot_part(std::vector<SharedEntry> entries) override {
    return entries_ += entries.size(), Answer<void>();
  }
  Answer<void> snapshot_ends(const SharedPosition& position) override { return at(position); }
  bool needs_writer() const override { return !writer_; }
  void take_writer(std::unique_ptr<SharedSession> writer) override { writer_ = std::move(writer); }
  void lose_writer() override { writer_.reset(); }
  void set_stale(bool) override {}
  void look_at_outbox() override {}
  std::int64_t audit_from_us() const override { return 0; }
  Answer<void> at(const SharedPosition& position) {
    const std::lock_guard lock(mutex_);
    position_ = position;
    revision_ = position.revision;
    return {};
  }

  Silent log_;
  mutable std::mutex mutex_;
  SharedPosition position_;
  std::unique_ptr<SharedSession> writer_;
  std::atomic<std::uint64_t> revision_{0}, entries_{0};
  Follower follower_;  // last: its thread calls the rest
};

// Devices come to the two nodes, evenly over the time, or as fast as the queues take them.
class Crowd {
 public:
  Crowd(std::vector<std::unique_ptr<Node>>& nodes, const Plan& plan, std::uint64_t first)
      : nodes_(nodes), rate_(plan.rate), next_(first) {}
  Registration registration(std::uint64_t number) const {
    Registration made{device.certificate.der(), identity, path};
    made.identity.fingerprint = scattered<Digest>(number);
    made.identity.issuer_serial = scattered<IssuerSerial>(~number);
    made.identity.serial.assign(made.identity.issuer_serial.begin(), made.identity.issuer_serial.end());
    return made;
  }
  void start() {
    thread_ = std::thread([this] {
      const auto begun = Clock::now();
      for (std::uint64_t offered = 0; !ended_;) {
        const auto due = rate_ == 0
                             ? offered + 64
                             : static_cast<std::uint64_t>(ms_between(begun, Clock::now()) * double(rate_) / 1000);
        bool full = false;
        for (; offered < due && !full; offered += full ? 0 : 1) {
          full = !nodes_[offered % nodes_.size()]->registrar->offer(registration(next_ + offered));
        }
        if (rate_ != 0 || full) std::this_thread::sleep_for(1ms);
        offered_ = offered;
      }
    });
  }
  std::uint64_t stop() {
    ended_ = true;
    if (thread_.joinable()) thread_.join();
    return offered_;
  }
  ~Crowd() { stop(); }

  test::Identity509 ca = test::make_ca("CA");
  test::Identity509 device = test::make_device("meter-4711", ca);
  Identity identity = make_identity(device.certificate);
  PathFound path{{ca.certificate.fingerprint()}, {}, ca.certificate.not_before(), ca.certificate.not_after()};

 private:
  std::vector<std::unique_ptr<Node>>& nodes_;
  const std::uint64_t rate_, next_;
  std::atomic<bool> ended_{false};
  std::atomic<std::uint64_t> offered_{0};
  std::thread thread_;
};

int fail(const std::string& what) {
  std::fprintf(stderr, "shared_nodes: %s\n", what.c_str());
  return 1;
}

std::int64_t ask(PgConnection& connection, const std::string& text) {
  const auto rows = connection.run({{text}}, 10min);
  if (!rows) return fail(rows.error().what), -1;
  return rows->back().size() == 0 ? 0 : rows->back().number(0, 0);
}

// Rows as a device's are, of 64 and 700 bytes, older than every commit: only a snapshot has them.
void make_rows(PgConnection& connection, std::uint64_t devices) {
  const std::string of = " from generate_series(1, " + std::to_string(devices) + ") g";
  for (const std::string& text :
       {"insert into sallyport.entry select 4, sha256(int8send(g)), set_byte(sha256(int8send(-g)) || "
        "sha256(int8send(-g)), 0, 1), 0" +
            of,
        "insert into sallyport.entry select 3, sha256(int8send(g)), decode(repeat(encode(sha256(int8send(-g)), 'hex'), "
        "22), 'hex'), 0" +
            of,
        std::string("analyze sallyport.entry")}) {
    (void)ask(connection, text);
  }
}

double percentile(std::vector<double>& all, double part) {
  if (all.empty()) return 0;
  std::sort(all.begin(), all.end());
  return all[std::min(all.size() - 1, static_cast<std::size_t>(static_cast<double>(all.size()) * part))];
}

void print_load() {
  double load[1] = {0};
  std::printf("load average %.1f of %u cores\n", ::getloadavg(load, 1) == 1 ? load[0] : 0.0,
              std::thread::hardware_concurrency());
}

int measure(const Plan& plan) {
  auto opened = PgConnection::open(plan.url, "bench");
  if (!opened) return fail(opened.error().what);
  PgConnection& connection = **opened;
  if (const auto made = init_shared_registry(connection, ""); !made && made.error().kind != Refusal::Kind::Conflict) {
    return fail(made.error().what);
  }
  print_load();
  const test::TempDir folder;
  const auto nothing = RegistryStore::open(folder.path() + "/nothing");
  if (!nothing) return fail(nothing.error().what);
  std::vector<std::unique_ptr<Node>> nodes;
  for (std::size_t i = 0; i < std::min<std::size_t>(2, plan.nodes); ++i) {
    nodes.push_back(std::make_unique<Node>(folder.path() + "/" + std::to_string(i), plan, i));
    if (!nodes.back()->good) return fail("a node does not follow");
  }
  if (plan.snapshot != 0) {
    make_rows(connection, plan.snapshot);
    const auto begun = Clock::now();
    Simulated late(**nothing, plan, 1000);
    if (!late.synced(30min)) return fail("no snapshot");
    const double seconds = ms_between(begun, Clock::now()) / 1000;
    std::printf("snapshot: %llu rows in %.1f s, %.0f rows/s\n", static_cast<unsigned long long>(late.entries()),
                seconds, static_cast<double>(late.entries()) / seconds);
  }
  std::vector<std::unique_ptr<Simulated>> others;
  for (std::size_t i = nodes.size(); i < plan.nodes; ++i) {
    others.push_back(std::make_unique<Simulated>(**nothing, plan, i));
    if (!others.back()->synced(10min)) return fail("a simulated node does not follow");
  }
  Crowd crowd(nodes, plan, static_cast<std::uint64_t>(std::time(nullptr)) << 32);
  Registrar& first = *nodes.front()->registrar;
  if (const auto trusted = first.trust({crowd.ca.certificate}); !trusted) return fail(trusted.error().what);
  const auto everywhere = [&](std::uint64_t revision) {
    const auto has = [&](const auto& node) { return node->revision() >= revision; };
    return std::all_of(others.begin(), others.end(), has) &&
           std::all_of(nodes.begin(), nodes.end(),
                       [&](const auto& node) { return node->registrar->shared_state()->revision >= revision; });
  };
  const auto revision = [&] {
    return static_cast<std::uint64_t>(ask(connection, "select revision from sallyport.registry"));
  };
  while (!everywhere(revision())) std::this_thread::sleep_for(10ms);
  // Some that are revoked one by one while the others come.
  const std::uint64_t victims = static_cast<std::uint64_t>(plan.time.count()) * 10;
  const std::uint64_t victim = static_cast<std::uint64_t>(std::time(nullptr)) << 32 | 1U << 31;
  for (std::uint64_t i = 0; i < victims; ++i) first.offer(crowd.registration(victim + i));
  while (first.stats().queued != 0) std::this_thread::sleep_for(1ms);
  const auto registered = [&] {
    std::uint64_t all = 0;
    for (const auto& node : nodes) all += node->registrar->stats().registered;
    return all;
  };
  const std::int64_t size_before = ask(connection, "select pg_total_relation_size('sallyport.entry')");
  const std::int64_t wal_before = ask(connection, "select (pg_current_wal_lsn() - '0/0')::bigint");
  const std::int64_t commits_before = ask(connection, "select count(*) from sallyport.commit");
  const std::uint64_t before = registered();
  const auto begun = Clock::now();
  crowd.start();
  std::vector<double> acknowledged, in_force;
  for (std::uint64_t i = 0; i < victims && Clock::now() < begun + plan.time; ++i) {
    std::this_thread::sleep_until(begun + i * 100ms);
    const auto asked = Clock::now();
    const auto done = first.set_device_status(scattered<Digest>(victim + i), DeviceStatus::Revoked);
    if (!done) return fail(done.error().what);
    const std::uint64_t at = first.shared_state()->revision;
    acknowledged.push_back(ms_between(asked, Clock::now()));
    while (!everywhere(at)) std::this_thread::sleep_for(500us);
    in_force.push_back(ms_between(asked, Clock::now()));
  }
  std::this_thread::sleep_until(begun + plan.time);
  const std::uint64_t in_time = registered() - before;
  const double seconds = ms_between(begun, Clock::now()) / 1000;
  const std::uint64_t offered = crowd.stop();
  print_load();
  for (const auto& node : nodes) {
    while (node->registrar->stats().queued != 0) std::this_thread::sleep_for(1ms);
  }
  const double all = static_cast<double>(registered() - before);
  const auto count = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
  std::printf("%zu nodes, %llu offered: %.0f registrations/s, %.0f commits/s\n", plan.nodes, count(offered),
              static_cast<double>(in_time) / seconds,
              static_cast<double>(ask(connection, "select count(*) from sallyport.commit") - commits_before) / seconds);
  std::printf(
      "revoked: acknowledged after %.0f ms p50, %.0f ms p99; in force on all after %.0f ms p50, %.0f ms p99 (%zu)\n",
      percentile(acknowledged, 0.5), percentile(acknowledged, 0.99), percentile(in_force, 0.5),
      percentile(in_force, 0.99), in_force.size());
  std::printf(
      "PostgreSQL: %.0f MB and %.0f MB of WAL for a million devices\n",
      static_cast<double>(ask(connection, "select pg_total_relation_size('sallyport.entry')") - size_before) / all,
      static_cast<double>(ask(connection, "select (pg_current_wal_lsn() - '0/0')::bigint") - wal_before) / all);
  return in_time == 0 || in_force.empty() ? fail("nothing was registered, or revoked") : 0;
}

int run(int count, char** arguments) {
  Plan plan;
  if (count == 1) {
    if (!test::Postgres::installed()) return fail("PostgreSQL is not installed: deploy/packages.sh names it");
    const test::Postgres postgres;
    plan.url = postgres.url();
    return measure(plan);
  }
  if (count < 5) return fail("shared_nodes URL NODES RATE SECONDS [SNAPSHOT_DEVICES]"), 2;
  const auto number = [&](int at) { return std::strtoull(arguments[at], nullptr, 10); };
  plan = {arguments[1], number(2), number(3), count > 5 ? number(5) : 0, std::chrono::seconds(number(4))};
  if (plan.nodes == 0 || plan.time.count() == 0) return fail("NODES and SECONDS are at least 1"), 2;
  return measure(plan);
}

}  // namespace
}  // namespace sallyport::bench

int main(int count, char** arguments) {
  return sallyport::bench::run(count, arguments);
}
