// What is on disk: the only user of RocksDB. Column families for devices, certificates, the two indexes,
// CAs, chains, hosted server certificates, tokens, the audit log, and meta (schema version, revision, codes,
// overrides, CRLs, purges). A batch is written whole or not at all. Any thread may read; the registrar alone writes.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "cache/registry/audit.h"
#include "cache/registry/revision_mark.h"
#include "cache/shared/shared_entry.h"
#include "cache/standing/change.h"
#include "cache/standing/status_cache.h"
#include "cache/x509/certificate.h"

namespace rocksdb {
class Env;
}

namespace sallyport {

// What the cache needs of a device: 64 bytes on disk.
struct DeviceRow {
  DeviceStatus status = DeviceStatus::Active;
  RegisteredBy registered_by = RegisteredBy::Auto;
  std::uint16_t seen_day = 0;
  std::uint32_t epoch = 0;  // StatusCache::epoch_with()
  std::uint64_t chain = 0;
  std::int64_t not_before = 0, not_after = 0, registered_at = 0;
  IssuerSerial name{};
};

// Of it, what the cache keeps.
inline SlotState slot_state(const DeviceRow& row) {
  return {static_cast<std::uint32_t>(row.chain), static_cast<std::uint8_t>(row.status), row.seen_day, row.epoch};
}

// What a person wants to see of it, kept beside its certificate so that a list parses none.
struct DeviceText {
  std::string serial, subject, cn, key_type, der;
};

struct CaRow {
  CaStatus status = CaStatus::Active;
  bool auto_register = true;
  bool approve = false;
  bool from_config = false;
  std::int64_t registered_at = 0;
  std::string der;
};

struct ChainRow {
  std::vector<Digest> cas;
  std::vector<std::string> intermediates;  // DER
  Digest issuing_key{};                    // outlives its CA: tombstones are of an issuing key
  bool crl = false;                        // of serials that a CRL named and nobody has shown
  bool forgotten = false;                  // its CA was deleted: what it verified is registered no more
};

struct CodeRow {
  Digest hash{};  // SHA-256 of the code: the code itself is not kept
  std::int64_t expires_at = 0;
  bool used = false;
};

// A server certificate that was uploaded: its chain as it came, its key sealed under registry.key_file.
struct ServerCertRow {
  std::string chain_pem;
  std::string sealed_key;
  std::int64_t added_at = 0;
};

// What was chosen at run time for a listener, in place of what the file says.
struct OverrideRow {
  std::optional<std::uint8_t> auth;   // the data plane's AuthMode
  std::optional<Digest> certificate;  // a hosted server certificate
};

struct TokenRow {
  Digest hash{};          // SHA-256 of the token: the token itself is not kept
  bool operates = false;  // the role: operator, else viewer
  std::int64_t created_at = 0;
  std::int64_t expires_at = 0;  // 0: never
};

// The last list imported for an issuing key and a scope.
struct CrlRow {
  std::string number;            // big-endian magnitude of the cRLNumber; empty where it has none
  std::int64_t this_update = 0;  // Unix seconds, as all here
  std::int64_t next_update = 0;  // 0: it says none
  std::uint64_t entries = 0;
  std::int64_t imported_at = 0;  // 0: by a version that kept the number and the date alone
  Digest ca{};                   // whose list; zero likewise
  std::string scope;             // for a person; empty: all certificates
};
// What its row is found by. `scope`: zero, of all certificates; else the SHA-256 of Crl::scope().
struct CrlKey {
  Digest issuing_key{}, scope{};
  auto operator<=>(const CrlKey&) const = default;
};

// Epochs (StatusCache) that the nodes of a shared registry have in common.
struct SharedEpochs {
  std::uint32_t epoch = 0;
  std::uint32_t of_new = 0;     // in which a device was forgotten last
  std::uint32_t of_chains = 0;  // in which any chain was lost last
};

// A key of TLS tickets that the nodes of a shared registry have in common, sealed by who made it.
struct TicketKeyRow {
  std::array<std::uint8_t, 16> name{};
  std::int64_t made_at = 0;  // Unix seconds, by PostgreSQL's clock: from when on tickets are issued with it
  std::uint32_t epoch = 0;   // in which it was made
  std::string sealed;
};

struct MetaRow {
  std::uint64_t revision = 0;
  std::uint64_t next_chain = 1;
};

// How far a commit has got when it returns.
enum class Durable : std::uint8_t {
  Later,     // the kernel has it: a crash of the machine may lose it
  Synced,    // it is on disk
  Answered,  // and so is its revision, in the mark beside the store: somebody is told that it is done
};

enum class OnLoss : std::uint8_t {
  Refuse,  // to open a registry that knows less than was answered
  Accept,  // keep what can be read, and write what is missing into the audit log
};

// What an open() with OnLoss::Accept found missing.
struct StoreLoss {
  std::string why;                        // as the refusal would have said it
  std::uint64_t answered = 0, found = 0;  // revisions
};

std::optional<SharedEpochs> epochs_of(std::string_view value);

class RegistryStore {
 public:
  class Impl;
  static constexpr std::uint32_t kSchema = 3;
  static constexpr const char* kManifest = "manifest.json";  // beside a registry that is a backup: it is never opened
  // Descriptors that it takes: tables that are open, and with them logs, manifest, lock, folders, and a backup's.
  static constexpr int kMostTables = 128, kMostFiles = kMostTables + 32;
  // Says how it goes on with a registry of an older schema; `loud`: an operator has to know.
  using Tell = std::function<void(bool loud, const std::string& what)>;

