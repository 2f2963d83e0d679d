// The store as a replica of a shared registry: what a batch changes, as entries that other nodes take; entries as they
// come; how far it has come; and what waits here to be written over there.
#include <algorithm>
#include <map>
#include <utility>

#include "cache/registry/registry_store_impl.h"

namespace sallyport {

namespace {

constexpr std::size_t kIdBytes = 16;

std::optional<SharedFamily> shared_family(std::size_t family, std::string_view key) {
  switch (family) {
    case kDevices: return SharedFamily::Device;
    case kCertificates: return SharedFamily::Certificate;
    case kCas: return SharedFamily::Ca;
    case kChains: return SharedFamily::Chain;
    case kServerCerts: return SharedFamily::ServerCert;
    case kTokens: return SharedFamily::Token;
    case kAudit: return SharedFamily::Audit;
    case kMeta:
      if (key == kSharedEpochs) return SharedFamily::Meta;
      for (const std::string_view prefix : {kCodePrefix, kOverridePrefix, kPurgePrefix, kCrlPrefix, kSharedTicketKey}) {
        if (key.starts_with(prefix)) return SharedFamily::Meta;
      }
      return std::nullopt;
    default: return std::nullopt;
  }
}

Family family_of(SharedFamily family) {
  switch (family) {
    case SharedFamily::Ca: return kCas;
    case SharedFamily::Chain: return kChains;
    case SharedFamily::Certificate: return kCertificates;
    case SharedFamily::Device: return kDevices;
    case SharedFamily::Meta: return kMeta;
    case SharedFamily::Token: return kTokens;
    case SharedFamily::ServerCert: return kServerCerts;
    case SharedFamily::Audit: return kAudit;
  }
  return kDefault;
}

// Epochs that number what a process lost: registry_records.cc has where they are.
std::string shared_value(SharedFamily family, std::string_view value, bool epochs_shared) {
  std::string copy(value);
  if (!epochs_shared && family == SharedFamily::Device && copy.size() >= 8)
    copy[2] = copy[3] = copy[6] = copy[7] = '\0';
  return copy;
}

class Changes final : public rocksdb::WriteBatch::Handler {
 public:
  Changes(const std::vector<rocksdb::ColumnFamilyHandle*>& families, bool epochs_shared)
      : families_(families), epochs_shared_(epochs_shared) {}
  rocksdb::Status PutCF(std::uint32_t family, const rocksdb::Slice& key, const rocksdb::Slice& value) override {
    add(family, view(key), view(value));
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(std::uint32_t family, const rocksdb::Slice& key) override {
    add(family, view(key), std::nullopt);
    return rocksdb::Status::OK();
  }
  // Lines of the audit log that are too old: every node forgets them by itself.
  rocksdb::Status DeleteRangeCF(std::uint32_t, const rocksdb::Slice&, const rocksdb::Slice&) override {
    return rocksdb::Status::OK();
  }
  std::vector<SharedEntry> take() {
    std::vector<SharedEntry> all;
    for (auto& [key, value] : changes_) all.push_back({key.first, key.second, std::move(value)});
    return all;
  }

 private:
  void add(std::uint32_t id, std::string_view key, std::optional<std::string_view> value) {
    for (std::size_t family = 0; family < families_.size(); ++family) {
      if (families_[family]->GetID() != id) continue;
      const auto shared = shared_family(family, key);
      if (!shared) return;
      // The last word counts: one commit has an entry once.
      changes_[{*shared, std::string(key)}] =
          value ? std::optional(shared_value(*shared, *value, epochs_shared_)) : std::optional<std::string>();
      return;
    }
  }

  const std::vector<rocksdb::ColumnFamilyHandle*>& families_;
  const bool epochs_shared_;
  std::map<std::pair<SharedFamily, std::string>, std::optional<std::string>> changes_;
};

// Big-endian.
void put_word(std::string& out, std::uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xFF);
}

std::uint64_t word_of(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::string outbox_key(std::string_view key) {
  return std::string(kOutboxPrefix) + std::string(key);
}

}  // namespace

Answer<std::vector<SharedEntry>> RegistryStore::shared_entries(const Batch& batch) const {
  Changes changes(impl_->families, impl_->epochs_shared);
  if (const auto read = batch.impl_->batch.Iterate(&changes); !read.ok()) return unavailable(read.ToString());
  return changes.take();
}

bool RegistryStore::shares(const SharedEntry& entry) {
  return shared_family(family_of(entry.family), entry.key).has_value();
}

void RegistryStore::put_entry(Batch& batch, const SharedEntry& entry) {
  rocksdb::ColumnFamilyHandle* family = impl_->families[family_of(entry.family)];
  if (entry.value) {
    batch.impl_->batch.Put(family, slice(entry.key), slice(*entry.value));
  } else {
    batch.impl_->batch.Delete(family, slice(entry.key));
  }
}

Answer<std::optional<std::string>> RegistryStore::entry(SharedFamily family, std::string_view key) const {
  std::string value;
  const auto read = impl_->db->Get(rocksdb::ReadOptions(), impl_->families[family_of(family)], slice(key), &value);
  if (read.IsNotFound()) return std::optional<std::string>();
  if (!read.ok()) return unavailable("the registry cannot be read: " + read.ToString());
  return std::optional(shared_value(family, value, impl_->epochs_shared));
}

void RegistryStore::put_serial(Batch& batch, const Digest& id, std::string_view serial) {
  batch.impl_->batch.Put(impl_->families[kBySerial], serial_prefix(serial) + std::string(view(id)), "");
}

void RegistryStore::remove_serial(Batch& batch, const Digest& id, std::string_view serial) {
  batch.impl_->batch.Delete(impl_->families[kBySerial], serial_prefix(serial) + std::string(view(id)));
}

void RegistryStore::share_epochs() {
  impl_->epochs_shared = true;
}

void RegistryStore::put_epochs(Batch& batch, const SharedEpochs& epochs) {
  std::string value;
  for (const std::uint32_t each : {epochs.epoch, epochs.of_new, epochs.of_chains}) put_word(value, each, 4);
  batch.impl_->batch.Put(impl_->families[kMeta], slice(kSharedEpochs), value);
}

Answer<std::optional<SharedEpochs>> RegistryStore::epochs() const {
  std::string value;
  const auto read = impl_->db->Get(rocksdb::ReadOptions(), impl_->families[kMeta], slice(kSharedEpochs), &value);
  if (read.IsNotFound()) return std::optional<SharedEpochs>();
  if (!read.ok()) return unavailable("the registry cannot be read: " + read.ToString());
  const auto epochs = epochs_of(value);
  if (!epochs) return corrupt("epoch");
  return epochs;
}

std::optional<SharedEpochs> epochs_of(std::string_view value) {
  if (value.size() != 12) return std::nullopt;
  return SharedEpochs{static_cast<std::uint32_t>(word_of(value.substr(0, 4))),
                      static_cast<std::uint32_t>(word_of(value.substr(4, 4))),
                      static_cast<std::uint32_t>(word_of(value.substr(8, 4)))};
}

void RegistryStore::put_ticket_key(Batch& batch, const TicketKeyRow& row) {
  std::string value;
  put_word(value, static_cast<std::uint64_t>(row.made_at), 8);
  put_word(value, row.epoch, 4);
  batch.impl_->batch.Put(impl_->families[kMeta], std::string(kSharedTicketKey) + std::string(view(row.name)),
                         value + row.sealed);
}

void RegistryStore::remove_ticket_key(Batch& batch, const TicketKeyRow& row) {
  batch.impl_->batch.Delete(impl_->families[kMeta], std::string(kSharedTicketKey) + std::string(view(row.name)));
}

Answer<std::vector<TicketKeyRow>> RegistryStore::ticket_keys() const {
  std::vector<TicketKeyRow> rows;
  const auto read =
      impl_->scan(kMeta, std::string(kSharedTicketKey), "", [&](std::string_view key, std::string_view value) {
        TicketKeyRow row;
        key.remove_prefix(kSharedTicketKey.size());
        if (key.size() != row.name.size() || value.size() < 12) return true;  // none that could be used
        std::copy(key.begin(), key.end(), row.name.begin());
        row.made_at = static_cast<std::int64_t>(word_of(value.substr(0, 8)));
        row.epoch = static_cast<std::uint32_t>(word_of(value.substr(8, 4)));
        row.sealed = std::string(value.substr(12));
        rows.push_back(std::move(row));
        return true;
      });
  if (!read) return read.error();
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.made_at > b.made_at; });
  return rows;
}

