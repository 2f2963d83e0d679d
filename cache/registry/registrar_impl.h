// The registrar's inside, shared by registrar.cc (the thread), registrar_registrations.cc, registrar_changes.cc and
// registrar_devices.cc (what operators change), crl_import.cc (lists), registrar_settings.cc (what it keeps for
// others), registrar_warm.cc (start) and registrar_reads.cc (what is asked from any thread). What goes to disk beside a
// change is the Ledger's, the chains are the ChainBook's. Nobody else includes it. `mutex_` guards what readers on
// other threads see: the CA records, counts and the CA set; the registrar's thread alone writes them.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <variant>

#include "cache/base/clock_watch.h"
#include "cache/base/work_queue.h"
#include "cache/registry/chain_book.h"
#include "cache/registry/follower.h"
#include "cache/registry/ledger.h"
#include "cache/registry/outbox.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/status_cache.h"

namespace sallyport {

// Who changes what was lost where the registry is shared, and is kept by what a node knew.
inline const Actor kKeptFromBefore{"sallyport", "kept from before the shared registry lost it"};

// The SHA-256 that a key of an entry is; none where it is no such key.
inline std::optional<Digest> digest_of(std::string_view key) {
  Digest id{};
  if (key.size() != id.size()) return std::nullopt;
  std::copy(key.begin(), key.end(), id.begin());
  return id;
}

class Registrar::Impl final : public Follower::Host, public SystemOfRecord {
 public:
  Impl(RegistryStore& store, StatusCache& cache, ChainTable& chains, ChangeSink& sink, RegistrarOptions options,
       Logger& log);
  ~Impl() override;

  // A registration that was checked and waits for its batch.
  struct Accepted {
    Digest id{};
    DeviceKey key;
    DeviceRow row;
    Digest owner{};
    Digest issuing_key{};
    std::optional<Digest> owner_before;  // of a device that moved
    std::string serial;
    DeviceRow row_before;  // of a device that moved
  };

  struct IssuedCode {
    CodeRow row;
    Lifetime life;
  };

  // registrar_warm.cc
  Answer<void> warm(const StandingEpochs& last);
  Answer<void> warm_cas();
  Answer<void> warm_chains();
  Answer<void> warm_devices();

  // registrar.cc
  void start();
  void stop();
  bool offer(Registration registration);
  void seen(const Digest& device);
  // Runs `change` on the registrar's thread and waits; before start() and after stop() on the caller's.
  // With a shared registry a change has its turn: it sees all that others committed, and nobody else writes meanwhile.
  // Urgent: it writes nothing over there, and a turn that waits for PostgreSQL is given up for it.
  enum class Turn : std::uint8_t { Writes, WritesNothing, Urgent };
  template <class T>
  Answer<T> call(std::function<Answer<T>()> change, Turn turn = Turn::Writes) {
    auto promise = std::make_shared<std::promise<Answer<T>>>();
    auto future = promise->get_future();
    if (turn == Turn::Urgent) ++urgent_;
    Command command{[this, promise, turn, change = std::move(change)](bool running) {
      if (turn == Turn::Urgent) --urgent_;
      if (!running) return promise->set_value(Refusal{Refusal::Kind::Unavailable, "sallyport is stopping"});
      if (turn != Turn::Writes || !follower_) return promise->set_value(change());
      if (auto begun = begin_turn(); !begun) return promise->set_value(begun.error());
      auto answer = change();
      end_turn();
      promise->set_value(std::move(answer));
    }};
    if (!started_) {
      command.run(true);
    } else {
      // Read under the lock that stop() takes: a command is either seen by the thread or refused here.
      const std::lock_guard lock(command_mutex_);
      if (stopping_) {
        command.run(false);
      } else {
        ++commands_waiting_;
        work_.push(std::move(command));
        ring();
        hurry();
      }
    }
    return future.get();
  }

