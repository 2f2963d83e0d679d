// Schema 3 keeps names as they are compared (canonical_name.h): a device's row holds a hash of its issuer's name and
// its serial number, and up to schema 2 that was the name as its certificate spells it. Here those hashes are made
// anew, from the certificates, which the registry keeps.
//
// Each step changes only what is not right yet, so it can be cut short anywhere, and begun again. One serial number may
// be there twice, in two spellings of its issuer: then the strictest status holds for both.
#include <openssl/x509.h>
#include <rocksdb/options.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "cache/registry/registry_store_impl.h"
#include "cache/x509/asn1_tags.h"
#include "cache/x509/canonical_name.h"
#include "cache/x509/der_reader.h"

namespace sallyport {

namespace {

constexpr std::size_t kRowsOfABatch = 4096;
constexpr std::chrono::seconds kEvery{2};  // to say how far it is
constexpr std::uint8_t kVersion = 0xa0;

std::string raw_name(const X509_NAME* name) {
  const unsigned char* der = nullptr;
  std::size_t length = 0;
  if (X509_NAME_get0_der(name, &der, &length) != 1) return {};
  return {reinterpret_cast<const char*>(der), length};
}

// The issuer as a certificate spells it, which OpenSSL read when it was registered. Empty: it is none.
std::string raw_issuer(const std::string& certificate_der) {
  DerReader outer(bytes_of(certificate_der));
  DerReader certificate(outer.take(asn1::kSequence));
  DerReader part(certificate.take(asn1::kSequence));
  if (part.next_is(kVersion)) part.take(kVersion);
  part.take(asn1::kInteger);   // its number
  part.take(asn1::kSequence);  // the signature's algorithm
  const Bytes issuer = part.element(asn1::kSequence);
  if (!issuer.empty()) return {reinterpret_cast<const char*>(issuer.data()), issuer.size()};
  const auto whole = Certificate::from_der(bytes_of(certificate_der));  // what is not quite DER
  return whole ? raw_name(X509_get_issuer_name(whole->x509())) : std::string();
}

// From what lets in to what never does again.
int strictness(DeviceStatus status) {
  switch (status) {
    case DeviceStatus::Active: return 0;
    case DeviceStatus::Pending: return 1;
    case DeviceStatus::Inactive: return 2;
    case DeviceStatus::Revoked: return 3;
  }
  return 3;
}

class NameMigration {
 public:
  NameMigration(RegistryStore::Impl& impl, const RegistryStore::Tell& tell) : impl_(impl), tell_(tell) {}

  Answer<void> run() {
    if (auto read = read_names(); !read) return read;
    if (auto done = devices_with_certificates(); !done) return done;
    if (unseen_ > 0) {
      if (auto done = unseen_serials(); !done) return done;
    }
    if (auto done = twins(); !done) return done;
    const bool several =
        std::any_of(spellings_.begin(), spellings_.end(), [](const auto& key) { return key.second.size() > 1; });
    return several ? collisions() : Answer<void>();
  }

 private:
  using Key = std::pair<IssuerSerial, Digest>;  // what makes two serial numbers one: its name and the issuing key
  struct Chain {
    Digest issuing_key{};
    bool forgotten = false;
  };
  struct Row {
    Digest id{};
    DeviceRow row;
  };

  void say(bool loud, const std::string& what) const {
    if (tell_) tell_(loud, what);
  }

  // Each name is made canonical once: there are as many as there are CAs.
  const std::string* canonical(const std::string& raw) {
    const auto known = canonical_.find(raw);
    if (known != canonical_.end()) return &known->second;
    auto made = canonical_name(bytes_of(raw));
    return made ? &canonical_.emplace(raw, std::move(*made)).first->second : nullptr;
  }

