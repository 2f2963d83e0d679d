#include "admin/operations/listener_control.h"

#include <openssl/crypto.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>

namespace sallyport {

namespace {

const char* name_of(AuthMode mode) {
  return mode == AuthMode::Mutual ? "mutual" : "one-way";
}

std::string text_of(const OverrideRow& row) {
  std::string text;
  if (row.auth) text += std::string("auth ") + name_of(static_cast<AuthMode>(*row.auth));
  if (row.certificate) text += (text.empty() ? "certificate " : ", certificate ") + to_hex(*row.certificate);
  return text.empty() ? "as the file says" : text;
}

std::string seal_name(const Digest& id) {
  return "sallyport server key " + to_hex(id);
}

}  // namespace

Answer<std::optional<SealingKey>> ListenerControl::sealing_key() const {
  if (config_.registry.key_file.empty()) return std::optional<SealingKey>();
  auto key = SealingKey::load(config_.registry.key_file);
  if (!key) return Refusal{key.error().kind, "registry.key_file: " + key.error().what};
  return std::optional<SealingKey>(std::move(*key));
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
  auto key = (*sealing)->unseal(row->second.sealed_key, seal_name(id));
  if (!key) return key.error();
  auto parsed =
      parse_server_certificate(row->second.chain_pem, *key, "the hosted chain", "the hosted key", std::time(nullptr));
  OPENSSL_cleanse(key->data(), key->size());
  return parsed;
}

Answer<PreparedListener> ListenerControl::prepare(const ListenerConfig& file, const OverrideRow& chosen) const {
  std::vector<ServerCertificate> certificates;
  if (chosen.certificate) {
    auto hosted = open_hosted(*chosen.certificate);
    if (!hosted) return hosted.error();
    certificates.push_back(std::move(*hosted));
  } else {
    auto loaded = load_server_certificates(file.certificates, std::time(nullptr));
    if (!loaded) return loaded.error();
    certificates = std::move(*loaded);
  }
  const AuthMode auth = chosen.auth ? static_cast<AuthMode>(*chosen.auth) : file.auth;
  auto prepared = plane_.prepare_listener(file, auth, std::move(certificates));
  if (!prepared) return prepared;
  prepared->auth_chosen = chosen.auth.has_value();
  prepared->hosted = chosen.certificate;
  return prepared;
}

Answer<void> ListenerControl::put_in_force(std::size_t index, PreparedListener prepared) {
  if (auto known = registrar_.set_server_keys(plane_.server_keys(index, prepared)); !known) return known;
  plane_.install_listener(index, std::move(prepared));
  return {};
}

std::vector<ListenerControl::Mark> ListenerControl::marks_of(const ListenerConfig& listener) {
  std::vector<Mark> marks;
  for (const CertificateFiles& files : listener.certificates) {
    for (const std::string* path : {&files.chain, &files.key}) {
      struct stat about {};
      Mark mark;
      if (::stat(path->c_str(), &about) == 0) {  // follows symlinks: what counts is where they lead
        mark = {about.st_dev, about.st_ino, static_cast<std::uint64_t>(about.st_size),
                about.st_mtim.tv_sec * 1'000'000'000 + about.st_mtim.tv_nsec};
      }
      marks.push_back(mark);
    }
  }
  return marks;
}

Answer<void> ListenerControl::restore() {
  const auto stored = registrar_.overrides();
  if (!stored) return stored.error();
  const std::lock_guard lock(mutex_);
  for (const ListenerConfig& listener : config_.listeners) {
    watched_[listener.name].in_use = watched_[listener.name].seen = marks_of(listener);
  }
  for (const auto& [name, row] : *stored) {
    const auto index = plane_.listener_index(name);
    if (!index) {
      log_.warn("override-unused", {{"listener", name}, {"chosen", text_of(row)}});
      continue;
    }
    auto prepared = prepare(config_.listeners[*index], row);
    if (!prepared) {
      return Refusal{prepared.error().kind, "listener " + name + " (" + text_of(row) + "): " + prepared.error().what};
    }
    if (auto done = put_in_force(*index, std::move(*prepared)); !done) return done;
    chosen_[name] = row;
    log_.info("override", {{"listener", name}, {"chosen", text_of(row)}});
  }
  return {};
}

Answer<HostedCertificate> ListenerControl::host(std::string_view chain_pem, std::string_view key_pem, const Actor& by) {
  const std::lock_guard lock(mutex_);
  const auto sealing = sealing_key();
  if (!sealing) return sealing.error();
  if (!*sealing) {
    return Refusal{Refusal::Kind::Conflict,
                   "server keys are stored encrypted only: put `openssl rand -hex 32` into a file of mode 0600, "
                   "name it in registry.key_file and reload"};
  }
  auto parsed = parse_server_certificate(chain_pem, key_pem, "chain", "key", std::time(nullptr));
  if (!parsed) return parsed.error();
  const Digest id = parsed->chain.front().fingerprint();
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
  const auto before = chosen_.find(listener);
  const OverrideRow was = before == chosen_.end() ? OverrideRow{} : before->second;
  auto prepared = prepare(config_.listeners[*index], chosen);
  if (!prepared) return prepared.error();
  const AuthMode of_file = config_.listeners[*index].auth;
  const auto auth_of = [&](const OverrideRow& row) { return row.auth ? static_cast<AuthMode>(*row.auth) : of_file; };
  // To ask for certificates is a restriction, and does not wait for the disk. Another server certificate is none.
  const bool restricts = auth_of(chosen) == AuthMode::Mutual && chosen.certificate == was.certificate;
  auto written = registrar_.put_override(listener, chosen, action, text_of(was), text_of(chosen), by, restricts);
  if (!written && !restricts) return written;
  chosen_[listener] = chosen;
  if (auto done = put_in_force(*index, std::move(*prepared)); !done) return done;
  return written;
}

Answer<void> ListenerControl::use_certificate(const std::string& listener, const Digest& id, const Actor& by) {
  const std::lock_guard lock(mutex_);
  OverrideRow chosen = chosen_.count(listener) != 0 ? chosen_[listener] : OverrideRow{};
  chosen.certificate = id;
  return change(listener, "listener.certificate", chosen, by);
}

Answer<void> ListenerControl::set_auth(const std::string& listener, AuthMode mode, const Actor& by) {
  const std::lock_guard lock(mutex_);
  OverrideRow chosen = chosen_.count(listener) != 0 ? chosen_[listener] : OverrideRow{};
  chosen.auth = static_cast<std::uint8_t>(mode);
  return change(listener, "listener.auth", chosen, by);
}

Answer<void> ListenerControl::reset(const std::string& listener, const Actor& by) {
  const std::lock_guard lock(mutex_);
  return change(listener, "listener.reset", OverrideRow{}, by);
}

// A file is read when it looks the same twice: whoever writes chain and key one after the other is given a second.
void ListenerControl::look_at_files() {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
    const ListenerConfig& listener = config_.listeners[i];
    Watched& watched = watched_[listener.name];
    std::vector<Mark> now = marks_of(listener);
    const bool settled = now == watched.seen;
    watched.seen = now;
    if (!settled || now == watched.in_use) continue;
    watched.in_use = std::move(now);  // also where they are bad: said once, until they change again
    const OverrideRow chosen = chosen_.count(listener.name) != 0 ? chosen_[listener.name] : OverrideRow{};
    if (chosen.certificate) continue;  // a hosted one is in use
    auto prepared = prepare(listener, chosen);
    const auto done = prepared ? put_in_force(i, std::move(*prepared)) : Answer<void>(prepared.error());
    if (!done) {
      log_.error("certificate-files", {{"listener", listener.name},
                                       {"what", "the new files are not used, the old certificate stays"},
                                       {"why", done.error().what}});
      continue;
    }
    log_.info("certificate-files", {{"listener", listener.name}, {"what", "read again and in use"}});
  }
}

Answer<void> ListenerControl::reload(const std::vector<ListenerConfig>& listeners, const std::string& key_file) {
  const std::lock_guard lock(mutex_);
  const std::string key_file_before = config_.registry.key_file;
  config_.registry.key_file = key_file;
  std::vector<PreparedListener> prepared;
  for (const ListenerConfig& listener : listeners) {
    const OverrideRow chosen = chosen_.count(listener.name) != 0 ? chosen_[listener.name] : OverrideRow{};
    auto one = prepare(listener, chosen);
    if (!one) {
      config_.registry.key_file = key_file_before;
      return Refusal{one.error().kind, "listener " + listener.name + ": " + one.error().what};
    }
    prepared.push_back(std::move(*one));
  }
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    if (auto done = put_in_force(i, std::move(prepared[i])); !done) return done;
    watched_[listeners[i].name].in_use = watched_[listeners[i].name].seen = marks_of(listeners[i]);
  }
  config_.listeners = listeners;
  return {};
}

}  // namespace sallyport