  // Creates the folder (0700) and the database where there is none. Refuses a registry that knows less than the mark in
  // DIR/registry.mark says was answered (revision_mark.h); a torn end of the log that nobody was told of is dropped.
  // A registry of an older schema is brought to this one, in one pass: cut short it goes on at the next open(), and no
  // version reads it half done. `env` is for tests that inject faults; it outlives the store. The refusal is one line
  // that says what to do.
  static Answer<std::unique_ptr<RegistryStore>> open(const std::string& dir, rocksdb::Env* env = nullptr,
                                                     OnLoss on_loss = OnLoss::Refuse, const Tell& tell = {});
  // As open() would find it, by reading alone; the refusal is the one that open() would give. Damage that only shows
  // where all of the log is replayed, and what an older schema holds, is not looked for.
  static Answer<void> would_open(const std::string& dir);
  ~RegistryStore();
  RegistryStore(const RegistryStore&) = delete;
  RegistryStore& operator=(const RegistryStore&) = delete;

  class Batch {
   public:
    Batch();
    ~Batch();
    Batch(Batch&&) noexcept;
    Batch& operator=(Batch&&) noexcept;
    bool empty() const;
    std::size_t bytes() const;

   private:
    friend class RegistryStore;
    struct Impl;
    std::unique_ptr<Impl> impl_;
  };

