// The registrar: the single writer of RocksDB, of the status cache and of the chain table. One thread.
// Shards offer it first-time devices through bounded queues, the admin side calls it and waits. It takes
// whatever queued during the last sync, checks it again against the state as it is NOW, writes one
// synced batch, publishes, puts in force through the ChangeSink, and only then answers: the order of a
// change everywhere is durable -> in force -> acknowledged. README.md has the rules.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/log.h"
#include "cache/base/result.h"
#include "cache/registry/audit.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/change.h"
#include "cache/standing/device_gate.h"
#include "cache/x509/certificate.h"
#include "cache/x509/crl.h"

namespace sallyport {

class ChainTable;
struct SharedOptions;
struct SharedState;
struct InForce;
class RegistryStore;
class StatusCache;
struct OverrideRow;
struct ServerCertRow;
struct TokenRow;

struct RegistrarOptions {
  bool auto_register = true;  // default for CAs registered without their own choice
  std::size_t max_cas = 1000;
  std::uint64_t max_devices_per_ca = 0;  // 0: no limit
  std::size_t queue = 65536;             // devices waiting to be written, all shards together
  // From one write of registrations to the next: those that come meanwhile share its sync. Nobody waits for them.
  std::chrono::milliseconds gather{10};
  // Lines of the audit log that are older go, but for the newest kAuditAlways: a clock that is years ahead takes no
  // more.
  std::chrono::seconds audit_keep{400LL * 86400};
  static constexpr std::size_t kAuditAlways = 10'000;
};

// A device that was admitted and is not yet stored, or must move to another chain.
struct Registration {
  std::string leaf_der;
  Identity identity;
  PathFound path;
  bool pending = false;  // its CA requires approval
  RegisteredBy by = RegisteredBy::Auto;
};

// What became of one of several devices an operator registers.
struct Registered {
  Digest id{};
  Reason refused = Reason::None;
  bool already = false;  // it was registered before; nothing was changed
};

struct CrlOutcome {
  Digest ca{};
  std::uint64_t entries = 0;
  std::uint64_t revoked = 0;  // devices that were registered and are revoked now
  std::uint64_t held = 0;     // certificateHold: registered devices that are inactive now
  std::uint64_t unseen = 0;   // serials nobody has shown yet, kept as tombstones
  std::uint64_t cas = 0;      // registered CAs that the list names: inactive now
  std::uint64_t known = 0;    // entries that changed nothing
  // Other keys of its issuer's name, as after a CA's key rollover, under which the list was not taken: who holds
  // numbers that it names there. `ca` none: no registered CA has that key. With 0 devices where it named numbers nobody
  // has shown: whose they are only the operator knows.
  struct Elsewhere {
    std::optional<Digest> ca;
    std::uint64_t devices = 0;
  };
  std::vector<Elsewhere> elsewhere;
};

// The last list of a CA and a scope. Times in Unix seconds.
struct CrlRecord {
  std::string id;      // hex; of the issuing key and the scope
  Digest ca{};         // a registered one with the key that signed it
  std::string scope;   // for a person; empty: all certificates
  std::string number;  // as Certificate::serial(); empty: it has none
  std::int64_t this_update = 0;
  std::int64_t next_update = 0;  // 0: it says none
  std::uint64_t entries = 0;
  std::int64_t imported_at = 0;  // 0: by a version that did not keep it, nor next_update and entries
  bool overdue(std::int64_t now) const { return next_update != 0 && now > next_update; }
};

struct DeviceCounts {
  std::uint64_t active = 0, inactive = 0, pending = 0, revoked = 0;
};

struct CaRecord {
  Digest id{};
  Certificate certificate;
  CaStatus status = CaStatus::Active;
  bool auto_register = true;
  bool approve = false;
  bool from_config = false;  // came with `trusted_cas`
  std::int64_t registered_at = 0;
  DeviceCounts devices;
  std::uint64_t registered_since_start = 0;  // devices written by this process
  std::shared_ptr<std::atomic<bool>> full = std::make_shared<std::atomic<bool>>(false);  // CaEntry::full
};

struct DeviceRecord {
  Digest id{};
  std::string serial;  // bytes, as Certificate::serial()
  std::string subject, cn;
  Digest ca_id{};
  DeviceStatus status = DeviceStatus::Active;
  Reason standing = Reason::None;  // None: effectively active; else why not (ca_inactive, expired, …)
  std::int64_t not_before = 0, not_after = 0;
  std::string key_type;
  std::int64_t registered_at = 0;
  RegisteredBy registered_by = RegisteredBy::Auto;
  std::int64_t last_seen = 0;  // Unix seconds at day resolution; 0: never
};

// One certificate above a device's, as its chain was verified.
struct ChainMember {
  Digest id{};
  std::string subject;
  std::string serial;  // bytes, as Certificate::serial()
  std::int64_t not_before = 0, not_after = 0;
  bool registered = false;         // as a CA; else it came with the device
  Reason standing = Reason::None;  // None: it lets the device in; else why not
};

struct DeviceQuery {
  std::string serial;         // bytes; empty: any
  std::string serial_prefix;  // hex digits that its number begins with; empty: any
  std::optional<Digest> ca;
  std::optional<DeviceStatus> status;
  std::string cn_glob;                                        // empty: any
  std::string cn_part;                                        // whatever its case; empty: any
  std::optional<std::int64_t> expires_before, expires_after;  // before the one, at the other or after
  std::string page_token;                                     // as returned; empty: from the start
  std::size_t limit = 100;                                    // 1..1000
};
template <class T>
struct Page {
  std::vector<T> items;
  std::string next_page_token;  // empty: the end
};
struct DevicePage : Page<DeviceRecord> {
  std::uint64_t looked_at = 0;  // devices
};

// What operators do to devices, one or many.
enum class DeviceAction : std::uint8_t { Activate, Deactivate, Revoke, Delete, Approve };
DeviceStatus status_after(DeviceAction action);
// Why a rule stands against it; nothing: none does. `now` in Unix seconds.
std::optional<Refusal> refusal_of(DeviceAction action, const DeviceRecord& was, std::int64_t now);
struct DeviceChanged {
  Digest id{};
  bool changed = false;  // else it was so already, or it was refused
  std::optional<Refusal> refused;
};

struct Code {
  std::string code;
  std::int64_t expires_at = 0;
};

struct CaRegistration {
  Certificate certificate;
  Certificate verification;
  std::optional<bool> auto_register;  // unset: the configuration's default
  bool approve = false;
};

struct RegistrarStats {
  std::uint64_t queued = 0;  // now
  std::uint64_t revision = 0;
  std::uint64_t registered = 0;    // devices stored since the start
  std::uint64_t refused = 0;       // losers of a race: refused at commit time
  std::uint64_t store_errors = 0;  // failed commits; the registrations stayed queued
  std::uint64_t commits = 0;
  double commit_seconds_sum = 0;
  std::vector<std::uint64_t> commit_seconds_buckets;  // per kCommitBuckets bound, not cumulative, plus +Inf
  bool stalled = false;                               // the disk has not answered a write for a second or more
  std::uint64_t not_durable = 0;                      // restrictions in force that a restart would take back
  bool owes = false;                                  // these, or what the disk has not answered
  DeviceCounts devices;
  std::uint64_t cas_active = 0, cas_inactive = 0;
  double warmup_seconds = 0;
};

// Of StatusCache: what tickets that outlive the process are worth afterwards.
struct StandingEpochs {
  std::uint32_t epoch = 0;
  std::uint32_t of_chains = 0;  // the last one in which any chain was lost
};

// A new key of TLS tickets for all nodes of a shared registry, where the newest is older than `every`; what is older
// than `keep` goes. In seconds.
struct TicketRotation {
  std::int64_t every = 0, keep = 0;
  std::function<Answer<TicketKeyRow>(std::int64_t made_at)> make;  // on the registrar's thread
};

class Registrar {
 public:
  // Everything passed outlives the registrar. The store is open. Nothing runs yet.
  Registrar(RegistryStore& store, StatusCache& cache, ChainTable& chains, ChangeSink& sink, RegistrarOptions options,
            Logger& log);
  ~Registrar();
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;

