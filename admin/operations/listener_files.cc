// What listeners serve with: certificate files and hosted certificates, how they are loaded at the start, watched, and
// loaded again.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "admin/operations/listener_control.h"

namespace sallyport {

namespace {

bool shares_a_name(const ServerCertificate& a, const ServerCertificate& b) {
  return std::any_of(a.names.begin(), a.names.end(), [&](const std::string& name) {
    return std::find(b.names.begin(), b.names.end(), name) != b.names.end();
  });
}

}  // namespace

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

Answer<std::vector<ServerCertificate>> ListenerControl::load(const ListenerConfig& listener) const {
  auto loaded = load_server_certificates(listener.certificates);
  if (!loaded) return loaded.error();
  const auto known = files_.find(listener.name);
  if (known == files_.end()) return loaded;
  const std::int64_t now = std::time(nullptr);
  for (std::size_t i = 0; i < loaded->size(); ++i) {
    const ServerCertificate& fresh = (*loaded)[i];
    const std::string_view flaw = date_flaw(fresh.leaf(), now);
    const std::vector<ServerCertificate>& before = known->second.loaded;
    const bool was_there = std::any_of(before.begin(), before.end(), [&](const ServerCertificate& each) {
      return each.leaf().fingerprint() == fresh.leaf().fingerprint();
    });
    if (flaw.empty() || was_there) continue;
    const bool better = std::any_of(before.begin(), before.end(), [&](const ServerCertificate& each) {
      return date_flaw(each.leaf(), now).empty() && shares_a_name(each, fresh);
    });
    if (better) {
      return Refusal{Refusal::Kind::Invalid,
                     listener.certificates[i].chain + ": the server certificate " + std::string(flaw) +
                         ": the one in use stays, which is in date; a start would serve this one"};
    }
  }
  return loaded;
}

Answer<std::vector<ServerCertificate>> ListenerControl::certificates_for(std::size_t index,
                                                                         const OverrideRow& chosen) const {
  if (!chosen.certificate) return files_.at(config_.listeners[index].name).loaded;
  auto hosted = open_hosted(*chosen.certificate);
  if (!hosted) return hosted.error();
  std::vector<ServerCertificate> one;
  one.push_back(std::move(*hosted));
  return one;
}

Answer<PreparedListener> ListenerControl::prepare(const ListenerConfig& file,
                                                  const std::vector<UpstreamConfig>& upstreams,
                                                  const OverrideRow& chosen,
                                                  std::vector<ServerCertificate> certificates) const {
  const bool opened = chosen.certificate && certificates.size() == 1 &&
                      certificates.front().leaf().fingerprint() == *chosen.certificate;
  const AuthMode auth = chosen.auth ? static_cast<AuthMode>(*chosen.auth) : file.auth;
  auto prepared = plane_.prepare_listener(file, upstreams[file.upstream], auth, std::move(certificates));
  if (!prepared) return prepared;
  prepared->auth_chosen = chosen.auth.has_value();
  if (opened) prepared->hosted = chosen.certificate;
  return prepared;
}

Answer<PreparedListener> ListenerControl::prepare_best(std::size_t index, const OverrideRow& chosen) {
  const ListenerConfig& listener = config_.listeners[index];
  auto certificates = certificates_for(index, chosen);
  if (!certificates && chosen.certificate) {
    warnings_.say(Warnings::Kind::KeyFile, listener.name,
                  certificates.error().what + "; the certificates of its files are served in its place");
    certificates = files_.at(listener.name).loaded;
  } else if (certificates) {
    warnings_.say(Warnings::Kind::KeyFile, listener.name, "");
  }
  if (!certificates) return certificates.error();
  return prepare(listener, config_.upstreams, chosen, std::move(*certificates));
}

Answer<void> ListenerControl::put_in_force(std::size_t index, PreparedListener prepared) {
  if (auto known = registrar_.set_server_keys(plane_.server_keys(index, prepared)); !known) return known;
  plane_.install_listener(index, std::move(prepared));
  return {};
}

Answer<void> ListenerControl::restore() {
  const auto stored = registrar_.overrides();
  if (!stored) return stored.error();
  const std::lock_guard lock(mutex_);
  (void)sealing_key();  // read while it is whole; where it is not, who needs it says so
  for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
    Files& files = files_[config_.listeners[i].name];
    files.in_use = files.seen = marks_of(config_.listeners[i]);
    files.loaded = plane_.certificates(i);
  }
  for (const auto& [name, row] : *stored) {
    const auto index = plane_.listener_index(name);
    if (!index) {
      log_.warn("override-unused", {{"listener", name}, {"chosen", text_of(row)}});
      continue;
    }
    auto prepared = prepare_best(*index, row);
    if (!prepared) {
      return Refusal{prepared.error().kind, "listener " + name + " (" + text_of(row) + "): " + prepared.error().what};
    }
    if (auto done = put_in_force(*index, std::move(*prepared)); !done) return done;
    chosen_[name] = row;
    log_.info("override", {{"listener", name}, {"chosen", text_of(row)}});
  }
  return {};
}

