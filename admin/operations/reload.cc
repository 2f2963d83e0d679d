#include "admin/operations/reload.h"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <set>

#include "cache/base/file.h"
#include "cache/crypto/keys_unread.h"
#include "cache/crypto/openssl_alone.h"
#include "cache/crypto/openssl_insides.h"
#include "cache/x509/ca_rules.h"
#include "proxy/config/settings.h"
#include "proxy/tls/tls_broker.h"
#include "proxy/tls/tls_files.h"
#include "proxy/tls/tls_self_test.h"

namespace sallyport {

namespace {

constexpr std::size_t kLargestBundle = std::size_t{64} << 20;

}  // namespace

RegistrarOptions registrar_options(const RegistryConfig& registry) {
  RegistrarOptions options;
  options.auto_register = registry.auto_register;
  options.max_cas = registry.max_cas;
  options.max_devices_per_ca = registry.max_devices_per_ca;
  options.queue = registry.queue;
  options.audit_keep = std::chrono::duration_cast<std::chrono::seconds>(registry.audit_keep);
  return options;
}

void note_admin_certificate(const Config& config, Outcomes& outcomes) {
  const auto files = config.admin.tls();
  if (!files) return;
  if (const auto own = load_server_certificate(*files)) {
    outcomes.presents({own->leaf().fingerprint(), own->leaf().not_after()});
  }
}

Answer<std::vector<Certificate>> trusted_cas(const RegistryConfig& registry) {
  namespace fs = std::filesystem;
  std::vector<Certificate> all;
  for (const std::string& named : registry.trusted_cas) {
    std::vector<fs::path> files;
    std::error_code failure;
    if (fs::is_directory(named, failure)) {
      for (const auto& entry : fs::directory_iterator(named, failure)) {
        const fs::path extension = entry.path().extension();
        if (extension == ".pem" || extension == ".crt") files.push_back(entry.path());
      }
      std::sort(files.begin(), files.end());
    } else {
      files.emplace_back(named);
      failure.clear();
    }
    if (failure) return Refusal{Refusal::Kind::Invalid, "registry.trusted_cas: " + named + ": " + failure.message()};
    for (const fs::path& path : files) {
      const auto pem = read_file(path.string(), kLargestBundle);
      if (!pem) return Refusal{Refusal::Kind::Invalid, "registry.trusted_cas: " + pem.error().what};
      auto bundle = Certificate::bundle_from_pem(*pem);
      if (!bundle) {
        return Refusal{Refusal::Kind::Invalid, "registry.trusted_cas: " + path.string() + ": " + bundle.error().what};
      }
      for (Certificate& certificate : *bundle) all.push_back(std::move(certificate));
    }
  }
  return all;
}

Answer<std::vector<std::string>> check_trusted(const std::vector<Certificate>& cas) {
  const std::int64_t now = std::time(nullptr);
  std::vector<std::string> passed_over;
  for (const Certificate& ca : cas) {
    const auto fit = check_ca(ca, now);
    if (fit) continue;
    const std::string what = "registry.trusted_cas: " + ca.subject() + ": " + fit.error().what;
    if (in_date(ca, now)) return Refusal{fit.error().kind, what};
    passed_over.push_back(what + ": passed over, unless it is registered already");
  }
  return passed_over;
}

ReloadOutcome Reload::refused(const std::string& why) {
  outcomes_.reloaded(why);
  warnings_.say(Warnings::Kind::Reload, path_, "the file is not in force, the one before is: " + why);
  return {outcomes_.reload().at, why, {}};
}

void say_openssl_alone(Logger& log) {
  log.info("openssl-alone", {{"version", openssl_version()},
                             {"providers", openssl_providers()},
                             {"keys_of_tickets", KeysUnread::possible() ? "left unread" : "read"}});
}

// Which listeners' new connections others than before make from now on.
void Reload::say_engines(const std::vector<ListenerInfo>& before) const {
  const std::vector<ListenerInfo> now = plane_.listeners();
  bool openssl = false;
  for (std::size_t i = 0; i < now.size() && i < before.size(); ++i) {
    if (now[i].tls_engine == before[i].tls_engine) continue;
    main_log_.info("reload", {{"what", "new connections are of another TLS engine"},
                              {"listener", now[i].name},
                              {"tls_engine", to_string(now[i].tls_engine)}});
    openssl = openssl || now[i].tls_engine == TlsMadeBy::Openssl;
  }
  if (openssl) say_openssl_alone(main_log_);
}

ReloadOutcome Reload::run(const Actor& by) {
  ConfigReport report = load_config(path_);
  for (const ConfigProblem& problem : report.problems) {
    main_log_.error("reload",
                    {{"what", "the file is not used, nothing has changed"}, {"why", to_string(problem, path_)}});
  }
  if (!report.ok()) return refused(to_string(report.problems.front(), path_));
  // Whoever means it takes the listeners out and restarts; a file that was cut off in the middle means nothing.
  if (report.config.listeners.empty() && !config_.listeners.empty()) {
    const std::string why = path_ + ": there is no [[listener]]: to serve none, restart";
    main_log_.error("reload", {{"what", "the file is not used, nothing has changed"}, {"why", why}});
    return refused(why);
  }
  const std::vector<std::string> restart = needs_restart(config_, report.config);
  const auto engines = plane_.listeners();
  if (const auto applied = apply(report.config); !applied) {
    main_log_.error("reload", {{"what", "nothing has changed"}, {"why", applied.error().what}});
    return refused(applied.error().what);
  }
  outcomes_.reloaded("");
  running_.reloaded(report);
  warnings_.say(Warnings::Kind::Reload, path_, "");
  say_engines(engines);
  for (const std::string& key : restart) {
    main_log_.warn("reload", {{"what", "needs a restart"}, {"key", key}});
  }
  main_log_.info("reload", {{"what", "done"}, {"needs_restart", restart.size()}});
  const auto noted = registrar_.record(
      by, "reload", path_, restart.empty() ? "all in force" : std::to_string(restart.size()) + " keys need a restart");
  if (!noted) main_log_.warn("audit", {{"why", noted.error().what}});
  return {outcomes_.reload().at, "", restart};
}

// Whether trust() would take them, for nothing may change before that is known. One that is out of date and new in the
// file is a mistake of whoever wrote it there; one that was there before, a start or a reload has passed over.
Answer<void> Reload::can_trust(const std::vector<Certificate>& cas, std::size_t max_cas) const {
  const std::int64_t now = std::time(nullptr);
  const std::set<Digest> before = registrar_.trusted();
  std::set<Digest> ids;
  for (const CaRecord& ca : registrar_.cas()) ids.insert(ca.id);
  for (const Certificate& certificate : cas) {
    if (before.count(certificate.fingerprint()) != 0 && !in_date(certificate, now)) continue;
    if (!ids.insert(certificate.fingerprint()).second) continue;
    if (const auto fit = check_ca(certificate, now); !fit) {
      return Refusal{fit.error().kind, "registry.trusted_cas: " + certificate.subject() + ": " + fit.error().what};
    }
    if (ids.size() > max_cas) {
      return Refusal{Refusal::Kind::Conflict,
                     "registry.trusted_cas: more CAs than registry.max_cas = " + std::to_string(max_cas)};
    }
  }
  return {};
}

// A CA that the file no longer names is still a CA: only an operator takes it away.
void Reload::say_what_left(const std::set<Digest>& before) {
  const std::set<Digest> now = registrar_.trusted();
  for (const Digest& id : before) {
    if (now.count(id) != 0) continue;
    const auto ca = registrar_.ca(id);
    if (!ca) continue;
    main_log_.warn("reload", {{"what", "a CA that left registry.trusted_cas is still registered"},
                              {"ca", to_hex(id)},
                              {"subject", ca->certificate.subject()},
                              {"status", to_string(ca->status)},
                              {"do", "sallyport ca deactivate " + to_hex(id)}});
  }
}

// Everything is read and checked first, and what a disk may refuse is written next; what comes then cannot fail.
Answer<void> Reload::apply(const Config& next) {
  const Config changed = changed_at_once(config_, next);
  if (auto can = check_tls_engines(changed); !can) return can;
  settle_tls_engines(changed);
  const auto trusted = trusted_cas(changed.registry);
  if (!trusted) return trusted.error();
  if (auto fit = can_trust(*trusted, changed.registry.max_cas); !fit) return fit;
  std::function<void()> install_tls;
  if (const auto tls = config_.admin.address ? config_.admin.tls() : std::nullopt) {
    auto prepared = network_server_.prepare_tls(*tls);
    if (!prepared) return Refusal{prepared.error().kind, "admin.certificate: " + prepared.error().what};
    install_tls = std::move(*prepared);
  }
  auto broker_tls = prepare_broker_tls(changed.upstreams);
  if (!broker_tls) return broker_tls.error();
  auto listeners = listeners_.prepare_reload(changed.listeners, changed.upstreams, changed.registry.key_file);
  if (!listeners) return listeners.error();
  const std::set<Digest> before = registrar_.trusted();
  const RegistrarOptions options_before = registrar_.options();
  if (auto done = registrar_.set_options(registrar_options(changed.registry)); !done) return done;
  if (auto added = registrar_.trust(*trusted); !added) {
    (void)registrar_.set_options(options_before);
    return Refusal{added.error().kind, "registry.trusted_cas: " + added.error().what};
  }
  say_what_left(before);
  // In this order: no session with the identity of before may meet the servers of now.
  keep_to_openssl(changed.tls_engine == TlsMadeBy::Openssl);
  listeners_.install(std::move(*listeners));
  plane_.set_upstreams(changed.upstreams, std::move(*broker_tls));
  if (install_tls) {
    install_tls();
    note_admin_certificate(config_, outcomes_);
  }
  plane_.set_cut_pace(changed.cuts_per_second);
  plane_.set_registration_pace(changed.registry.max_registrations_per_second_per_ca);
  log_.set(changed.log_level, changed.log_format);
  probes_.set(changed.ready_when);
  config_.drain = changed.drain;
  config_.drain_delay = changed.drain_delay;
  config_.keep_ticket_keys = changed.keep_ticket_keys;
  config_.registry.key_file = changed.registry.key_file;
  return {};
}

}  // namespace sallyport