  // registrar_changes.cc: on the registrar's thread
  Answer<Code> issue_code(std::int64_t ttl_seconds, const Actor& by);
  Answer<CaRecord> register_ca(const CaRegistration& registration, const Actor& by);
  Answer<void> trust(const std::vector<Certificate>& cas);
  static IssuedCode issued(const CodeRow& row);
  // Those that are absent and in date; the others are passed over.
  Answer<void> add_trusted(const std::vector<Certificate>& cas, std::int64_t now);
  Answer<void> trust_later(const std::vector<Certificate>& absent, const Refusal& why);
  bool passed_over_begins(std::int64_t now) const;  // any thread
  void look_at_dates(std::int64_t now);
  void clock_was_set(std::int64_t now);
  void end_codes(std::int64_t now);
  Answer<CaRecord> set_ca_status(const Digest& id, CaStatus status, const Actor& by);
  Answer<CaRecord> set_ca_joining(const Digest& id, std::optional<bool> auto_register, std::optional<bool> approve,
                                  const Actor& by);
  Answer<CaRecord> delete_ca(const Digest& id, bool cascade, const Actor& by);
  Answer<void> set_server_keys(std::vector<Digest> spki_hashes);

  // registrar_devices.cc: on the registrar's thread
  Answer<DeviceRecord> set_device_status(const Digest& id, DeviceStatus status, const Actor& by);
  Answer<DeviceRecord> set_one_status(const Digest& id, DeviceStatus status, const Actor& by);
  // A change of status that nothing stands against, and a device that may be forgotten.
  struct StatusChange {
    Digest id{};
    DeviceKey key;
    DeviceRow before, after;
    DeviceStatus was{};  // in force
  };
  struct Deletion {
    DeviceRow row;
    DeviceRecord was;
    std::optional<DeviceText> text;
  };
  Answer<std::optional<StatusChange>> status_change(const Digest& id, DeviceStatus status) const;
  Answer<Deletion> deletion(const Digest& id) const;
  // In one commit.
  Answer<void> set_statuses(std::span<const StatusChange> changes, DeviceStatus status, const Actor& by);
  Answer<void> forget(std::span<const Deletion> deletions, const Actor& by);
  Answer<std::vector<DeviceChanged>> change_devices(const std::vector<Digest>& ids, DeviceAction action,
                                                    const Actor& by);
  std::vector<Digest> same_serial_as(const Digest& id) const;
  Answer<DeviceRecord> delete_device(const Digest& id, const Actor& by);
  Answer<std::vector<Registered>> register_devices(std::vector<Registration> devices, const Actor& by);
  // Whether a registered CA signed `ca` and its CRL names it.
  // Also where its issuer is one of `beside`, which are to be registered with it.
  bool listed_by_its_issuer(const Certificate& ca, const std::vector<Certificate>& beside = {}) const;
  // After the listed serials changed: chains through one of them end, and the sessions that came by them.
  void end_chains_through_listed(Notice& notice);
  bool purge_some();  // false: nothing is left to purge

  // registrar_device_list.cc
  Answer<DevicePage> devices(const DeviceQuery& query) const;

  // registrar_reads.cc
  Answer<CaRecord> ca(const Digest& id) const;
  Answer<DeviceRecord> device(const Digest& id) const;
  Answer<DeviceRecord> record_of(const Digest& id, const DeviceRow& row) const;
  DeviceRecord record_of(const Digest& id, const DeviceRow& row, const DeviceText* text) const;
  bool gone(const Digest& id, const DeviceRow& row) const;
  bool left_behind(const DeviceRow& row) const;
  bool revoked_between(const ChainRecord& chain) const;

  // registrar_shared.cc: a registry that is a replica. On the registrar's thread, but where it says otherwise.
  Answer<void> share(const SharedOptions& options, Logger& log);  // before warm()
  void follow();                                                  // after start()
  Answer<void> begin_turn();
  Answer<void> ask_for_turn();
  void end_turn();
  Answer<SharedPosition> write(std::uint64_t revision, std::span<const SharedEntry> entries) override;
  SharedPosition position() const override;  // any thread
  Answer<void> take(SharedNews news) override;
  bool needs_writer() const override;  // any thread
  void take_writer(std::unique_ptr<SharedSession> writer) override;
  void lose_writer() override;
  void set_stale(bool stale) override;
  void look_at_outbox() override;
  std::int64_t audit_from_us() const override { return audit_from_us_; }  // any thread
  void drop_writer();
  void have_writer(std::unique_ptr<SharedSession> writer);