void RegistryStore::put_position(Batch& batch, const SharedPosition& position) {
  batch.impl_->batch.Put(impl_->families[kMeta], slice(kPositionKey),
                         position.registry + number_key(position.revision) + position.stamp);
}

Answer<SharedPosition> RegistryStore::position() const {
  std::string value;
  const auto read = impl_->db->Get(rocksdb::ReadOptions(), impl_->families[kMeta], slice(kPositionKey), &value);
  if (read.IsNotFound()) return SharedPosition{};
  if (!read.ok()) return unavailable("the registry cannot be read: " + read.ToString());
  if (value.size() != 2 * kIdBytes + 8) return corrupt("position");
  SharedPosition position{value.substr(0, kIdBytes), 0, value.substr(kIdBytes + 8)};
  for (std::size_t i = kIdBytes; i < kIdBytes + 8; ++i) {
    position.revision = position.revision << 8 | static_cast<unsigned char>(value[i]);
  }
  return position;
}

void RegistryStore::put_resync(Batch& batch, bool under_way) {
  if (under_way) {
    batch.impl_->batch.Put(impl_->families[kMeta], slice(kResyncKey), "");
  } else {
    batch.impl_->batch.Delete(impl_->families[kMeta], slice(kResyncKey));
  }
}

Answer<bool> RegistryStore::resync() const {
  std::string value;
  const auto read = impl_->db->Get(rocksdb::ReadOptions(), impl_->families[kMeta], slice(kResyncKey), &value);
  if (!read.ok() && !read.IsNotFound()) return unavailable("the registry cannot be read: " + read.ToString());
  return read.ok();
}