  // Reads the whole registry into the status cache, the chain table and the first CA set. Once, before start(). `last`:
  // of the process before, where its ticket keys go on; which lost chain was whose is not kept, so all of its tickets
  // from before the last such loss are worth nothing.
  Answer<void> warm(const StandingEpochs& last = {});
  // Adds what is absent, all of it in one commit or nothing; never changes the status of what is present. Out of date
  // and absent is passed over, with a warning: it would let nobody in. After warm(), before or after start().
  Answer<void> trust(const std::vector<Certificate>& cas);
  std::set<Digest> trusted() const;  // what trust() was given last; any thread
  // What a date has closed opens with the next one, and the other way round: chains, and CAs that trust() passed over.
  // `now` in Unix seconds, later or earlier than before. Cheap where no date lies between; any thread, every second.
  void look_at_dates(std::int64_t now);
  std::vector<Certificate> passed_over() const;  // those; any thread
  void clock_was_set(std::int64_t now);          // the same, and codes that ended stay ended; any thread
  // The registry is a replica of a shared one. Once, before warm(). `log`: of the thread that follows it.
  Answer<void> share(const SharedOptions& options, Logger& log);
  void start();  // the thread
  // After start(), where it is shared: from now on it is followed. Waits until this node knows what others changed
  // while it was down, or `limit` is over: false.
  bool follow(std::chrono::milliseconds limit);
  // Waits for that once more.
  bool follows(std::chrono::milliseconds limit);
  // Writes what is queued, then joins; idempotent. Still stalled() after it: the store is in use, and must not be
  // destroyed before the disk answers.
  void stop();
  // After stop(). Nothing where ticket keys must not be kept: a loss of standing was in force and is not on the disk,
  // or the last epoch is reached.
  std::optional<StandingEpochs> epochs_at_stop() const;