  // registrar_epochs.cc: what nodes have in common so that devices resume anywhere
  bool complete(RegistryStore::Batch& batch, std::span<const SharedEntry> entries) override;
  void epochs_committed();
  void mark_losses();
  void take_epochs(const SharedEpochs& epochs);
  void settle_losses();
  Answer<std::vector<TicketKeyRow>> ticket_keys() const;  // any thread
  Answer<bool> rotate_ticket_keys(const TicketRotation& rotation);
  Answer<void> drop_ticket_keys(const Actor& by);
  void owe_drop(std::uint32_t below, const Actor& by);
  Answer<void> read_owed_drop();
  Answer<void> write_drop();
  void settle_drop();
  void tell_settings();

  // registrar_shared.cc, again
  void set_position(const SharedPosition& position);
  Answer<void> catch_up(SharedNews news);
  Refusal away() const;

  // registrar_replica.cc: what others committed. `parts` of a snapshot count when it is whole.
  struct Arrival;
  Answer<void> apply(std::vector<SharedEntry> entries, const std::optional<SharedPosition>& position);
  void prepare(Arrival& arrival, RegistryStore::Batch& batch);
  void prepare_device(Arrival& arrival, const SharedEntry& entry, RegistryStore::Batch& batch);
  void publish_cas(Arrival& arrival);
  void publish_devices(Arrival& arrival);
  void recount();
  void forget_ca(const Digest& id, const std::vector<std::uint64_t>& chains);
  DeviceStatus held_status(const Digest& id, DeviceStatus status) const;

  // registrar_snapshot.cc
  Answer<void> snapshot_begins(bool elsewhere) override;
  Answer<void> snapshot_part(std::vector<SharedEntry> entries) override;
  Answer<void> snapshot_ends(const SharedPosition& position) override;
  void keep_restrictions(const std::vector<SharedEntry>& entries);

  // registrar_kept.cc: settings that another history would undo
  bool undoes(const SharedEntry& here, const std::optional<std::string>& there) const;
  void keep_settings(std::vector<SharedEntry>& entries);
  Answer<void> read_kept();
  void settle_kept();
  Answer<void> record(const WaitingLine& line);
  Answer<void> read_lines();  // at the start
  void settle_lines();
  void settle_all();

  // registrar_outbox.cc: what waits to be written over there
  Answer<void> read_outbox();  // at the start
  bool put_aside();            // registrations that wait; false: the disk does not take them
  void bring_back();
  void settle_outbox();  // restrictions made here meanwhile
  Answer<void> write_again(const Digest& id, const LocalRestriction& restriction);
  void in_force_here(const Digest& id, const LocalRestriction& restriction);
  Answer<void> restrict_here(const Digest& id, const LocalRestriction& restriction);
  // The rows of a device, as an operator's change at another node may take them away meanwhile.
  Answer<std::optional<LocalRestriction::Rows>> rows_of(const Digest& id) const;
  std::optional<Registration> waiting_device(const Digest& id) const;
  Answer<DeviceRecord> restrict_waiting(const Registration& waiting, DeviceStatus status, const Actor& by);
  Answer<DeviceRecord> restrict_again(const Digest& id, LocalRestriction before, DeviceStatus status, const Actor& by);
  DeviceRecord record_of_held(const Digest& id) const;  // of one that is not registered
  bool waits_for_its_ca(const Digest& id, const LocalRestriction& restriction) const;
  Answer<DeviceRecord> restrict_device_here(const Digest& id, DeviceStatus status, const Actor& by);
  Answer<CaRecord> restrict_ca_here(const Digest& id, const Actor& by);

  struct Command {
    std::function<void(bool running)> run;
  };
  struct Seen {
    Digest device{};
  };
  using Work = std::variant<Registration, Seen, Command>;