  // Filling a batch cannot fail; nothing is visible before commit().
  void put_device(Batch& batch, const Digest& id, const DeviceRow& row);
  void put_device_text(Batch& batch, const Digest& id, const Digest& owner, const DeviceText& text);
  void put_owner(Batch& batch, const Digest& id, const Digest& owner);
  void remove_owner(Batch& batch, const Digest& id, const Digest& owner);
  void remove_device(Batch& batch, const Digest& id, const Digest& owner, std::string_view serial);
  void put_ca(Batch& batch, const Digest& id, const CaRow& row);
  void remove_ca(Batch& batch, const Digest& id);
  void put_chain(Batch& batch, std::uint64_t id, const ChainRow& row);
  void put_code(Batch& batch, const CodeRow& row);
  void remove_code(Batch& batch, const Digest& hash);
  void put_meta(Batch& batch, const MetaRow& row);
  void put_server_cert(Batch& batch, const Digest& id, const ServerCertRow& row);
  void remove_server_cert(Batch& batch, const Digest& id);
  void put_override(Batch& batch, std::string_view listener, const OverrideRow& row);
  void remove_override(Batch& batch, std::string_view listener);
  void put_token(Batch& batch, std::string_view name, const TokenRow& row);
  void remove_token(Batch& batch, std::string_view name);
  void put_crl(Batch& batch, const CrlKey& key, const CrlRow& row);
  // A CA whose devices' rows are still to be removed.
  void put_purge(Batch& batch, const Digest& ca);
  void remove_purge(Batch& batch, const Digest& ca);
  void put_audit(Batch& batch, const AuditRecord& record);
  void remove_audit_before(Batch& batch, std::int64_t at_us);
  // Refused, with nothing written, where the disk is nearly full. The registrar's thread.
  Answer<void> commit(Batch& batch, Durable durable);
  // Why the mark could not be raised by the last commit, which is durable all the same. Empty: it was.
  const std::string& mark_trouble() const;
  const std::optional<StoreLoss>& loss() const;
  // The log had a torn end, which nobody was told of: dropped by open().
  bool tail_dropped() const;
  // Before a planned end: moves what the log holds (64 MiB at most) into tables, so that the next open() has nothing to
  // replay. What was committed is as durable without it.
  Answer<void> flush();

  Answer<std::optional<DeviceRow>> device(const Digest& id) const;
  Answer<std::optional<DeviceText>> device_text(const Digest& id) const;
  Answer<MetaRow> meta() const;
  // Of whatever has had a mark beside it, which says what was answered: made with the mark, never changed.
  Answer<std::optional<StoreId>> store_id() const;
  // Which registry this is, and what it holds by now: any other write, by whichever version, makes it another one, and
  // opening it does not. Nothing where that cannot be told.
  std::optional<std::string> state() const;
  Answer<std::optional<CrlRow>> crl(const CrlKey& key) const;

  // Calls `row` for each record in the order of its key, until it returns false.
  Answer<void> each_ca(const std::function<bool(const Digest&, const CaRow&)>& row) const;
  Answer<std::optional<ChainRow>> chain(std::uint64_t id) const;
  Answer<void> each_chain(const std::function<bool(std::uint64_t, const ChainRow&)>& row) const;
  Answer<void> each_code(const std::function<bool(const CodeRow&)>& row) const;
  // Devices whose id begins with `prefix` and is above `after` (both may be empty).
  Answer<void> each_device(std::string_view prefix, std::string_view after,
                           const std::function<bool(const Digest&, const DeviceRow&)>& row) const;
  // Devices whose id begins with `first`: a 256th of all that are to be read.
  Answer<void> each_device_of_part(std::uint8_t first,
                                   const std::function<bool(const Digest&, const DeviceRow&)>& row) const;
  // RocksDB's estimate: a row that was written twice counts twice until a compaction.
  std::uint64_t device_rows() const;
  Answer<void> each_id_of_ca(const Digest& owner, std::string_view after,
                             const std::function<bool(const Digest&)>& row) const;
  // The devices with their texts (null: it has none), above `after`.
  Answer<void> each_device_with_text(
      std::string_view after, const std::function<bool(const Digest&, const DeviceRow&, const DeviceText*)>& row) const;
  // Devices whose serial number, two digits a byte, begins with these hex digits of lower case: the shorter numbers
  // first. `key`: what `after` takes to go on behind it.
  Answer<void> each_id_of_serial_prefix(std::string_view digits, std::string_view after,
                                        const std::function<bool(const Digest&, std::string_view key)>& row) const;
  Answer<void> each_id_of_serial(std::string_view serial, std::string_view after,
                                 const std::function<bool(const Digest&)>& row) const;
  Answer<void> each_server_cert(const std::function<bool(const Digest&, const ServerCertRow&)>& row) const;
  Answer<void> each_override(const std::function<bool(std::string_view, const OverrideRow&)>& row) const;
  Answer<void> each_token(const std::function<bool(std::string_view, const TokenRow&)>& row) const;
  Answer<void> each_crl(const std::function<bool(const CrlKey&, const CrlRow&)>& row) const;
  Answer<void> each_purge(const std::function<bool(const Digest&)>& row) const;
  // Newest first, from `before_us` (exclusive) downwards.
  Answer<void> each_audit(std::int64_t before_us, const std::function<bool(const AuditRecord&)>& row) const;

