// What the registrar keeps for others: hosted server certificates, overrides of listeners, tokens, and the audit log
// itself. Each write is one synced commit with its line in the audit log, and changes nothing that the gate reads.
#include <algorithm>

#include "cache/registry/registrar_impl.h"

namespace sallyport {

Answer<void> Registrar::put_server_cert(const Digest& id, const ServerCertRow& row, const Actor& by) {
  return impl_->call<void>([&] {
    return impl_->ledger_.set(
        by, "server-certificate.add", to_hex(id), "", "hosted",
        [&](RegistryStore::Batch& batch) { impl_->store_.put_server_cert(batch, id, row); },
        [&](RegistryStore::Batch& back) { impl_->store_.remove_server_cert(back, id); });
  });
}

Answer<void> Registrar::delete_server_cert(const Digest& id, const Actor& by) {
  return impl_->call<void>([&]() -> Answer<void> {
    const auto all = server_certs();
    if (!all) return all.error();
    const auto undo = [&](RegistryStore::Batch& back) {
      for (const auto& [other, row] : *all) {
        if (other == id) impl_->store_.put_server_cert(back, id, row);
      }
    };
    return impl_->ledger_.set(
        by, "server-certificate.delete", to_hex(id), "hosted", "",
        [&](RegistryStore::Batch& batch) { impl_->store_.remove_server_cert(batch, id); }, undo);
  });
}

Answer<std::vector<std::pair<Digest, ServerCertRow>>> Registrar::server_certs() const {
  std::vector<std::pair<Digest, ServerCertRow>> all;
  const auto read = impl_->store_.each_server_cert([&](const Digest& id, const ServerCertRow& row) {
    all.emplace_back(id, row);
    return true;
  });
  if (!read) return read.error();
  return all;
}

Answer<void> Registrar::put_override(const std::string& listener, const OverrideRow& row, const std::string& action,
                                     const std::string& before, const std::string& after, const Actor& by,
                                     bool restricts) {
  const auto put = [&](RegistryStore::Batch& batch, const OverrideRow& one) {
    if (one.auth || one.certificate) {
      impl_->store_.put_override(batch, listener, one);
    } else {
      impl_->store_.remove_override(batch, listener);
    }
  };
  return impl_->call<void>([&]() -> Answer<void> {
    if (restricts) {
      const auto written = impl_->ledger_.take_away(by, action, listener, before, after,
                                                    [&](RegistryStore::Batch& batch) { put(batch, row); });
      return written || impl_->ledger_.shared() ? written : not_durable(written.error());
    }
    const auto all = overrides();
    if (!all) return all.error();
    const auto found =
        std::find_if(all->begin(), all->end(), [&](const auto& stored) { return stored.first == listener; });
    const OverrideRow was = found != all->end() ? found->second : OverrideRow{};
    return impl_->ledger_.set(
        by, action, listener, before, after, [&](RegistryStore::Batch& batch) { put(batch, row); },
        [&](RegistryStore::Batch& back) { put(back, was); });
  });
}

Answer<std::vector<std::pair<std::string, OverrideRow>>> Registrar::overrides() const {
  std::vector<std::pair<std::string, OverrideRow>> all;
  const auto read = impl_->store_.each_override([&](std::string_view listener, const OverrideRow& row) {
    all.emplace_back(std::string(listener), row);
    return true;
  });
  if (!read) return read.error();
  return all;
}

Answer<void> Registrar::put_token(const std::string& name, const TokenRow& row, const Actor& by) {
  return impl_->call<void>([&] {
    return impl_->ledger_.set(
        by, "token.create", name, "", row.operates ? "operator" : "viewer",
        [&](RegistryStore::Batch& batch) { impl_->store_.put_token(batch, name, row); },
        [&](RegistryStore::Batch& back) { impl_->store_.remove_token(back, name); });
  });
}

Answer<void> Registrar::remove_token(const std::string& name, bool again, const Actor& by) {
  return impl_->call<void>([&]() -> Answer<void> {
    if (again && impl_->ledger_.owes()) return not_durable(impl_->ledger_.owed_why());
    const auto written =
        impl_->ledger_.take_away(by, "token.revoke", name, again ? "revoked, not durable" : "valid", "",
                                 [&](RegistryStore::Batch& batch) { impl_->store_.remove_token(batch, name); });
    return written || impl_->ledger_.shared() ? written : not_durable(written.error());
  });
}

Answer<std::vector<std::pair<std::string, TokenRow>>> Registrar::tokens() const {
  std::vector<std::pair<std::string, TokenRow>> all;
  const auto read = impl_->store_.each_token([&](std::string_view name, const TokenRow& row) {
    all.emplace_back(std::string(name), row);
    return true;
  });
  if (!read) return read.error();
  return all;
}

Answer<void> Registrar::record(const Actor& by, const std::string& action, const std::string& target,
                               const std::string& after) {
  return impl_->call<void>([&] { return impl_->record({by, action, target, after}); }, Impl::Turn::WritesNothing);
}

Answer<std::vector<AuditRecord>> Registrar::audit(std::int64_t since_us, std::int64_t before_us,
                                                  std::size_t limit) const {
  std::vector<AuditRecord> all;
  const auto read = impl_->store_.each_audit(before_us, [&](const AuditRecord& record) {
    if (record.at_us < since_us) return false;
    all.push_back(record);
    return all.size() < limit;
  });
  if (!read) return read.error();
  return all;
}

}  // namespace sallyport
