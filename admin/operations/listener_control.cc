#include "admin/operations/listener_control.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <ctime>

#include "cache/registry/follower.h"

namespace sallyport {

namespace {

const char* name_of(AuthMode mode) {
  return mode == AuthMode::Mutual ? "mutual" : "one-way";
}

std::string seal_name(const Digest& id) {
  return "sallyport server key " + to_hex(id);
}

}  // namespace

Answer<ServerCertificate> open_server_certificate(const SealingKey& sealing, const Digest& id,
                                                  const ServerCertRow& row) {
  auto key = sealing.unseal(row.sealed_key, seal_name(id));
  if (!key) return key.error();
  auto parsed = parse_server_certificate(row.chain_pem, *key, "the hosted chain", "the hosted key");
  OPENSSL_cleanse(key->data(), key->size());
  return parsed;
}

std::string ListenerControl::text_of(const OverrideRow& row) {
  std::string text;
  if (row.auth) text += std::string("auth ") + name_of(static_cast<AuthMode>(*row.auth));
  if (row.certificate) text += (text.empty() ? "certificate " : ", certificate ") + to_hex(*row.certificate);
  return text.empty() ? "as the file says" : text;
}

Answer<std::optional<SealingKey>> ListenerControl::sealing_key(bool anew) const {
  if (config_.registry.key_file.empty()) return std::optional<SealingKey>();
  if (!sealing_ || anew) {
    const auto key = SealingKey::load(config_.registry.key_file);
    if (!key) return Refusal{key.error().kind, "registry.key_file: " + key.error().what};
    sealing_.emplace(*key);
  }
  return sealing_;
}

OverrideRow ListenerControl::chosen_for(const std::string& listener) const {
  const auto found = chosen_.find(listener);
  return found == chosen_.end() ? OverrideRow{} : found->second;
}

Answer<std::size_t> ListenerControl::find(const std::string& listener) const {
  const auto index = plane_.listener_index(listener);
  if (!index) return Refusal{Refusal::Kind::NotFound, "there is no listener '" + listener + "'"};
  return *index;
}

Answer<ServerCertificate> ListenerControl::open_hosted(const Digest& id) const {
  const auto rows = registrar_.server_certs();
  if (!rows) return rows.error();
  const auto row = std::find_if(rows->begin(), rows->end(), [&](const auto& each) { return each.first == id; });
  if (row == rows->end()) {
    return Refusal{Refusal::Kind::NotFound, "no hosted server certificate has the id " + to_hex(id)};
  }
  const auto sealing = sealing_key();
  if (!sealing) return sealing.error();
  if (!*sealing) {
    return Refusal{Refusal::Kind::Conflict, "the key of server certificate " + to_hex(id) +
                                                " is encrypted: set registry.key_file to the file it was stored with"};
  }
  return open_server_certificate(**sealing, id, row->second);
}

Answer<HostedCertificate> ListenerControl::host(std::string_view chain_pem, std::string_view key_pem, const Actor& by) {
  const std::lock_guard lock(mutex_);
  const auto sealing = sealing_key(true);
  if (!sealing) return sealing.error();
  if (!*sealing) {
    return Refusal{Refusal::Kind::Conflict,
                   "server keys are stored encrypted only: put `openssl rand -hex 32` into a file of mode 0600, "
                   "name it in registry.key_file and reload"};
  }
  auto parsed = parse_server_certificate(chain_pem, key_pem, "chain", "key");
  if (!parsed) return parsed.error();
  if (const auto flaw = date_flaw(parsed->leaf(), std::time(nullptr)); !flaw.empty()) {
    return Refusal{Refusal::Kind::Invalid, "chain: the server certificate " + std::string(flaw)};
  }
  if (const auto flaw = purpose_flaw(parsed->leaf()); !flaw.empty()) {
    return Refusal{Refusal::Kind::Invalid, "chain: the first certificate " + std::string(flaw)};
  }
  const Digest id = parsed->chain.front().fingerprint();
  if (registrar_.ca(id)) {
    return Refusal{Refusal::Kind::Invalid,
                   "chain: this is a registered CA's certificate: its key signs devices, and has no place here"};
  }
  const auto stored = registrar_.server_certs();
  if (!stored) return stored.error();
  if (std::any_of(stored->begin(), stored->end(), [&](const auto& each) { return each.first == id; })) {
    return Refusal{Refusal::Kind::Conflict, "this server certificate is hosted already: " + to_hex(id)};
  }
  auto sealed = (*sealing)->seal(key_pem, seal_name(id));
  if (!sealed) return sealed.error();
  ServerCertRow row;
  for (const Certificate& certificate : parsed->chain) row.chain_pem += certificate.pem();
  row.sealed_key = std::move(*sealed);
  row.added_at = std::time(nullptr);
  if (auto written = registrar_.put_server_cert(id, row, by); !written) return written.error();
  return HostedCertificate{id, std::move(parsed->chain), std::move(parsed->names), row.added_at, {}, true};
}

Answer<HostedCertificate> ListenerControl::unhost(const Digest& id, const Actor& by) {
  auto all = certificates();
  if (!all) return all.error();
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(all->begin(), all->end(),
                                  [&](const HostedCertificate& each) { return each.id == id && each.hosted; });
  if (found == all->end()) {
    return Refusal{Refusal::Kind::NotFound, "no hosted server certificate has the id " + to_hex(id)};
  }
  for (const auto& [listener, row] : chosen_) {
    if (row.certificate == id) {
      return Refusal{Refusal::Kind::Conflict, "listener " + listener +
                                                  " uses this server certificate: switch it to another one first "
                                                  "(`listener use-cert`, or `listener reset`)"};
    }
  }
  if (auto removed = registrar_.delete_server_cert(id, by); !removed) return removed.error();
  return std::move(*found);
}

Answer<std::vector<HostedCertificate>> ListenerControl::certificates() const {
  const auto rows = registrar_.server_certs();
  if (!rows) return rows.error();
  const std::lock_guard lock(mutex_);
  std::vector<HostedCertificate> all;
  for (const auto& [id, row] : *rows) {
    auto chain = Certificate::bundle_from_pem(row.chain_pem);
    if (!chain) return chain.error();
    HostedCertificate hosted{id, std::move(*chain), {}, row.added_at, {}, true};
    hosted.names = server_names(hosted.chain.front());
    for (const auto& [listener, chosen] : chosen_) {
      if (chosen.certificate == id) hosted.used_by.push_back(listener);
    }
    all.push_back(std::move(hosted));
  }
  return all;
}

Answer<void> ListenerControl::change(const std::string& listener, const std::string& action, const OverrideRow& chosen,
                                     const Actor& by) {
  const auto index = find(listener);
  if (!index) return index.error();
  const OverrideRow was = chosen_for(listener);
  // The mode alone changes: with whatever is in use.
  auto certificates = chosen.certificate == was.certificate
                          ? Answer<std::vector<ServerCertificate>>(plane_.certificates(*index))
                          : certificates_for(*index, chosen);
  if (!certificates) return certificates.error();
  auto prepared = prepare(config_.listeners[*index], config_.upstreams, chosen, std::move(*certificates));
  if (!prepared) return prepared.error();
  const AuthMode of_file = config_.listeners[*index].auth;
  const auto auth_of = [&](const OverrideRow& row) { return row.auth ? static_cast<AuthMode>(*row.auth) : of_file; };
  // To ask for certificates is a restriction, and does not wait for the disk. Another server certificate is none.
  const bool restricts = auth_of(chosen) == AuthMode::Mutual && chosen.certificate == was.certificate;
  auto written = registrar_.put_override(listener, chosen, action, text_of(was), text_of(chosen), by, restricts);
  if (!written && (!restricts || registrar_.shared_state())) return written;
  chosen_[listener] = chosen;
  if (auto done = put_in_force(*index, std::move(*prepared)); !done) return done;
  return written;
}

Answer<void> ListenerControl::use_certificate(const std::string& listener, const Digest& id, const Actor& by) {
  const std::lock_guard lock(mutex_);
  OverrideRow chosen = chosen_for(listener);
  chosen.certificate = id;
  return change(listener, "listener.certificate", chosen, by);
}

Answer<void> ListenerControl::set_auth(const std::string& listener, AuthMode mode, const Actor& by) {
  const std::lock_guard lock(mutex_);
  OverrideRow chosen = chosen_for(listener);
  chosen.auth = static_cast<std::uint8_t>(mode);
  return change(listener, "listener.auth", chosen, by);
}

Answer<void> ListenerControl::reset(const std::string& listener, const Actor& by) {
  const std::lock_guard lock(mutex_);
  return change(listener, "listener.reset", OverrideRow{}, by);
}

}  // namespace sallyport