  void run();
  void ring();
  void hurry();
  void gather();
  void settle(bool at_once);
  void settle_at_last();
  void trim();
  void trim_audit(RegistryStore::Batch& batch);
  void trim_codes(RegistryStore::Batch& batch, std::vector<Digest>& ended);
  void process(std::vector<Work> work);
  void gather_seen(std::vector<Digest> seen);
  void commit_seen(const std::vector<Digest>& seen);
  void reclaim();
  void put_in_force(const Notice& notice);
  std::optional<StandingEpochs> epochs_at_stop() const;

  // registrar_registrations.cc
  void take_in(Registration registration);  // who waits already is not taken twice
  void commit_registrations();
  // None: accepted, or nothing to do; else why the device must not have been let in.
  Reason examine(const Registration& registration, RegistryStore::Batch& batch, std::vector<Accepted>& accepted,
                 std::int64_t now);
  Reason serial_taken(const DeviceKey& key, std::string_view serial, const Digest& issuing_key,
                      const std::vector<Accepted>& accepted) const;
  void accept_move(const Registration& registration, const DeviceKey& key, const SlotState& slot, std::uint64_t chain,
                   RegistryStore::Batch& batch, std::vector<Accepted>& accepted);
  void publish(const std::vector<Accepted>& accepted);
  // The rows as they were before these were accepted.
  void unaccept(RegistryStore::Batch& batch, const std::vector<Accepted>& accepted);

  std::shared_ptr<const CaSet> build_ca_set(std::int64_t now);
  // Publishes a new CA set and refreshed chains, puts both in force and cuts what died with it.
  void put_cas_in_force(std::int64_t now);
  // All of them in one commit, or none. `code`: the one it is registered with, as it was.
  Answer<void> store_cas(std::vector<CaRecord> records, RegistryStore::Batch& batch, const Actor& by,
                         const std::optional<CodeRow>& code = {});
  void count(DeviceStatus status, const Digest& owner, int by);
  void note_whether_full(const CaRecord& ca) const;
  void set_options(const RegistrarOptions& options);
  void count_expiry(std::int64_t not_after, int by);
  // The status in force, else the row's: the cache is ahead of the disk where a change could not be written.
  DeviceStatus status_now(const DeviceKey& key, const DeviceRow& row) const;
  // Puts a row's status in force. Counters change where it does, so that what is repeated counts once.
  void put_status(const DeviceKey& key, const DeviceRow& row, const Digest& owner);
  std::shared_ptr<const CaSet> cas_now() const {
    const std::lock_guard lock(mutex_);
    return ca_set_;
  }

  static constexpr std::int64_t kRetryMs = 500;  // after a commit that the disk refused

  RegistryStore& store_;
  StatusCache& cache_;
  ChainTable& chains_;
  ChangeSink& sink_;
  RegistrarOptions options_;  // the registrar's thread
  const std::size_t queue_;   // any thread
  Logger& log_;

  WorkQueue<Work> work_;
  std::atomic<std::uint32_t> bell_{0};
  std::atomic<std::uint64_t> queued_{0};  // registrations accepted from shards and not yet written
  std::atomic<std::uint64_t> commands_waiting_{0};
  std::atomic<bool> started_{false};
  std::mutex command_mutex_;
  std::atomic<bool> stopping_{false}, stopped_{false};
  std::thread thread_;
  std::vector<Digest> seen_;                              // the registrar's: of a shared registry, written together
  std::int64_t seen_at_ms_ = 0;                           // steady clock
  std::vector<Registration> waiting_;                     // the registrar's: taken from the queue, not yet on disk
  std::set<Digest> waiting_ids_;                          // each of them once: who comes again waits already
  std::int64_t retry_at_ms_ = 0;                          // steady clock; 0: no failed commit behind
  std::int64_t trim_at_ms_ = 0;                           // steady clock
  std::int64_t settle_at_ms_ = 0;                         // steady clock: when what is owed is tried again
  std::atomic<std::int64_t> trust_at_ms_{0};              // steady clock: when a CA that was passed over is tried again
  std::chrono::steady_clock::time_point gather_until_{};  // the registrar's
  std::mutex hurry_mutex_;
  std::condition_variable hurried_;
  bool hurry_ = false;  // a command is there

