#include "cache/registry/restore.h"

#include <algorithm>
#include <chrono>
#include <map>

namespace sallyport {

namespace {

constexpr std::size_t kRowsPutBack = 4096;

Answer<std::map<std::string, TokenRow>> tokens_of(const RegistryStore& store) {
  std::map<std::string, TokenRow> tokens;
  const auto read = store.each_token([&](std::string_view name, const TokenRow& row) {
    tokens.emplace(name, row);
    return true;
  });
  if (!read) return read.error();
  return tokens;
}

Answer<std::map<std::string, OverrideRow>> overrides_of(const RegistryStore& store) {
  std::map<std::string, OverrideRow> overrides;
  const auto read = store.each_override([&](std::string_view listener, const OverrideRow& row) {
    overrides.emplace(listener, row);
    return true;
  });
  if (!read) return read.error();
  return overrides;
}

Answer<std::map<std::uint64_t, ChainRow>> chains_of(const RegistryStore& store) {
  std::map<std::uint64_t, ChainRow> chains;
  const auto read = store.each_chain([&](std::uint64_t id, const ChainRow& row) {
    chains.emplace(id, row);
    return true;
  });
  if (!read) return read.error();
  return chains;
}

Answer<std::map<Digest, CaRow>> cas_of(const RegistryStore& store) {
  std::map<Digest, CaRow> cas;
  const auto read = store.each_ca([&](const Digest& id, const CaRow& row) {
    cas.emplace(id, row);
    return true;
  });
  if (!read) return read.error();
  return cas;
}

Answer<void> compare_cas(const RegistryStore& backup, const RegistryStore& present, RestrictedSince& since) {
  const auto then = cas_of(backup), now = cas_of(present);
  if (!then) return then.error();
  if (!now) return now.error();
  for (const auto& [id, row] : *then) {
    const auto found = now->find(id);
    if (found == now->end()) {
      if (row.status == CaStatus::Active) since.deleted_cas.push_back(id);
      continue;
    }
    CaRow kept = row;
    kept.auto_register = row.auto_register && found->second.auto_register;
    kept.approve = row.approve || found->second.approve;
    if (found->second.status != CaStatus::Active) kept.status = CaStatus::Inactive;
    const bool narrowed = kept.auto_register != row.auto_register || kept.approve != row.approve;
    if (narrowed) since.narrowed_cas.push_back(id);
    if (kept.status != row.status) since.inactive_cas.push_back(id);
    if (narrowed || kept.status != row.status) since.cas.emplace_back(id, kept);
  }
  // One that came after the backup and is in `trusted_cas` would be registered, and active, at the next start.
  for (const auto& [id, row] : *now) {
    if (row.status == CaStatus::Active || then->count(id) != 0) continue;
    since.inactive_cas.push_back(id);
    since.cas.emplace_back(id, row);
  }
  return {};
}

// With the role and the end of whichever has less of it.
TokenRow narrower(const TokenRow& then, const TokenRow& now) {
  TokenRow row = then;
  row.operates = then.operates && now.operates;
  if (now.expires_at != 0 && (then.expires_at == 0 || now.expires_at < then.expires_at))
    row.expires_at = now.expires_at;
  return row;
}

// A token is its hash: one that leaked, was revoked and was made anew under its name is not the same one.
Answer<void> compare_tokens(const RegistryStore& backup, const RegistryStore& present, RestrictedSince& since) {
  const auto then = tokens_of(backup), now = tokens_of(present);
  if (!then) return then.error();
  if (!now) return now.error();
  std::map<Digest, TokenRow> valid;
  for (const auto& [name, row] : *now) valid.emplace(row.hash, row);
  for (const auto& [name, row] : *then) {
    if (const auto same = valid.find(row.hash); same != valid.end()) {
      const TokenRow kept = narrower(row, same->second);
      if (kept.operates != row.operates || kept.expires_at != row.expires_at) since.narrowed.emplace_back(name, kept);
      continue;
    }
    since.tokens.push_back(name);
    if (const auto successor = now->find(name); successor != now->end()) since.successors.push_back(*successor);
  }
  return {};
}

// The configuration is not known here. Where nothing is chosen it may ask for a certificate, or may not: so a choice
// that asks for one stays, and one that asks for none does not come back where it was taken away. A hosted certificate
// stays that of the backup, which has its key.
Answer<void> compare_listeners(const RegistryStore& backup, const RegistryStore& present, RestrictedSince& since) {
  auto to_be = overrides_of(backup);
  const auto now = overrides_of(present);
  if (!to_be) return to_be.error();
  if (!now) return now.error();
  for (const auto& [listener, row] : *now) {
    if (row.auth == kAuthMutual) to_be->try_emplace(listener);
  }
  for (auto& [listener, row] : *to_be) {
    const auto found = now->find(listener);
    const auto auth = found == now->end() ? std::optional<std::uint8_t>() : found->second.auth;
    const bool opens = row.auth == kAuthOneWay ? auth != kAuthOneWay : !row.auth && auth == kAuthMutual;
    if (!opens) continue;
    row.auth = auth;
    since.listeners.emplace_back(listener, row);
  }
  return {};
}

// Revoked and inactive ones also where the backup does not know them: they would register themselves once more.
Answer<void> compare_devices(const RegistryStore& backup, const RegistryStore& present, RestrictedSince& since) {
  Answer<void> trouble;
  const auto read = present.each_device("", "", [&](const Digest& id, const DeviceRow& row) {
    if (row.status != DeviceStatus::Revoked && row.status != DeviceStatus::Inactive) return true;
    const auto then = backup.device(id);
    if (!then) return trouble = then.error(), false;
    if (*then && ((*then)->status == row.status || (*then)->status == DeviceStatus::Revoked)) return true;
    (row.status == DeviceStatus::Revoked ? since.devices : since.inactive).push_back(id);
    return true;
  });
  return read ? trouble : read;
}

Answer<void> keep_devices(RegistryStore& restored, const RegistryStore& present, const std::vector<Digest>& ids,
                          DeviceStatus status, const std::map<std::uint64_t, ChainRow>& chains) {
  for (std::size_t at = 0; at < ids.size();) {
    RegistryStore::Batch batch;
    for (const std::size_t end = std::min(at + kRowsPutBack, ids.size()); at < end; ++at) {
      const Digest& id = ids[at];
      const auto row = present.device(id);
      const auto known = restored.device(id);
      if (!row) return row.error();
      if (!known) return known.error();
      if (!*row) continue;
      DeviceRow kept = *known ? **known : **row;
      kept.status = status;
      restored.put_device(batch, id, kept);
      if (*known) continue;
      // It was registered after the backup: its certificate and its place under its CA come along.
      const auto text = present.device_text(id);
      if (!text) return text.error();
      const auto chain = chains.find(kept.chain);
      if (*text && chain != chains.end()) restored.put_device_text(batch, id, chain->second.cas.front(), **text);
    }
    if (batch.empty()) continue;
    if (const auto written = restored.commit(batch, Durable::Answered); !written) return written;
  }
  return {};
}

}  // namespace

Answer<RestrictedSince> restricted_since(const RegistryStore& backup, const RegistryStore& present) {
  RestrictedSince since;
  if (auto devices = compare_devices(backup, present, since); !devices) return devices.error();
  if (auto cas = compare_cas(backup, present, since); !cas) return cas.error();
  if (auto tokens = compare_tokens(backup, present, since); !tokens) return tokens.error();
  if (auto listeners = compare_listeners(backup, present, since); !listeners) return listeners.error();
  return since;
}

Answer<void> keep_restricted(RegistryStore& restored, const RegistryStore& present, const RestrictedSince& since) {
  const auto then = restored.meta(), now = present.meta();
  if (!then) return then.error();
  if (!now) return now.error();
  const auto chains = chains_of(present);
  if (!chains) return chains.error();
  const MetaRow meta{std::max(then->revision, now->revision), std::max(then->next_chain, now->next_chain)};
  {
    RegistryStore::Batch batch;
    // Those that were given out after the backup: rows of devices name them.
    for (const auto& [id, row] : *chains) {
      if (id >= then->next_chain) restored.put_chain(batch, id, row);
    }
    for (const std::string& name : since.tokens) restored.remove_token(batch, name);
    for (const auto& [name, row] : since.successors) restored.put_token(batch, name, row);
    for (const auto& [name, row] : since.narrowed) restored.put_token(batch, name, row);
    for (const auto& [listener, row] : since.listeners) {
      if (row.auth || row.certificate) {
        restored.put_override(batch, listener, row);
      } else {
        restored.remove_override(batch, listener);
      }
    }
    for (const auto& [id, row] : since.cas) restored.put_ca(batch, id, row);
    restored.put_meta(batch, meta);
    if (const auto written = restored.commit(batch, Durable::Answered); !written) return written;
  }
  for (const auto& [ids, status] :
       {std::pair(&since.devices, DeviceStatus::Revoked), std::pair(&since.inactive, DeviceStatus::Inactive)}) {
    if (auto kept = keep_devices(restored, present, *ids, status, *chains); !kept) return kept;
  }
  // Rows that came along have the names of the registry that they were in.
  const auto older = present.older_schema();
  if (!older) return older.error();
  return *older ? restored.migrate_names({}) : Answer<void>();
}

Answer<void> note_restore(RegistryStore& restored, std::uint64_t present_revision, const Actor& by,
                          const std::string& what) {
  const auto meta = restored.meta();
  if (!meta) return meta.error();
  RegistryStore::Batch batch;
  AuditRecord line;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  line.at_us = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  line.revision = std::max(meta->revision, present_revision) + 1;
  line.by = by;
  line.action = "registry.restore";
  line.target = "revision " + std::to_string(meta->revision);
  line.before = present_revision == 0 ? "" : "revision " + std::to_string(present_revision);
  line.after = what;
  restored.put_audit(batch, line);
  restored.put_meta(batch, {line.revision, meta->next_chain});
  return restored.commit(batch, Durable::Answered);
}

}  // namespace sallyport
