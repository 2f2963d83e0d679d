// The store's small records: CAs, chains, codes, server certificates, overrides, tokens, CRLs, audit.
#include <algorithm>

#include "cache/registry/registry_store_impl.h"

namespace sallyport {

namespace {

// Rows whose key is `prefix` and then a name.
template <class Row, class Store, class Visit>
Answer<void> each_row(const Store& store, Family family, std::string_view prefix, const char* what, Visit visit) {
  bool good = true;
  const auto done = store.scan(family, prefix, "", [&](std::string_view key, std::string_view value) {
    Row row;
    good = records::decode(value, row);
    return good && visit(key.substr(prefix.size()), row);
  });
  return good ? done : corrupt(what);
}

std::string with(std::string_view prefix, std::string_view name) {
  return std::string(prefix) + std::string(name);
}

}  // namespace

void RegistryStore::put_ca(Batch& batch, const Digest& id, const CaRow& row) {
  batch.impl_->batch.Put(impl_->families[kCas], slice(view(id)), records::encode(row));
}

void RegistryStore::put_chain(Batch& batch, std::uint64_t id, const ChainRow& row) {
  batch.impl_->batch.Put(impl_->families[kChains], number_key(id), records::encode(row));
}

void RegistryStore::put_code(Batch& batch, const CodeRow& row) {
  batch.impl_->batch.Put(impl_->families[kMeta], std::string(kCodePrefix) + std::string(view(row.hash)),
                         records::encode(row));
}

void RegistryStore::remove_code(Batch& batch, const Digest& hash) {
  batch.impl_->batch.Delete(impl_->families[kMeta], std::string(kCodePrefix) + std::string(view(hash)));
}

void RegistryStore::put_meta(Batch& batch, const MetaRow& row) {
  batch.impl_->batch.Put(impl_->families[kMeta], slice(kMetaKey), records::encode(row));
  batch.impl_->revision = row.revision;
}

Answer<std::optional<StoreId>> RegistryStore::store_id() const {
  return impl_->store_id();
}

Answer<MetaRow> RegistryStore::meta() const {
  const auto row = impl_->get<MetaRow>(kMeta, kMetaKey, "meta record");
  if (!row) return row.error();
  return row->value_or(MetaRow{});
}

std::optional<std::string> RegistryStore::state() const {
  const auto id = impl_->store_id();
  if (!id || !*id) return std::nullopt;
  return to_hex(**id) + " " + std::to_string(impl_->db->GetLatestSequenceNumber());
}

Answer<void> RegistryStore::each_ca(const std::function<bool(const Digest&, const CaRow&)>& row) const {
  bool good = true;
  const auto done = impl_->scan(kCas, "", "", [&](std::string_view key, std::string_view value) {
    Digest id{};
    CaRow ca;
    good = to_digest(key, id) && records::decode(value, ca);
    return good && row(id, ca);
  });
  return good ? done : corrupt("CA");
}

Answer<std::optional<ChainRow>> RegistryStore::chain(std::uint64_t id) const {
  return impl_->get<ChainRow>(kChains, number_key(id), "chain");
}

Answer<void> RegistryStore::each_chain(const std::function<bool(std::uint64_t, const ChainRow&)>& row) const {
  bool good = true;
  const auto done = impl_->scan(kChains, "", "", [&](std::string_view key, std::string_view value) {
    std::uint64_t id = 0;
    for (const char c : key) id = id << 8 | static_cast<unsigned char>(c);
    ChainRow chain;
    good = key.size() == 8 && records::decode(value, chain);
    return good && row(id, chain);
  });
  return good ? done : corrupt("chain");
}

Answer<void> RegistryStore::each_code(const std::function<bool(const CodeRow&)>& row) const {
  bool good = true;
  const auto done = impl_->scan(kMeta, kCodePrefix, "", [&](std::string_view, std::string_view value) {
    CodeRow code;
    good = records::decode(value, code);
    return good && row(code);
  });
  return good ? done : corrupt("registration code");
}

void RegistryStore::remove_ca(Batch& batch, const Digest& id) {
  batch.impl_->batch.Delete(impl_->families[kCas], slice(view(id)));
}

void RegistryStore::put_server_cert(Batch& batch, const Digest& id, const ServerCertRow& row) {
  batch.impl_->batch.Put(impl_->families[kServerCerts], slice(view(id)), records::encode(row));
}
void RegistryStore::remove_server_cert(Batch& batch, const Digest& id) {
  batch.impl_->batch.Delete(impl_->families[kServerCerts], slice(view(id)));
}
Answer<void> RegistryStore::each_server_cert(
    const std::function<bool(const Digest&, const ServerCertRow&)>& row) const {
  bool good = true;
  const auto done = each_row<ServerCertRow>(*impl_, kServerCerts, "", "server certificate",
                                            [&](std::string_view key, const ServerCertRow& found) {
                                              Digest id{};
                                              good = to_digest(key, id);
                                              return good && row(id, found);
                                            });
  return good ? done : corrupt("server certificate");
}

void RegistryStore::put_override(Batch& batch, std::string_view listener, const OverrideRow& row) {
  batch.impl_->batch.Put(impl_->families[kMeta], with(kOverridePrefix, listener), records::encode(row));
}
void RegistryStore::remove_override(Batch& batch, std::string_view listener) {
  batch.impl_->batch.Delete(impl_->families[kMeta], with(kOverridePrefix, listener));
}
Answer<void> RegistryStore::each_override(const std::function<bool(std::string_view, const OverrideRow&)>& row) const {
  return each_row<OverrideRow>(*impl_, kMeta, kOverridePrefix, "listener override", row);
}

void RegistryStore::put_token(Batch& batch, std::string_view name, const TokenRow& row) {
  batch.impl_->batch.Put(impl_->families[kTokens], slice(name), records::encode(row));
}
void RegistryStore::remove_token(Batch& batch, std::string_view name) {
  batch.impl_->batch.Delete(impl_->families[kTokens], slice(name));
}
Answer<void> RegistryStore::each_token(const std::function<bool(std::string_view, const TokenRow&)>& row) const {
  return each_row<TokenRow>(*impl_, kTokens, "", "token", row);
}

namespace {

// Of all certificates the issuing key alone, as it was before scopes were told apart.
std::string crl_key(const CrlKey& key) {
  return with(kCrlPrefix, view(key.issuing_key)) + (key.scope == Digest{} ? "" : std::string(view(key.scope)));
}

}  // namespace

void RegistryStore::put_crl(Batch& batch, const CrlKey& key, const CrlRow& row) {
  batch.impl_->batch.Put(impl_->families[kMeta], crl_key(key), records::encode(row));
}
Answer<std::optional<CrlRow>> RegistryStore::crl(const CrlKey& key) const {
  return impl_->get<CrlRow>(kMeta, crl_key(key), "CRL record");
}
Answer<void> RegistryStore::each_crl(const std::function<bool(const CrlKey&, const CrlRow&)>& row) const {
  bool good = true;
  const auto visit = [&](std::string_view name, const CrlRow& found) {
    CrlKey key;
    const std::size_t length = key.issuing_key.size();
    good = to_digest(name.substr(0, std::min(name.size(), length)), key.issuing_key) &&
           (name.size() == length || to_digest(name.substr(length), key.scope));
    return good && row(key, found);
  };
  const auto done = each_row<CrlRow>(*impl_, kMeta, kCrlPrefix, "CRL record", visit);
  return good ? done : corrupt("CRL record");
}

void RegistryStore::put_purge(Batch& batch, const Digest& ca) {
  batch.impl_->batch.Put(impl_->families[kMeta], with(kPurgePrefix, view(ca)), "");
}
void RegistryStore::remove_purge(Batch& batch, const Digest& ca) {
  batch.impl_->batch.Delete(impl_->families[kMeta], with(kPurgePrefix, view(ca)));
}
Answer<void> RegistryStore::each_purge(const std::function<bool(const Digest&)>& row) const {
  bool good = true;
  const auto done = impl_->scan(kMeta, kPurgePrefix, "", [&](std::string_view key, std::string_view) {
    Digest ca{};
    good = to_digest(key.substr(kPurgePrefix.size()), ca);
    return good && row(ca);
  });
  return good ? done : corrupt("purge record");
}

void RegistryStore::put_audit(Batch& batch, const AuditRecord& record) {
  batch.impl_->batch.Put(impl_->families[kAudit], number_key(static_cast<std::uint64_t>(record.at_us)),
                         records::encode(record));
}

void RegistryStore::remove_audit_before(Batch& batch, std::int64_t at_us) {
  batch.impl_->batch.DeleteRange(impl_->families[kAudit], number_key(0), number_key(static_cast<std::uint64_t>(at_us)));
}

Answer<void> RegistryStore::each_audit(std::int64_t before_us,
                                       const std::function<bool(const AuditRecord&)>& row) const {
  rocksdb::ReadOptions options;
  options.fill_cache = false;  // what is read now and then has no place in it
  const std::unique_ptr<rocksdb::Iterator> at(impl_->db->NewIterator(options, impl_->families[kAudit]));
  at->SeekForPrev(number_key(static_cast<std::uint64_t>(before_us - 1)));
  for (; at->Valid(); at->Prev()) {
    AuditRecord record;
    if (!records::decode(view(at->value()), record)) return corrupt("audit record");
    if (!row(record)) return {};
  }
  if (!at->status().ok()) return unavailable("the registry cannot be read: " + at->status().ToString());
  return {};
}

}  // namespace sallyport