  mutable std::mutex mutex_;
  std::map<Digest, CaRecord> cas_;
  std::shared_ptr<const CaSet> ca_set_;
  RegistrarStats stats_;
  std::map<std::int64_t, std::uint64_t> expiring_;  // devices by the day of their notAfter
  std::map<Digest, DeviceCounts> remains_;          // of CAs that were deleted: revoked devices, listed serials
  std::map<CrlKey, CrlRow> crls_;                   // the last lists
  std::map<std::string, std::int64_t> overdue_;     // those that were named as such, and their dates, by id

  // The registrar's alone.
  Ledger ledger_;
  ChainBook book_;
  CaSet::LinkMemo links_;
  std::set<Digest> server_keys_;
  std::map<Digest, IssuedCode> codes_;
  std::atomic<std::int64_t> code_ends_at_{INT64_MAX};  // the first of those that can be used
  std::shared_ptr<const std::set<Digest>> code_hashes_ = std::make_shared<const std::set<Digest>>();
  std::set<Digest> trusted_;                     // named by the configuration; written under mutex_
  std::vector<Certificate> passed_over_;         // of these: out of date and not registered; written under mutex_
  std::set<Digest> cas_not_durable_;             // inactive in memory, active on a disk that refused to take it
  std::map<Digest, std::uint64_t> held_unseen_;  // serials on hold that nobody has shown, by CA
  struct Purge {
    Digest ca{};
    std::string after;  // the last device looked at
  };
  std::vector<Purge> purges_;

  // Of a shared registry.
  std::unique_ptr<Follower> follower_;
  std::unique_ptr<SharedSession> writer_;
  std::atomic<bool> has_writer_{false};
  std::atomic<std::uint32_t> urgent_{0};  // commands that do not wait for PostgreSQL, and what waits for it
  std::atomic<bool> in_a_hurry_{false};   // this turn is asked for only to see whether it would be given
  bool in_turn_ = false;
  bool takes_no_writes_ = false;  // the last commit was refused over there: it is read-only, or its disk is full
  mutable std::mutex position_mutex_;
  SharedPosition position_;                  // written under position_mutex_
  std::map<Digest, LocalRestriction> held_;  // in force here, not yet over there
  std::atomic<std::size_t> held_count_{0};   // of them; any thread
  std::size_t lines_aside_ = 0;              // of the audit log, in the outbox
  std::uint64_t lines_made_ = 0;
  std::set<std::string> lines_written_;  // keys of those that are written, and not yet out of the outbox
  bool lines_said_ = false;
  std::map<std::string, SharedEntry> kept_;          // settings that are not to be undone, by family and key
  std::set<Digest> settle_said_;                     // of them: those that were named as not written yet
  std::set<Digest> aside_;                           // devices in the outbox, counted in queued_
  bool snapshot_ = false, elsewhere_ = false;        // one is being taken in; of another history
  std::map<std::uint64_t, ChainRow> chains_before_;  // of the history that this node knew
  bool recount_ = false;
  std::optional<Stale> stale_;                      // what is refused, because nobody knows what was changed meanwhile
  std::atomic<std::uint64_t> settings_changed_{0};  // by others: tokens, overrides, server certificates, ticket keys
  const int settings_fd_;                           // rung with it
  std::optional<SharedEpochs> epochs_;              // as the registry has them; none: each node has its own
  std::atomic<bool> epochs_shared_{false};          // whether there are any
  std::optional<SharedEpochs> coming_;              // of the commit that is being made
  std::vector<DeviceKey> losing_;                   // devices that lose their standing with it
  std::uint32_t losing_in_ = 0;                     // once it is committed
  bool applying_ = false;                           // what others committed: epochs rise when all of it is in force
  std::atomic<std::uint32_t> drop_below_{0};        // ticket keys of epochs before this are to go
  Actor drop_by_;
  std::atomic<std::int64_t> audit_from_us_{0};  // what is older was cut from the audit log here
};

// What a restriction is answered with where the disk refused it: it holds, and is written once the disk takes it.
Refusal not_durable(const Refusal& why);
// What the audit log calls a change to this status.
std::string_view action_of(DeviceStatus status);
std::int64_t unix_now();
std::int64_t steady_ms();

}  // namespace sallyport