void ListenerControl::follow_others() {
  const auto stored = registrar_.overrides();
  if (!stored) return log_.error("override", {{"why", stored.error().what}});
  const std::map<std::string, OverrideRow> next(stored->begin(), stored->end());
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
    const std::string& name = config_.listeners[i].name;
    const auto found = next.find(name);
    const OverrideRow chosen = found != next.end() ? found->second : OverrideRow{};
    const OverrideRow was = chosen_for(name);
    if (chosen.auth == was.auth && chosen.certificate == was.certificate) continue;
    auto prepared = prepare_best(i, chosen);
    const auto done = prepared ? put_in_force(i, std::move(*prepared)) : Answer<void>(prepared.error());
    if (!done) {
      log_.error("override", {{"listener", name}, {"chosen", text_of(chosen)}, {"why", done.error().what}});
      continue;
    }
    chosen_[name] = chosen;
    log_.info("override", {{"listener", name}, {"chosen", text_of(chosen)}, {"by", "another node"}});
  }
}

void ListenerControl::look_at_files() {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
    look_at_files_of(i);
    look_at_dates_of(i);
  }
}

// A file is read when it looks the same twice: whoever writes chain and key one after the other is given a second. What
// was refused then depends on more than the file, its permissions and the clock: it is asked again.
void ListenerControl::look_at_files_of(std::size_t index) {
  const ListenerConfig& listener = config_.listeners[index];
  Files& files = files_[listener.name];
  std::vector<Mark> now = marks_of(listener);
  const bool settled = now == files.seen;
  files.seen = now;
  if (!settled || (now == files.in_use && files.refused.empty())) return;
  const bool again = now == files.in_use;
  files.in_use = std::move(now);
  auto loaded = load(listener);
  std::string refused = loaded ? "" : loaded.error().what;
  const bool hosted = plane_.hosted(index).has_value();
  if (loaded && !hosted) {
    auto prepared = prepare(listener, config_.upstreams, chosen_for(listener.name), *loaded);
    const auto done = prepared ? put_in_force(index, std::move(*prepared)) : Answer<void>(prepared.error());
    if (!done) refused = done.error().what;
  }
  if (!refused.empty()) {
    if (!again || refused != files.refused) {
      log_.error("certificate-files", {{"listener", listener.name},
                                       {"what", "the new files are not used, the old certificate stays"},
                                       {"why", refused}});
      warnings_.say(Warnings::Kind::CertificateFiles, listener.name,
                    "the new certificate files are not used, the old certificate stays: " + refused);
    }
    files.refused = std::move(refused);
    return;
  }
  files.refused.clear();
  warnings_.say(Warnings::Kind::CertificateFiles, listener.name, "");
  files.loaded = std::move(*loaded);
  log_.info("certificate-files",
            {{"listener", listener.name},
             {"what", hosted ? "read again; the hosted certificate stays in use" : "read again and in use"}});
}