  // Shards, all at once. Never blocks; false: the queue is full, offer again later.
  bool offer(Registration registration);
  // A known device was seen: at most one write a day each, not synced. Never blocks; may be dropped under load.
  void seen(const Digest& device);

  // What a reload of the configuration changes; `queue` stays as it was at the start.
  RegistrarOptions options() const;  // those in force; any thread
  Answer<void> set_options(const RegistrarOptions& options);

  // Any thread.
  std::shared_ptr<const CaSet> ca_set() const;
  RegistrarStats stats() const;
  bool stalled() const;  // the disk has not answered a write for a second or more

  // The admin side; each blocks its caller until durable and in force. Any thread but the registrar's and the shards'.
  // Each leaves a line of `by` in the audit log, in the same batch as the change.
  Answer<Code> issue_code(std::int64_t ttl_seconds, const Actor& by = {});
  Answer<CaRecord> register_ca(const CaRegistration& registration, const Actor& by = {});
  Answer<CaRecord> set_ca_status(const Digest& id, CaStatus status, const Actor& by = {});
  // Of devices that come from now on; what is unset stays as it is. Durable on return, or nothing has changed.
  Answer<CaRecord> set_ca_joining(const Digest& id, std::optional<bool> auto_register, std::optional<bool> approve,
                                  const Actor& by = {});
  // Refused while it is active or has active devices, unless `cascade`. Returns it as it was. Its devices are
  // registered no more; those that are revoked stay so until their notAfter.
  Answer<CaRecord> delete_ca(const Digest& id, bool cascade, const Actor& by = {});
  Answer<DeviceRecord> set_device_status(const Digest& id, DeviceStatus status, const Actor& by = {});
  // Forgets it. A revoked one cannot be forgotten before its notAfter.
  Answer<DeviceRecord> delete_device(const Digest& id, const Actor& by = {});
  // Many in one commit; each is refused by itself, and a line of the audit log is its own. At most kMostChanged: others
  // wait behind it. One refusal for all where the disk is in the way.
  static constexpr std::size_t kMostChanged = 1000;
  Answer<std::vector<DeviceChanged>> change_devices(const std::vector<Digest>& ids, DeviceAction action,
                                                    const Actor& by = {});
  // Devices that the gate admitted for an operator; one commit. In the order given. One alone has a line in the audit
  // log; who registers many writes one of its own behind the last (record()).
  Answer<std::vector<Registered>> register_devices(std::vector<Registration> devices, const Actor& by = {});
  // The lists' signatures are verified here, against the registered CAs: all of them before the first one is put in
  // force. In the order given. `also_under`: registered CAs of the same name and another key, to whose devices the
  // lists apply, too (RFC 5280, section 5: a list is its issuer's, whichever key signed it; only the operator knows
  // whether two keys of one name are one issuer's). One that no list is of refuses all.
  Answer<std::vector<CrlOutcome>> import_crls(std::span<const Crl> crls, const Actor& by = {},
                                              std::span<const Digest> also_under = {});
  Answer<CrlOutcome> import_crl(const Crl& crl, const Actor& by = {}, std::span<const Digest> also_under = {});