  // The names of CAs, and the keys of chains: of a list's serial numbers nothing else tells the issuer.
  Answer<void> read_names() {
    std::map<Digest, Digest> ca_keys;
    const auto name_of = [&](const Certificate& certificate) {
      const std::string subject = raw_name(X509_get_subject_name(certificate.x509()));
      spellings_[certificate.spki_hash()].insert(subject);
      all_names_.insert(subject);
      all_names_.insert(raw_name(X509_get_issuer_name(certificate.x509())));
    };
    Answer<void> trouble;
    auto read = impl_.scan(kCas, "", "", [&](std::string_view key, std::string_view value) {
      CaRow row;
      CaFound found;
      if (!to_digest(key, found.id) || !records::decode(value, row)) return trouble = corrupt("CA"), false;
      const auto certificate = Certificate::from_der(bytes_of(row.der));
      if (!certificate) return trouble = corrupt("CA"), false;
      name_of(*certificate);
      ca_keys[found.id] = certificate->spki_hash();
      found.status = row.status;
      found.subject = certificate->subject();
      cas_[{certificate->subject_name(), certificate->spki_hash()}].push_back(std::move(found));
      return true;
    });
    if (!read || !trouble) return !read ? read : trouble;
    read = impl_.scan(kChains, "", "", [&](std::string_view key, std::string_view value) {
      ChainRow row;
      if (key.size() != 8 || !records::decode(value, row)) return trouble = corrupt("chain"), false;
      std::uint64_t id = 0;
      for (const char c : key) id = id << 8 | static_cast<unsigned char>(c);
      Chain& chain = chains_[id];
      chain = {row.issuing_key, row.forgotten};
      for (std::size_t i = 0; i < row.intermediates.size(); ++i) {
        const auto certificate = Certificate::from_der(bytes_of(row.intermediates[i]));
        if (!certificate) return trouble = corrupt("chain"), false;
        name_of(*certificate);
        if (i == 0 && row.issuing_key == Digest{}) chain.issuing_key = certificate->spki_hash();
      }
      // Written by schema 1, which kept no issuing key.
      const auto owner = ca_keys.find(row.cas.front());
      if (chain.issuing_key == Digest{} && owner != ca_keys.end()) chain.issuing_key = owner->second;
      return true;
    });
    return !read ? read : trouble;
  }

  Digest issuing_key(const DeviceRow& row) const {
    const auto chain = chains_.find(row.chain);
    return chain != chains_.end() ? chain->second.issuing_key : Digest{};
  }

  // All devices in the order of their ids, with their texts, which have the same keys.
  Answer<void> devices_with_certificates() {
    rocksdb::ReadOptions options;
    options.readahead_size = 512 * 1024;
    options.fill_cache = false;
    const std::unique_ptr<rocksdb::Iterator> text(impl_.db->NewIterator(options, impl_.families[kCertificates]));
    text->SeekToFirst();
    std::uint64_t rows = 0;
    impl_.db->GetIntProperty(impl_.families[kDevices], rocksdb::DB::Properties::kEstimateNumKeys, &rows);
    std::uint64_t looked_at = 0;
    Answer<void> trouble;
    const auto take = [&](std::string_view key, std::string_view value) {
      Row device;
      if (!to_digest(key, device.id) || !records::decode(value, device.row)) return trouble = corrupt("device"), false;
      while (text->Valid() && view(text->key()) < key) text->Next();
      DeviceText words;
      const bool there = text->Valid() && view(text->key()) == key;
      if (!there || !records::decode(view(text->value()), words)) {
        trouble = without_certificate(device);
      } else {
        trouble = words.der.empty() ? count_unseen() : device_with(device, words);
      }
      ++looked_at;
      progress(looked_at, rows);
      return static_cast<bool>(trouble);
    };
    const auto read = impl_.scan(kDevices, "", "", take, options);
    if (!read || !trouble) return !read ? read : trouble;
    if (!text->status().ok()) return unavailable("the registry cannot be read: " + text->status().ToString());
    return write();
  }

  // Damage: what its issuer is called nothing else tells. An operator who accepts a loss was told what it means.
  Answer<void> without_certificate(const Row& device) {
    if (!impl_.loss) return corrupt("device without its certificate");
    say(true, "device " + to_hex(device.id) + " has lost its certificate, and is not known by it any more");
    return {};
  }

  Answer<void> count_unseen() {
    ++unseen_;
    return {};
  }

  Answer<void> device_with(Row& device, const DeviceText& text) {
    const std::string issuer = raw_issuer(text.der);
    const std::string* name = canonical(issuer);
    if (issuer.empty() || name == nullptr) return corrupt("certificate");
    spellings_[issuing_key(device.row)].insert(issuer);
    all_names_.insert(issuer);
    return rename(device, issuer_serial(*name, text.serial));
  }