// What is presented hangs on the clock; so does nothing else about a listener.
void ListenerControl::look_at_dates_of(std::size_t index) {
  const ListenerConfig& listener = config_.listeners[index];
  const OverrideRow chosen = chosen_for(listener.name);
  if (chosen.certificate && !plane_.hosted(index)) {
    sealing_.reset();  // another file may be there now
    auto opened = prepare_best(index, chosen);
    if (!opened || !opened->hosted) return;
    if (put_in_force(index, std::move(*opened)))
      log_.info("override", {{"listener", listener.name}, {"chosen", text_of(chosen)}});
    return;
  }
  std::vector<ServerCertificate> certificates = plane_.certificates(index);
  std::vector<Digest> best;
  for (const ServerCertificate& each : presented_of(certificates, std::time(nullptr))) {
    best.push_back(each.leaf().fingerprint());
  }
  if (best == plane_.presented(index)) return;
  auto prepared = prepare(listener, config_.upstreams, chosen, std::move(certificates));
  const auto done = prepared ? put_in_force(index, std::move(*prepared)) : Answer<void>(prepared.error());
  if (!done) return log_.error("certificate-dates", {{"listener", listener.name}, {"why", done.error().what}});
  log_.info("certificate-dates",
            {{"listener", listener.name}, {"what", "another certificate is presented from now on"}});
}

Answer<ListenerControl::Reloading> ListenerControl::prepare_reload(const std::vector<ListenerConfig>& listeners,
                                                                   const std::vector<UpstreamConfig>& upstreams,
                                                                   const std::string& key_file) {
  Reloading next;
  next.lock = std::unique_lock(mutex_);
  next.listeners = listeners;
  next.upstreams = upstreams;
  next.key_file = key_file;
  if (!key_file.empty()) {
    // One that is not there is no reason, as at a start: what is open stays so.
    const auto key = SealingKey::load(key_file);
    if (key) {
      next.sealing.emplace(*key);
    } else if (::access(key_file.c_str(), R_OK) == 0) {
      return Refusal{key.error().kind, "registry.key_file: " + key.error().what};
    } else {
      log_.warn("key-file", {{"why", key.error().what}, {"means", "no hosted certificate can be opened"}});
    }
  }
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    const ListenerConfig& listener = listeners[i];
    Files files;
    files.in_use = files.seen = marks_of(listener);
    auto loaded = load(listener);
    if (!loaded) return Refusal{loaded.error().kind, "listener " + listener.name + ": " + loaded.error().what};
    files.loaded = std::move(*loaded);
    // A hosted one that is in use stays so; one that could not be opened is tried once the key file is there.
    auto one = prepare(listener, upstreams, chosen_for(listener.name),
                       plane_.hosted(i) ? plane_.certificates(i) : files.loaded);
    if (!one) return Refusal{one.error().kind, "listener " + listener.name + ": " + one.error().what};
    next.files.push_back(std::move(files));
    next.prepared.push_back(std::move(*one));
  }
  return next;
}

void ListenerControl::install(Reloading next) {
  for (std::size_t i = 0; i < next.listeners.size(); ++i) {
    if (const auto done = put_in_force(i, std::move(next.prepared[i])); !done) {
      log_.error("reload", {{"listener", next.listeners[i].name}, {"why", done.error().what}});
    }
    files_[next.listeners[i].name] = std::move(next.files[i]);
    warnings_.say(Warnings::Kind::CertificateFiles, next.listeners[i].name, "");
  }
  config_.listeners = std::move(next.listeners);
  config_.upstreams = std::move(next.upstreams);
  config_.registry.key_file = std::move(next.key_file);
  sealing_.reset();
  if (next.sealing) sealing_.emplace(*next.sealing);
}

}  // namespace sallyport