  // Settings that live in the store; who uses them reads them here and holds them itself.
  Answer<void> put_server_cert(const Digest& id, const ServerCertRow& row, const Actor& by);
  Answer<void> delete_server_cert(const Digest& id, const Actor& by);
  Answer<std::vector<std::pair<Digest, ServerCertRow>>> server_certs() const;
  // An empty row removes it. `before` and `after` are what the audit log says. `restricts`: it keeps devices out that
  // came in before, and is the caller's to put in force whatever the disk says.
  Answer<void> put_override(const std::string& listener, const OverrideRow& row, const std::string& action,
                            const std::string& before, const std::string& after, const Actor& by,
                            bool restricts = false);
  Answer<std::vector<std::pair<std::string, OverrideRow>>> overrides() const;
  Answer<void> put_token(const std::string& name, const TokenRow& row, const Actor& by);
  // `again`: it was answered as not durable before.
  Answer<void> remove_token(const std::string& name, bool again, const Actor& by);
  Answer<std::vector<std::pair<std::string, TokenRow>>> tokens() const;
  // A line about what changed nothing in the store: a session cut by hand, a reload, a backup.
  Answer<void> record(const Actor& by, const std::string& action, const std::string& target, const std::string& after);
  // Newest first, from `before_us` downwards to `since_us`, at most `limit`.
  Answer<std::vector<AuditRecord>> audit(std::int64_t since_us, std::int64_t before_us, std::size_t limit) const;

  // Public keys of the certificates this server presents: no device may use them.
  Answer<void> set_server_keys(std::vector<Digest> spki_hashes);

  // With a shared registry out of reach: in force on this node at once, and written over there as soon as it answers.
  Answer<DeviceRecord> restrict_device_here(const Digest& id, DeviceStatus status, const Actor& by);
  Answer<CaRecord> deactivate_ca_here(const Digest& id, const Actor& by);
  // Any thread. Of a registry that is this machine's own: nothing.
  std::optional<SharedState> shared_state() const;
  // Where what was changed last is in force by now; waits until it is everywhere, at most for `limit`.
  std::optional<InForce> in_force(std::chrono::milliseconds limit);
  // What time alone decides: whether too much of it has passed since the shared registry was followed. Any thread.
  void look_at_shared();
  // Rises with each setting that another node changed, and with each ticket key; and a descriptor that is rung with it.
  std::uint64_t settings_changed() const;
  int settings_fd() const;

  // Another node is asked, and what it says; what others ask of this one is answered by `answers`, on the follower's
  // thread, until it is taken away again. Any thread but the registrar's; waits.
  Answer<std::string> ask(const std::string& node, const std::string& request, std::chrono::milliseconds limit);
  void answer_with(std::function<std::string(const std::string&)> answers);
  // One that is gone for good is waited for and listed no more. Refused where it is there.
  Answer<void> forget_node(const std::string& name, const Actor& by);

  // registrar_epochs.cc. Whether what a ticket is worth is said in the shared registry, so that it may be honoured at
  // any node: its schema is 2 or later. Any thread.
  bool shares_epochs() const;
  // Of all nodes, the newest first; without those that were dropped here and are still to be dropped there. Any thread.
  Answer<std::vector<TicketKeyRow>> ticket_keys() const;
  // False: another node has made one meanwhile.
  Answer<bool> rotate_ticket_keys(const TicketRotation& rotation);
  // All of them, here at once and everywhere. The refusal says that the others still have them.
  Answer<void> drop_ticket_keys(const Actor& by);

  // Reading; any thread, from the store, does not wait for the registrar.
  Answer<CaRecord> ca(const Digest& id) const;
  std::vector<CaRecord> cas() const;
  std::vector<CrlRecord> crls() const;  // of registered CAs
  // Those that are overdue since the last call that named them, once each.
  std::vector<CrlRecord> newly_overdue(std::int64_t now);
  Answer<DeviceRecord> device(const Digest& id) const;
  // From the one that signed the device's upwards. Empty where it is not known any more.
  Answer<std::vector<ChainMember>> chain_of(const Digest& device) const;
  Answer<Certificate> device_certificate(const Digest& id) const;
  // A page may be short, and empty, with a token to go on from: what one call looks at is bounded.
  Answer<DevicePage> devices(const DeviceQuery& query) const;
  // Ids of devices whose id begins with `hex` (>= 8 digits); at most `limit`.
  std::vector<Digest> devices_by_prefix(std::string_view hex, std::size_t limit) const;
  // Devices not revoked whose certificate ends after `from` and before `to`, at day resolution.
  std::uint64_t devices_expiring(std::int64_t from, std::int64_t to) const;

 private:
  class Impl;
  friend class CrlImport;
  std::unique_ptr<Impl> impl_;
};

inline constexpr double kCommitBuckets[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0};

}  // namespace sallyport