Answer<bool> RegistryStore::replica() const {
  const auto at = position();
  if (!at) return at.error();
  return at->registry.empty() ? resync() : Answer<bool>(true);
}

Answer<void> RegistryStore::fits(bool shared) const {
  const auto kept = replica();
  if (!kept) return kept.error();
  if (*kept && !shared) {
    return Refusal{Refusal::Kind::Conflict,
                   "state_dir holds a replica of a shared registry: set registry.shared, or make a registry of its own "
                   "with `sallyport registry export`, into another state_dir"};
  }
  if (*kept || !shared) return {};
  bool own = false;
  const auto look = [&](const auto&...) { return own = true, false; };
  if (const auto cas = each_ca(look); !cas) return cas.error();
  if (const auto devices = each_device("", "", look); !devices) return devices.error();
  if (const auto tokens = each_token(look); !tokens) return tokens.error();
  if (const auto certificates = each_server_cert(look); !certificates) return certificates.error();
  if (const auto overrides = each_override(look); !overrides) return overrides.error();
  if (!own) return {};
  return Refusal{Refusal::Kind::Conflict,
                 "state_dir holds a registry of its own, which the shared one would replace: take it over with "
                 "`sallyport registry import STATE_DIR`, then give this node an empty state_dir"};
}

void RegistryStore::put_outbox(Batch& batch, std::string_view key, std::string_view value) {
  batch.impl_->batch.Put(impl_->families[kMeta], outbox_key(key), slice(value));
}

void RegistryStore::remove_outbox(Batch& batch, std::string_view key) {
  batch.impl_->batch.Delete(impl_->families[kMeta], outbox_key(key));
}

Answer<void> RegistryStore::each_outbox(std::string_view prefix,
                                        const std::function<bool(std::string_view, std::string_view)>& row) const {
  return impl_->scan(kMeta, outbox_key(prefix), "", [&](std::string_view key, std::string_view value) {
    return row(key.substr(kOutboxPrefix.size()), value);
  });
}

struct RegistryStore::Cursor::Impl {
  const RegistryStore::Impl& store;
  std::uint8_t family = 0;
  std::unique_ptr<rocksdb::Iterator> at;
  const rocksdb::Snapshot* snapshot = store.db->GetSnapshot();
  ~Impl() {
    at.reset();
    store.db->ReleaseSnapshot(snapshot);
  }
};

RegistryStore::Cursor::Cursor() = default;
RegistryStore::Cursor::~Cursor() = default;

std::unique_ptr<RegistryStore::Cursor> RegistryStore::cursor() const {
  std::unique_ptr<Cursor> made(new Cursor);
  made->impl_.reset(new Cursor::Impl{*impl_});
  return made;
}

std::optional<SharedEntry> RegistryStore::Cursor::next() {
  for (;;) {
    if (impl_->at && impl_->at->Valid()) {
      const auto family = static_cast<SharedFamily>(impl_->family);
      const std::string_view key = view(impl_->at->key());
      std::optional<SharedEntry> found;
      if (shared_family(family_of(family), key)) {
        found = {family, std::string(key), shared_value(family, view(impl_->at->value()), impl_->store.epochs_shared)};
      }
      impl_->at->Next();
      if (found) return found;
      continue;
    }
    if (impl_->at && !impl_->at->status().ok()) {
      read_ = unavailable("the registry cannot be read: " + impl_->at->status().ToString());
      return std::nullopt;
    }
    if (impl_->family == kSharedFamilies) return std::nullopt;
    rocksdb::ReadOptions options;
    options.snapshot = impl_->snapshot;
    options.fill_cache = false;
    options.readahead_size = 512 * 1024;
    ++impl_->family;
    impl_->at.reset(impl_->store.db->NewIterator(
        options, impl_->store.families[family_of(static_cast<SharedFamily>(impl_->family))]));
    impl_->at->SeekToFirst();
  }
}

Answer<void> RegistryStore::lower_mark(std::uint64_t revision) {
  return impl_->mark.lower(revision);
}

}  // namespace sallyport