  // Serial numbers that a list named, and whose certificates nobody has shown.
  Answer<void> unseen_serials() {
    Answer<void> trouble;
    std::uint64_t looked_at = 0;
    const auto read = impl_.scan(kDevices, "", "", [&](std::string_view key, std::string_view value) {
      Row device;
      if (!to_digest(key, device.id) || !records::decode(value, device.row)) return trouble = corrupt("device"), false;
      if (device.row.registered_by != RegisteredBy::Crl) return true;
      const auto text = impl_.get<DeviceText>(kCertificates, key, "certificate");
      if (!text) return trouble = text.error(), false;
      if (!*text || !(*text)->der.empty()) return true;
      trouble = unseen(device, (*text)->serial);
      progress(++looked_at, unseen_);
      return static_cast<bool>(trouble);
    });
    if (!read || !trouble) return !read ? read : trouble;
    if (nameless_ > 0) {
      say(true, std::to_string(nameless_) +
                    " serial numbers that lists of deleted CAs named are known by their keys alone from now on: they "
                    "stay refused");
    }
    return write();
  }

  Answer<void> unseen(Row& device, const std::string& serial) {
    const Digest key = issuing_key(device.row);
    std::set<std::string>& spellings = spellings_[key];
    if (const auto found = respelled(device.row, serial, spellings)) return rename(device, *found);
    if (device.row.name == nameless_serial(key, serial)) return {};
    if (exhausted_.count(key) == 0) {
      std::string spelling;
      if (const auto found = respelled(device.row, serial, all_names_, &spelling)) {
        spellings.insert(spelling);
        return rename(device, *found);
      }
      exhausted_.insert(key);
    }
    ++nameless_;
    return rename(device, nameless_serial(key, serial));
  }

  // What a row is called now, if one of these is how its issuer was spelt, or is canonical already.
  std::optional<IssuerSerial> respelled(const DeviceRow& row, const std::string& serial,
                                        const std::set<std::string>& spellings, std::string* spelling = nullptr) {
    for (const std::string& raw : spellings) {
      const std::string* name = canonical(raw);
      if (name == nullptr) continue;
      const IssuerSerial now = issuer_serial(*name, serial);
      if (row.name != now && row.name != issuer_serial(raw, serial)) continue;
      if (spelling != nullptr) *spelling = raw;
      return now;
    }
    return std::nullopt;
  }

  // Certificates of one CA that were two CAs before: one that is active lets the devices of both in.
  Answer<void> twins() {
    for (const auto& [name_and_key, cas] : cas_) {
      const bool spelt = spellings_[name_and_key.second].size() > 1;
      const auto idle =
          std::find_if(cas.begin(), cas.end(), [](const CaFound& ca) { return ca.status != CaStatus::Active; });
      const auto active =
          std::find_if(cas.begin(), cas.end(), [](const CaFound& ca) { return ca.status == CaStatus::Active; });
      if (!spelt || idle == cas.end() || active == cas.end()) continue;
      say(true, "CA " + to_hex(idle->id) + " (" + idle->subject + ") is inactive, and CA " + to_hex(active->id) + " (" +
                    active->subject +
                    ") is active and has the same name and key: the devices of both are admitted "
                    "through it. If they must not be, deactivate it as well");
    }
    return {};
  }

  // Two rows that are of one serial number now. The index of serial numbers has them side by side.
  Answer<void> collisions() {
    say(false, "issuers stand in the registry in several spellings: looking for serial numbers that are there twice");
    std::vector<Digest> ids;
    std::string serial;
    Answer<void> trouble;
    const auto read = impl_.scan(kBySerial, "", "", [&](std::string_view key, std::string_view) {
      Digest id{};
      const bool good = key.size() > id.size() && to_digest(key.substr(key.size() - id.size()), id);
      if (!good) return trouble = corrupt("index entry"), false;
      const std::string_view of = key.substr(0, key.size() - id.size());
      if (of != serial) {
        trouble = settle(ids);
        ids.clear();
        serial = of;
      }
      ids.push_back(id);
      return static_cast<bool>(trouble);
    });
    if (!read || !trouble) return !read ? read : trouble;
    if (auto last = settle(ids); !last) return last;
    return write();
  }

