#include "cache/registry/registrar.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "cache/registry/registrar_impl.h"

namespace sallyport {

namespace {

constexpr std::int64_t kLastTryMs = 10'000;
constexpr std::int64_t kTrimMs = 3'600'000, kTrimSharedMs = 60'000;  // the second one: after a turn that was not given
constexpr std::int64_t kSeenMs = 500;

}  // namespace

std::int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::int64_t unix_now() {
  return std::time(nullptr);
}

Registrar::Impl::Impl(RegistryStore& store, StatusCache& cache, ChainTable& chains, ChangeSink& sink,
                      RegistrarOptions options, Logger& log)
    : store_(store),
      cache_(cache),
      chains_(chains),
      sink_(sink),
      options_(options),
      queue_(options.queue),
      log_(log),
      ledger_(store, log, [this] { return commands_waiting_ > 0; }),
      book_(chains, cache, store, ledger_, log),
      settings_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Registrar::Impl::~Impl() {
  stop();
  if (settings_fd_ >= 0) ::close(settings_fd_);
}

void Registrar::Impl::start() {
  started_ = true;
  thread_ = std::thread([this] { run(); });
}

void Registrar::Impl::stop() {
  {
    const std::lock_guard lock(command_mutex_);
    if (stopped_.exchange(true)) return;
  }
  if (follower_) follower_->stop();  // it calls the thread
  {
    const std::lock_guard lock(command_mutex_);
    stopping_ = true;
  }
  ring();
  hurry();
  if (thread_.joinable()) thread_.join();
}

void Registrar::Impl::ring() {
  bell_.fetch_add(1, std::memory_order_release);
  bell_.notify_one();
}

void Registrar::Impl::hurry() {
  const std::lock_guard lock(hurry_mutex_);
  hurry_ = true;
  hurried_.notify_one();
}

// Registrations alone wait for more of their kind: who came first is written at once, the next ones together.
void Registrar::Impl::gather() {
  std::unique_lock lock(hurry_mutex_);
  hurried_.wait_until(lock, gather_until_, [this] { return hurry_; });
  hurry_ = false;
}

bool Registrar::Impl::offer(Registration registration) {
  if (queued_.fetch_add(1, std::memory_order_relaxed) >= queue_ || stopping_.load(std::memory_order_relaxed)) {
    queued_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  work_.push(std::move(registration));
  ring();
  return true;
}

void Registrar::Impl::seen(const Digest& device) {
  if (queued_.load(std::memory_order_relaxed) >= queue_) return;
  work_.push(Seen{device});
  ring();
}

// While a failed commit waits for its retry, operators' commands are still served: a deactivation must
// take effect also when the disk is full.
void Registrar::Impl::run() {
  for (;;) {
    const std::uint32_t heard = bell_.load(std::memory_order_acquire);
    const bool last = stopping_;
    std::vector<Work> work = work_.take_all();
    const bool idle = work.empty();
    process(std::move(work));
    if (!waiting_.empty() && retry_at_ms_ == 0 && !last && std::chrono::steady_clock::now() < gather_until_) {
      gather();
      continue;
    }
    settle(last);
    while (!waiting_.empty() && (steady_ms() >= retry_at_ms_ || last)) commit_registrations();
    if (last && work_.take_all().empty()) return settle_at_last();
    if (!idle) continue;
    if (!purges_.empty() && !ledger_.owes() && purge_some()) continue;  // between what others ask for
    if (!ledger_.owes() && steady_ms() >= trim_at_ms_) trim();
    if (waiting_.empty() && !ledger_.owes() && seen_.empty()) {
      bell_.wait(heard, std::memory_order_acquire);
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

// What only grows is cut once an hour.
void Registrar::Impl::trim() {
  trim_at_ms_ = steady_ms() + (follower_ ? kTrimSharedMs : kTrimMs);
  if (follower_ && !begin_turn()) return;
  trim_at_ms_ = steady_ms() + kTrimMs;
  RegistryStore::Batch batch;
  std::vector<Digest> codes;
  trim_audit(batch);
  trim_codes(batch, codes);
  if (batch.empty()) return end_turn();
  if (const auto written = ledger_.commit(batch, Durable::Later); !written) {
    end_turn();
    return log_.warn("trim", {{"why", written.error().what}});
  }
  end_turn();
  for (const Digest& hash : codes) codes_.erase(hash);
  if (codes.empty()) return;
  auto hashes = std::make_shared<std::set<Digest>>(*code_hashes_);
  for (const Digest& hash : codes) hashes->erase(hash);
  code_hashes_ = std::move(hashes);
  put_cas_in_force(unix_now());
}

// Reads the newest lines, which stay, and one more: how many there are makes no difference.
void Registrar::Impl::trim_audit(RegistryStore::Batch& batch) {
  std::size_t newest = 0;
  std::int64_t from_us = 0;  // what is as new as this stays
  auto read = store_.each_audit(INT64_MAX, [&](const AuditRecord& line) {
    from_us = line.at_us;
    return ++newest < RegistrarOptions::kAuditAlways;
  });
  from_us = std::min(from_us, (unix_now() - options_.audit_keep.count()) * 1'000'000);
  bool older = false;
  if (read && from_us > 0) {
    read = store_.each_audit(from_us, [&](const AuditRecord&) {
      older = true;
      return false;
    });
  }
  if (!read) return log_.warn("trim", {{"why", read.error().what}});
  if (older) store_.remove_audit_before(batch, from_us);
  if (from_us > 0 && newest >= RegistrarOptions::kAuditAlways) audit_from_us_ = from_us;
}

// A day after its end a code is only a wrong one.
void Registrar::Impl::trim_codes(RegistryStore::Batch& batch, std::vector<Digest>& ended) {
  const std::int64_t now = unix_now();
  for (const auto& [hash, code] : codes_) {
    if (code.row.expires_at + 86400 >= now) continue;
    store_.remove_code(batch, hash);
    ended.push_back(hash);
  }
}

// What is owed to the disk is written before anything is read for the next change. `at_once`: somebody waits.
void Registrar::Impl::settle(bool at_once) {
  if (!ledger_.owes() || (!at_once && !ledger_.stalled() && steady_ms() < settle_at_ms_)) return;
  ledger_.settle();
  settle_at_ms_ = steady_ms() + kRetryMs;
  if (!ledger_.owes() && !ledger_.forgot()) cas_not_durable_.clear();
}

// RocksDB takes a moment to believe that there is room again. What is lost by then is said.
void Registrar::Impl::settle_at_last() {
  const std::int64_t ends_ms = steady_ms() + kLastTryMs;
  for (settle(true); ledger_.owes() && steady_ms() < ends_ms; settle(true)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (ledger_.owes()) {
    log_.error("stopped-not-durable", {{"why", ledger_.owed_why().what},
                                       {"means", "restrictions that were in force are undone by this stop"}});
  }
}

void Registrar::Impl::process(std::vector<Work> work) {
  std::vector<Digest> seen;
  for (Work& item : work) {
    if (auto* registration = std::get_if<Registration>(&item)) {
      take_in(std::move(*registration));
    } else if (const auto* device = std::get_if<Seen>(&item)) {
      seen.push_back(device->device);
    } else {
      // What came before the command is written before it: it sees the state an operator saw.
      settle(true);
      if (!waiting_.empty() && retry_at_ms_ == 0) commit_registrations();
      --commands_waiting_;
      std::get<Command>(item).run(true);
    }
  }
  gather_seen(std::move(seen));
}

// A turn of a shared registry is dear, and nobody waits for this: twice a second is enough.
void Registrar::Impl::gather_seen(std::vector<Digest> seen) {
  if (follower_) {
    if (seen_.empty()) seen_at_ms_ = steady_ms() + kSeenMs;
    seen_.insert(seen_.end(), seen.begin(), seen.end());
    if (steady_ms() < seen_at_ms_ && !stopping_) return;
    seen = std::exchange(seen_, {});
  }
  if (!seen.empty() && !ledger_.owes()) commit_seen(seen);
}

void Registrar::Impl::commit_seen(const std::vector<Digest>& seen) {
  if (follower_ && !begin_turn()) return;  // the day's mark is put when the device comes again
  RegistryStore::Batch batch;
  const std::uint16_t day = unix_day(unix_now());
  for (const Digest& id : seen) {
    auto stored = store_.device(id);
    if (!stored || !stored->has_value() || (*stored)->seen_day == day) continue;
    DeviceRow row = **stored;
    row.seen_day = day;
    store_.put_device(batch, id, row);
    const DeviceKey key = cache_.key(row.name, id);
    if (auto slot = cache_.find(key)) {
      slot->seen_day = day;
      cache_.put(key, *slot);
    }
  }
  if (batch.empty()) return end_turn();
  // Not synced: losing a day's mark with the power costs nothing.
  if (const auto written = ledger_.commit(batch, Durable::Later); !written)
    log_.warn("last-seen", {{"why", written.error().what}});
  end_turn();
}

// Tickets of what lost its standing are worthless from the raised epoch on.
void Registrar::Impl::put_in_force(const Notice& notice) {
  mark_losses();
  if (!applying_) cache_.raise_epoch();
  sink_.put_in_force(notice);
}

// What a growing cache left behind is freed once every shard has answered a notice: each was then outside
// of the gate at least once. The admin side's threads answer none: while one of them reads, it is left to the
// next time.
void Registrar::Impl::reclaim() {
  if (cache_.retired_bytes() == 0) return;
  put_in_force(Notice{ledger_.revision(), nullptr, {}});
  cache_.reclaim();
}

void Registrar::Impl::count(DeviceStatus status, const Digest& owner, int by) {
  const auto add = [&](DeviceCounts& counts) {
    std::uint64_t& counter = status == DeviceStatus::Active     ? counts.active
                             : status == DeviceStatus::Inactive ? counts.inactive
                             : status == DeviceStatus::Pending  ? counts.pending
                                                                : counts.revoked;
    counter += static_cast<std::uint64_t>(by);
  };
  const std::lock_guard lock(mutex_);
  add(stats_.devices);
  if (const auto ca = cas_.find(owner); ca != cas_.end()) {
    add(ca->second.devices);
    note_whether_full(ca->second);
  } else {
    add(remains_[owner]);
  }
}

// So that the gate refuses who would be one too many, before it is served. Under mutex_.
void Registrar::Impl::note_whether_full(const CaRecord& ca) const {
  const DeviceCounts& has = ca.devices;
  const std::uint64_t most = options_.max_devices_per_ca;
  ca.full->store(most != 0 && has.active + has.inactive + has.pending + has.revoked >= most, std::memory_order_relaxed);
}

void Registrar::Impl::set_options(const RegistrarOptions& options) {
  const std::lock_guard lock(mutex_);
  options_ = options;
  for (const auto& [id, ca] : cas_) note_whether_full(ca);
}

void Registrar::Impl::count_expiry(std::int64_t not_after, int by) {
  const std::lock_guard lock(mutex_);
  expiring_[not_after / 86400] += static_cast<std::uint64_t>(by);
}

Registrar::Registrar(RegistryStore& store, StatusCache& cache, ChainTable& chains, ChangeSink& sink,
                     RegistrarOptions options, Logger& log)
    : impl_(std::make_unique<Impl>(store, cache, chains, sink, options, log)) {}
Registrar::~Registrar() = default;

Answer<void> Registrar::warm(const StandingEpochs& last) {
  return impl_->warm(last);
}
std::optional<StandingEpochs> Registrar::epochs_at_stop() const {
  return impl_->epochs_at_stop();
}
void Registrar::start() {
  impl_->start();
}
void Registrar::stop() {
  impl_->stop();
}
bool Registrar::offer(Registration registration) {
  return impl_->offer(std::move(registration));
}
void Registrar::seen(const Digest& device) {
  impl_->seen(device);
}
std::shared_ptr<const CaSet> Registrar::ca_set() const {
  return impl_->cas_now();
}

Answer<void> Registrar::trust(const std::vector<Certificate>& cas) {
  return impl_->call<void>([&] { return impl_->trust(cas); }, Impl::Turn::WritesNothing);
}
void Registrar::look_at_dates(std::int64_t now) {
  if (impl_->book_.holds_at(now) && !impl_->passed_over_begins(now) && now < impl_->code_ends_at_) return;
  (void)impl_->call<void>(
      [&]() -> Answer<void> {
        impl_->look_at_dates(now);
        return {};
      },
      Impl::Turn::Urgent);
}
std::vector<Certificate> Registrar::passed_over() const {
  const std::lock_guard lock(impl_->mutex_);
  return impl_->passed_over_;
}
void Registrar::clock_was_set(std::int64_t now) {
  (void)impl_->call<void>(
      [&]() -> Answer<void> {
        impl_->clock_was_set(now);
        return {};
      },
      Impl::Turn::Urgent);
}
std::set<Digest> Registrar::trusted() const {
  const std::lock_guard lock(impl_->mutex_);
  return impl_->trusted_;
}
Answer<Code> Registrar::issue_code(std::int64_t ttl_seconds, const Actor& by) {
  return impl_->call<Code>([&] { return impl_->issue_code(ttl_seconds, by); });
}
Answer<CaRecord> Registrar::register_ca(const CaRegistration& registration, const Actor& by) {
  return impl_->call<CaRecord>([&] { return impl_->register_ca(registration, by); });
}
Answer<CaRecord> Registrar::set_ca_joining(const Digest& id, std::optional<bool> auto_register,
                                           std::optional<bool> approve, const Actor& by) {
  return impl_->call<CaRecord>([&] { return impl_->set_ca_joining(id, auto_register, approve, by); });
}
Answer<CaRecord> Registrar::set_ca_status(const Digest& id, CaStatus status, const Actor& by) {
  return impl_->call<CaRecord>([&] { return impl_->set_ca_status(id, status, by); });
}
Answer<CaRecord> Registrar::delete_ca(const Digest& id, bool cascade, const Actor& by) {
  return impl_->call<CaRecord>([&] { return impl_->delete_ca(id, cascade, by); });
}
Answer<DeviceRecord> Registrar::set_device_status(const Digest& id, DeviceStatus status, const Actor& by) {
  return impl_->call<DeviceRecord>([&] { return impl_->set_device_status(id, status, by); });
}
Answer<DeviceRecord> Registrar::delete_device(const Digest& id, const Actor& by) {
  return impl_->call<DeviceRecord>([&] { return impl_->delete_device(id, by); });
}
Answer<std::vector<DeviceChanged>> Registrar::change_devices(const std::vector<Digest>& ids, DeviceAction action,
                                                             const Actor& by) {
  if (ids.size() > kMostChanged) return Refusal{Refusal::Kind::Invalid, "these are too many at once"};
  return impl_->call<std::vector<DeviceChanged>>([&] { return impl_->change_devices(ids, action, by); });
}
Answer<std::vector<Registered>> Registrar::register_devices(std::vector<Registration> devices, const Actor& by) {
  return impl_->call<std::vector<Registered>>([&] { return impl_->register_devices(std::move(devices), by); });
}
RegistrarOptions Registrar::options() const {
  const auto options = impl_->call<RegistrarOptions>([&]() -> Answer<RegistrarOptions> { return impl_->options_; },
                                                     Impl::Turn::WritesNothing);
  return options ? *options : RegistrarOptions{};
}
Answer<void> Registrar::set_options(const RegistrarOptions& options) {
  return impl_->call<void>(
      [&]() -> Answer<void> {
        impl_->set_options(options);
        return {};
      },
      Impl::Turn::WritesNothing);
}
Answer<void> Registrar::set_server_keys(std::vector<Digest> spki_hashes) {
  return impl_->call<void>([&] { return impl_->set_server_keys(std::move(spki_hashes)); }, Impl::Turn::WritesNothing);
}

}  // namespace sallyport