  // Names as they are compared (registry_store_migrate.cc) in every row, also in those that were taken from a registry
  // of an older schema. Where they are so already, nothing is written.
  Answer<void> migrate_names(const Tell& tell);
  // Of a registry that was opened to be read: one of an older schema.
  Answer<bool> older_schema() const;

  // registry_store_shared.cc: of a registry that is a replica of a shared one. What a batch changes, as others take it;
  // indexes, and what is of this node alone, are left out. Epochs of devices are of a process, and 0 in it, until
  // share_epochs().
  Answer<std::vector<SharedEntry>> shared_entries(const Batch& batch) const;
  // An entry as it came; the indexes are the caller's.
  void put_entry(Batch& batch, const SharedEntry& entry);
  // Whether nodes share what has this key: what is a node's own (its position, its outbox) no other may write.
  static bool shares(const SharedEntry& entry);
  Answer<std::optional<std::string>> entry(SharedFamily family,
                                           std::string_view key) const;  // its bytes as they are here
  void put_serial(Batch& batch, const Digest& id, std::string_view serial);
  void remove_serial(Batch& batch, const Digest& id, std::string_view serial);
  void share_epochs();  // the registrar's thread
  void put_epochs(Batch& batch, const SharedEpochs& epochs);
  Answer<std::optional<SharedEpochs>> epochs() const;
  void put_ticket_key(Batch& batch, const TicketKeyRow& row);
  void remove_ticket_key(Batch& batch, const TicketKeyRow& row);
  Answer<std::vector<TicketKeyRow>> ticket_keys() const;  // the newest first
  void put_position(Batch& batch, const SharedPosition& position);
  Answer<SharedPosition> position() const;  // of none: it is a registry of its own
  // While a snapshot of another history is being taken in: rows of both stand beside each other.
  void put_resync(Batch& batch, bool under_way);
  Answer<bool> resync() const;
  // Of a shared registry, or a part of one: what is in it is not all there is.
  Answer<bool> replica() const;
  // Why a server with or without registry.shared cannot begin with what is here; a Conflict.
  Answer<void> fits(bool shared) const;
  // What waits to be written to the shared registry, by a key of the caller's.
  void put_outbox(Batch& batch, std::string_view key, std::string_view value);
  void remove_outbox(Batch& batch, std::string_view key);
  Answer<void> each_outbox(std::string_view prefix,
                           const std::function<bool(std::string_view key, std::string_view value)>& row) const;
  // Every entry in the order of family and key, as of when it was made.
  class Cursor {
   public:
    ~Cursor();
    std::optional<SharedEntry> next();
    const Answer<void>& read() const { return read_; }  // whether all was read, once next() has none

   private:
    friend class RegistryStore;
    struct Impl;
    Cursor();
    std::unique_ptr<Impl> impl_;
    Answer<void> read_;
  };
  std::unique_ptr<Cursor> cursor() const;
  // Before rows of lower revisions are committed: see RevisionMark.
  Answer<void> lower_mark(std::uint64_t revision);

  // An online copy: hard links where the file system allows, else copies. `dir` must not exist.
  Answer<void> checkpoint(const std::string& dir) const;
  // Opens a copy without writing to it and reads its meta record.
  static Answer<MetaRow> inspect(const std::string& dir);
  // Such a registry to read from; `folder` is RocksDB's. What its log still holds can be read, too, as far as it goes.
  static Answer<std::unique_ptr<RegistryStore>> open_to_read(const std::string& folder);
  // A copy was put into `dir` (its DIR/registry): what it holds is all that was answered. Before its first open().
  static Answer<void> mark_restored(const std::string& dir);

 private:
  RegistryStore();
  std::unique_ptr<Impl> impl_;
};

}  // namespace sallyport
