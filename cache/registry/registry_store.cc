#include "cache/registry/registry_store.h"

#include "cache/registry/registry_store_impl.h"

namespace sallyport {

RegistryStore::Batch::Batch() : impl_(std::make_unique<Impl>()) {}
RegistryStore::Batch::~Batch() = default;
RegistryStore::Batch::Batch(Batch&&) noexcept = default;
RegistryStore::Batch& RegistryStore::Batch::operator=(Batch&&) noexcept = default;
std::size_t RegistryStore::Batch::bytes() const {
  return impl_->batch.GetDataSize();
}
bool RegistryStore::Batch::empty() const {
  return impl_->batch.Count() == 0;
}

RegistryStore::RegistryStore() : impl_(std::make_unique<Impl>()) {}
RegistryStore::~RegistryStore() = default;

void RegistryStore::put_device(Batch& batch, const Digest& id, const DeviceRow& row) {
  batch.impl_->batch.Put(impl_->families[kDevices], slice(view(id)), records::encode(row));
}

void RegistryStore::put_device_text(Batch& batch, const Digest& id, const Digest& owner, const DeviceText& text) {
  batch.impl_->batch.Put(impl_->families[kCertificates], slice(view(id)), records::encode(text));
  batch.impl_->batch.Put(impl_->families[kBySerial], serial_prefix(text.serial) + std::string(view(id)), "");
  put_owner(batch, id, owner);
}

void RegistryStore::remove_device(Batch& batch, const Digest& id, const Digest& owner, std::string_view serial) {
  batch.impl_->batch.Delete(impl_->families[kDevices], slice(view(id)));
  batch.impl_->batch.Delete(impl_->families[kCertificates], slice(view(id)));
  batch.impl_->batch.Delete(impl_->families[kBySerial], serial_prefix(serial) + std::string(view(id)));
  remove_owner(batch, id, owner);
}

void RegistryStore::put_owner(Batch& batch, const Digest& id, const Digest& owner) {
  batch.impl_->batch.Put(impl_->families[kByCa], std::string(view(owner)) + std::string(view(id)), "");
}

void RegistryStore::remove_owner(Batch& batch, const Digest& id, const Digest& owner) {
  batch.impl_->batch.Delete(impl_->families[kByCa], std::string(view(owner)) + std::string(view(id)));
}

// RocksDB must not find the disk full: Debian's is built with its assertions, and after a write to the log that failed
// one of them ends the process (WritableFileWriter, when it resumes). So there is always room for the log, and for the
// tables that it becomes.
Answer<void> RegistryStore::Impl::has_room() const {
  constexpr std::uint64_t kRoom = 2 * kMostLog;
  std::uint64_t bytes = 0;
  const std::string& path = db->GetName();
  if (!db->GetEnv()->GetFreeSpace(path, &bytes).ok() || bytes >= kRoom) return {};
  return unavailable("the registry cannot be written: No space left on device, or nearly none: " + path + " needs " +
                     std::to_string(kRoom >> 20) + " MiB free and has " + std::to_string(bytes >> 20));
}

Answer<void> RegistryStore::commit(Batch& batch, Durable durable) {
  if (auto room = impl_->has_room(); !room) return room;
  rocksdb::WriteOptions options;
  options.sync = durable != Durable::Later;
  rocksdb::Status status = impl_->db->Write(options, &batch.impl_->batch);
  // After a background error RocksDB refuses every write until it is resumed, also when space is back.
  if (!status.ok() && impl_->db->Resume().ok()) status = impl_->db->Write(options, &batch.impl_->batch);
  if (!status.ok()) {
    return unavailable("the registry cannot be written: " + status.ToString());
  }
  // Only now: the mark must never be ahead of what is on disk.
  if (durable != Durable::Later) {
    const auto raised = impl_->mark.raise(batch.impl_->revision, durable == Durable::Answered);
    impl_->mark_trouble = raised ? "" : raised.error().what;
  }
  return {};
}

const std::string& RegistryStore::mark_trouble() const {
  return impl_->mark_trouble;
}
const std::optional<StoreLoss>& RegistryStore::loss() const {
  return impl_->loss;
}
bool RegistryStore::tail_dropped() const {
  return impl_->tail_dropped;
}

Answer<void> RegistryStore::flush() {
  if (auto room = impl_->has_room(); !room) return room;
  const rocksdb::Status status = impl_->db->Flush(rocksdb::FlushOptions(), impl_->families);
  if (!status.ok()) return unavailable("the registry's log stays to be replayed: " + status.ToString());
  return {};
}

Answer<std::optional<DeviceRow>> RegistryStore::device(const Digest& id) const {
  return impl_->get<DeviceRow>(kDevices, view(id), "device");
}

Answer<std::optional<DeviceText>> RegistryStore::device_text(const Digest& id) const {
  return impl_->get<DeviceText>(kCertificates, view(id), "certificate");
}

namespace {

template <class Store, class Visit>
Answer<void> each_device_row(const Store& store, std::string_view prefix, std::string_view after,
                             const rocksdb::ReadOptions& options, const Visit& row) {
  bool good = true;
  const auto take = [&](std::string_view key, std::string_view value) {
    Digest id{};
    DeviceRow device;
    good = to_digest(key, id) && records::decode(value, device);
    return good && row(id, device);
  };
  const auto done = store.scan(kDevices, prefix, after, take, options);
  return good ? done : corrupt("device");
}

}  // namespace

Answer<void> RegistryStore::each_device(std::string_view prefix, std::string_view after,
                                        const std::function<bool(const Digest&, const DeviceRow&)>& row) const {
  return each_device_row(*impl_, prefix, after, {}, row);
}

Answer<void> RegistryStore::each_device_of_part(std::uint8_t first,
                                                const std::function<bool(const Digest&, const DeviceRow&)>& row) const {
  rocksdb::ReadOptions options;
  options.readahead_size = 512 * 1024;
  options.fill_cache = false;  // what is read once has no place in it
  return each_device_row(*impl_, std::string(1, static_cast<char>(first)), "", options, row);
}

std::uint64_t RegistryStore::device_rows() const {
  std::uint64_t rows = 0;
  impl_->db->GetIntProperty(impl_->families[kDevices], rocksdb::DB::Properties::kEstimateNumKeys, &rows);
  return rows;
}

namespace {

// The ids behind an index: the key is `prefix` and then the id.
template <class Store, class Row>
Answer<void> each_indexed(const Store& store, Family family, const std::string& prefix, std::string_view after,
                          const Row& row) {
  bool good = true;
  const std::string above = after.empty() ? std::string() : prefix + std::string(after);
  const auto done = store.scan(family, prefix, above, [&](std::string_view key, std::string_view) {
    Digest id{};
    good = to_digest(key.substr(prefix.size()), id);
    return good && row(id);
  });
  return good ? done : corrupt("index entry");
}

}  // namespace

Answer<void> RegistryStore::each_id_of_ca(const Digest& owner, std::string_view after,
                                          const std::function<bool(const Digest&)>& row) const {
  return each_indexed(*impl_, kByCa, std::string(view(owner)), after, row);
}

Answer<void> RegistryStore::each_device_with_text(
    std::string_view after, const std::function<bool(const Digest&, const DeviceRow&, const DeviceText*)>& row) const {
  // Both families are in the order of their ids: two iterators go side by side, where a look-up each costs thrice as
  // much.
  rocksdb::ReadOptions options;
  options.fill_cache = false;  // certificates would push out what handshakes look for
  options.readahead_size = 256 * 1024;
  const std::unique_ptr<rocksdb::Iterator> texts(impl_->db->NewIterator(options, impl_->families[kCertificates]));
  bool sought = false, good = true;
  DeviceText text;
  const auto visit = [&](const Digest& id, const DeviceRow& found) {
    if (!sought) texts->Seek(slice(view(id)));
    sought = true;
    while (texts->Valid() && view(texts->key()) < view(id)) texts->Next();
    if (!texts->Valid() || view(texts->key()) != view(id)) return row(id, found, nullptr);
    good = records::decode(view(texts->value()), text);
    return good && row(id, found, &text);
  };
  const auto done = each_device_row(*impl_, "", after, options, visit);
  if (!texts->status().ok()) return unavailable("the registry cannot be read: " + texts->status().ToString());
  return good ? done : corrupt("certificate");
}

Answer<void> RegistryStore::each_id_of_serial_prefix(
    std::string_view digits, std::string_view after,
    const std::function<bool(const Digest&, std::string_view key)>& row) const {
  std::vector<std::uint8_t> bytes;
  if (!parse_hex(digits.substr(0, digits.size() / 2 * 2), bytes)) return {};
  const std::string whole(bytes.begin(), bytes.end());
  const char half = digits.size() % 2 == 0 ? '\0' : digits.back();  // the first digit of the next byte
  const std::unique_ptr<rocksdb::Iterator> at(
      impl_->db->NewIterator(rocksdb::ReadOptions(), impl_->families[kBySerial]));
  // Numbers are in the index by their length first (serial_prefix()).
  for (std::size_t length = std::max<std::size_t>((digits.size() + 1) / 2, 1); length <= kMostSerialBytes; ++length) {
    std::string prefix = std::string(1, static_cast<char>(length)) + whole;
    if (half != '\0') prefix += static_cast<char>((half <= '9' ? half - '0' : half - 'a' + 10) << 4);
    if (!after.empty() && static_cast<unsigned char>(after.front()) > length) continue;
    at->Seek(slice(std::max<std::string_view>(prefix, after)));
    for (; at->Valid(); at->Next()) {
      const std::string_view key = view(at->key());
      const bool begins = key.substr(0, whole.size() + 1) == std::string_view(prefix).substr(0, whole.size() + 1);
      if (!begins || (half != '\0' && (key[whole.size() + 1] & '\xF0') != prefix.back())) break;
      if (!after.empty() && key <= after) continue;
      Digest id{};
      if (key.size() != 1 + length + id.size() || !to_digest(key.substr(1 + length), id)) return corrupt("index entry");
      if (!row(id, key)) return {};
    }
    if (!at->status().ok()) return unavailable("the registry cannot be read: " + at->status().ToString());
  }
  return {};
}

Answer<void> RegistryStore::each_id_of_serial(std::string_view serial, std::string_view after,
                                              const std::function<bool(const Digest&)>& row) const {
  return each_indexed(*impl_, kBySerial, serial_prefix(serial), after, row);
}

}  // namespace sallyport