  // Of rows that have one serial number, those of one issuer get the strictest of their statuses.
  Answer<void> settle(const std::vector<Digest>& ids) {
    if (ids.size() < 2) return {};
    std::map<Key, std::vector<Row>> same;
    for (const Digest& id : ids) {
      const auto row = impl_.get<DeviceRow>(kDevices, view(id), "device");
      if (!row) return row.error();
      if (!*row) continue;
      const auto chain = chains_.find((*row)->chain);
      const bool gone = chain != chains_.end() && chain->second.forgotten && (*row)->status != DeviceStatus::Revoked;
      if (!gone) same[{(*row)->name, issuing_key(**row)}].push_back({id, **row});
    }
    for (auto& [key, rows] : same) {
      if (rows.size() < 2) continue;
      const auto strictest = std::max_element(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
        return strictness(a.row.status) < strictness(b.row.status);
      });
      const DeviceStatus status = strictest->row.status;
      say(true, "device " + to_hex(strictest->id) + " and " + std::to_string(rows.size() - 1) +
                    " more have one serial number of one issuer, in several spellings of its name: each is " +
                    std::string(to_string(status)));
      for (Row& each : rows) {
        if (each.row.status == status) continue;
        if (auto done = restrict(each, status); !done) return done;
      }
    }
    return {};
  }

  Answer<void> restrict(Row& device, DeviceStatus status) {
    const auto meta = meta_now();
    if (!meta) return meta.error();
    AuditRecord line;
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    line.at_us = last_audit_us_ =
        std::max<std::int64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count(), last_audit_us_ + 1);
    line.revision = (*meta)->revision;
    line.by = {"migration to schema 3", "-"};
    line.action = status == DeviceStatus::Revoked ? "device.revoke" : "device.deactivate";
    line.target = to_hex(device.id);
    line.before = to_string(device.row.status);
    line.after = to_string(status);
    device.row.status = status;
    batch_.Put(impl_.families[kAudit], number_key(static_cast<std::uint64_t>(line.at_us)), records::encode(line));
    batch_.Put(impl_.families[kMeta], slice(kMetaKey), records::encode(**meta));
    return put(device);
  }

  // With a revision that no change had: all that is restricted here is one.
  Answer<const MetaRow*> meta_now() {
    if (meta_) return &*meta_;
    const auto row = impl_.get<MetaRow>(kMeta, kMetaKey, "meta record");
    if (!row) return row.error();
    meta_ = row->value_or(MetaRow{});
    ++meta_->revision;
    const std::unique_ptr<rocksdb::Iterator> last(impl_.db->NewIterator({}, impl_.families[kAudit]));
    last->SeekToLast();
    AuditRecord line;
    if (last->Valid() && records::decode(view(last->value()), line)) last_audit_us_ = line.at_us;
    return &*meta_;
  }

  Answer<void> rename(Row& device, const IssuerSerial& name) {
    if (device.row.name == name) return {};
    device.row.name = name;
    return put(device);
  }

  Answer<void> put(const Row& device) {
    batch_.Put(impl_.families[kDevices], slice(view(device.id)), records::encode(device.row));
    return batch_.Count() < static_cast<int>(kRowsOfABatch) ? Answer<void>() : write();
  }

  // Not synced: the schema, which is written behind it all, is.
  Answer<void> write() {
    if (batch_.Count() == 0) return {};
    if (auto room = impl_.has_room(); !room) return room;
    const rocksdb::Status written = impl_.db->Write(rocksdb::WriteOptions(), &batch_);
    if (!written.ok()) return unavailable("the registry cannot be written: " + written.ToString());
    batch_.Clear();
    return {};
  }

  void progress(std::uint64_t done, std::uint64_t of) {
    const auto now = std::chrono::steady_clock::now();
    if (now < say_at_) return;
    say_at_ = now + kEvery;
    say(false, std::to_string(done) + " of about " + std::to_string(std::max(done, of)) + " devices looked at");
  }

  struct CaFound {
    Digest id{};
    CaStatus status = CaStatus::Active;
    std::string subject;
  };

  RegistryStore::Impl& impl_;
  const RegistryStore::Tell& tell_;
  std::map<std::string, std::string> canonical_;                        // by spelling
  std::map<Digest, std::set<std::string>> spellings_;                   // of the names of an issuing key
  std::set<std::string> all_names_;                                     // every spelling of any name
  std::map<std::pair<std::string, Digest>, std::vector<CaFound>> cas_;  // by canonical name and key
  std::map<std::uint64_t, Chain> chains_;
  std::set<Digest> exhausted_;  // issuing keys whose name nothing tells
  std::uint64_t unseen_ = 0, nameless_ = 0;
  std::optional<MetaRow> meta_;
  std::int64_t last_audit_us_ = 0;
  rocksdb::WriteBatch batch_;
  std::chrono::steady_clock::time_point say_at_ = std::chrono::steady_clock::now() + kEvery;
};

}  // namespace

Answer<void> RegistryStore::Impl::migrate_names(const Tell& tell) {
  return NameMigration(*this, tell).run();
}

}  // namespace sallyport
