#include "admin/serve.h"

#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <thread>
#include <utility>

#include "admin/api/admin_api.h"
#include "admin/check.h"
#include "admin/console_server/console_site.h"
#include "admin/http/http_server.h"
#include "admin/operations/access.h"
#include "admin/operations/caretaker.h"
#include "admin/operations/check_config.h"
#include "admin/operations/descriptors.h"
#include "admin/operations/first_sync.h"
#include "admin/operations/kept_rejections.h"
#include "admin/operations/kept_ticket_keys.h"
#include "admin/operations/listener_control.h"
#include "admin/operations/metrics.h"
#include "admin/operations/reload.h"
#include "admin/operations/samples.h"
#include "admin/operations/shard_watch.h"
#include "admin/operations/shared_options.h"
#include "admin/operations/shared_ticket_keys.h"
#include "admin/operations/successor.h"
#include "admin/operations/systemd.h"
#include "admin/operations/takeover.h"
#include "admin/signals.h"
#include "cache/crypto/openssl_alone.h"
#include "cache/crypto/openssl_insides.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_lock.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/status_cache.h"
#include "proxy/config/config.h"
#include "proxy/data_plane.h"
#include "proxy/tls/tls_self_test.h"

namespace sallyport {

namespace {

using namespace std::chrono_literals;

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kConfig = 2;

int fail(int status, const std::string& what) {
  std::cerr << "sallyport: " << what << '\n';
  return status;
}

// Keys and identities live in this process's memory: no core file, no ptrace by others of the same user.
void keep_memory_private() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

// As many as the process may have; answers how many that is.
std::uint64_t raise_open_files() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

bool asked(int event_fd) {
  eventfd_t count = 0;
  return ::eventfd_read(event_fd, &count) == 0;
}

constexpr std::string_view kServes = "serving", kDraining = "draining";  // to systemd

enum class Ending : std::uint8_t { Asked, TakenOver };

// What is in force and not on the disk would be gone with this process: a device that was revoked would be let in by
// the next one. It is less than a word of the takeover's (takeover.cc).
std::string why_not_handed_over(const Registrar& registrar) {
  const RegistrarStats stats = registrar.stats();
  if (stats.stalled) return "the disk of its state_dir does not answer; try again when it does";
  if (!stats.owes) return {};
  const std::string what = stats.not_durable == 0 ? "it has changes"
                           : stats.not_durable == 1
                               ? "1 restriction is in force there"
                               : std::to_string(stats.not_durable) + " restrictions are in force there";
  return what +
         " that are not on the disk yet, and a new process would not know them; free some of the disk of "
         "state_dir, and try again once `sallyport status` has no \"not durable\" any more";
}

// Until somebody asks for the end: reloads on SIGHUP, starts a successor on SIGUSR2, and looks every second at what
// changes by itself, and at the shards.
Ending wait_for_end(Signals& signals, const Probes& probes, TakeoverOffer& offer, const DataPlane& plane,
                    const Registrar& registrar, const std::string& state_dir, Caretaker& caretaker, Reload& reload,
                    ReloadDesk& desk, const Systemd& systemd, const std::function<void()>& start_successor,
                    Logger& log) {
  ShardWatch watch(log);
  const auto why_not = [&registrar] { return why_not_handed_over(registrar); };
  for (;;) {
    const int signal =
        signals.wait(1000ms, {probes.drain_asked(), desk.asked(), registrar.settings_fd(), offer.asked()});
    (void)asked(registrar.settings_fd());
    if (ends(signal) || asked(probes.drain_asked())) return Ending::Asked;
    Actor by{"SIGHUP", "-"};
    const bool wanted = desk.take(by);
    if (signal == SIGHUP || wanted) {
      systemd.reloading();
      const ReloadOutcome outcome = reload.run(by);
      if (wanted) desk.done(outcome);
      systemd.ready(kServes);
    }
    if (signal == SIGUSR2) start_successor();
    if (offer.accepted(plane.shards(), state_dir, why_not, log)) return Ending::TakenOver;
    caretaker.look();
    if (watch.all_turn(plane.shard_info(), std::chrono::steady_clock::now())) systemd.feed_watchdog();
  }
}

// First a balancer gets the time to notice, then sessions are closed one after the other until the drain's limit; a
// second signal, or a successor that has to cut somebody, ends them at once.
void drain(Signals& signals, DataPlane& plane, const Config& config, TakeoverOffer& offer, Logger& log) {
  const bool taken_over = offer.successor() >= 0;  // accepting goes on, over there
  const auto delay = taken_over ? 0ms : config.drain_delay;
  log.info("draining", {{"delay_ms", delay.count()}, {"limit_ms", config.drain.count()}});
  const auto accepts_until = std::chrono::steady_clock::now() + delay;
  bool accepts = true;
  while (!plane.finished()) {
    if (accepts && std::chrono::steady_clock::now() >= accepts_until) {
      accepts = false;
      plane.drain(config.drain);
      log.info("listeners-closed",
               {{"what", taken_over ? "new connections are the new process's" : "no connection is accepted any more"}});
    }
    const bool signalled = ends(signals.wait(50ms));
    const bool told = offer.said() == TakeoverOffer::Said::End;
    if (!signalled && !told) continue;
    log.info("stopping", {{"why", told ? "the new process cuts sessions" : "a second signal"}});
    plane.stop_now();
    break;
  }
  plane.join();
}

// The registry is closed by now, and everything but new and open connections is the new process's. True: it serves.
bool hand_over(Signals& signals, DataPlane& plane, TakeoverOffer& offer, const Systemd& systemd, Logger& log) {
  if (const auto given = offer.hand_over(plane.listening()); !given) {
    log.error("takeover-failed", {{"why", given.error().what}});
    return false;
  }
  ShardWatch watch(log);
  constexpr auto kEvery = 30s;
  auto told_at = std::chrono::steady_clock::now();
  for (;;) {
    if (ends(signals.wait(50ms))) return true;
    if (watch.all_turn(plane.shard_info(), std::chrono::steady_clock::now())) systemd.feed_watchdog();
    // No limit: it may have millions of devices to warm, and until it serves nobody else does.
    if (const auto now = std::chrono::steady_clock::now(); now - told_at >= kEvery) {
      told_at = now;
      log.warn("takeover-slow", {{"what", "the new process does not serve yet: this one goes on, from memory"}});
    }
    switch (offer.said()) {
      case TakeoverOffer::Said::Nothing: break;
      case TakeoverOffer::Said::Serving: return true;
      case TakeoverOffer::Said::End: plane.stop_now(); return true;  // somebody is to be cut, who may be here
      case TakeoverOffer::Said::Gone:
        log.error("takeover-failed", {{"why", "the new process has ended before it served"}});
        return false;
    }
  }
}

void say_what_runs(const Config& config, const DataPlane& plane, std::uint64_t open_files, const Registrar& registrar,
                   const std::string& admin_address, Logger& log) {
  for (const ListenerInfo& listener : plane.listeners()) {
    log.info("listening", {{"listener", listener.name},
                           {"address", listener.address},
                           {"auth", listener.auth},
                           {"protocol", listener.protocol},
                           {"upstream", listener.upstream},
                           {"tls_engine", to_string(listener.tls_engine)}});
  }
  if (config.listeners.empty()) log.warn("no-listener", {{"what", kNoListener}});
  const RegistrarStats stats = registrar.stats();
  log.info("ready",
           {{"version", SALLYPORT_VERSION},
            {"shards", plane.shards()},
            {"io", plane.io_name()},
            {"connections_max", plane.connections_max()},
            {"open_files", open_files},
            {"devices", stats.devices.active + stats.devices.inactive + stats.devices.pending + stats.devices.revoked},
            {"cas", stats.cas_active + stats.cas_inactive},
            {"warmup_ms", static_cast<std::int64_t>(stats.warmup_seconds * 1000)},
            {"admin_socket", config.admin.socket},
            {"admin_address", admin_address}});
}

void say_what_was_lost(const RegistryStore& store, OnLoss on_loss, Logger& log) {
  if (store.tail_dropped()) {
    log.warn("log-end-dropped",
             {{"what", "the registry's log ended in the middle of a change that nobody was told of"}});
  }
  if (const auto& loss = store.loss()) {
    log.error("loss-accepted", {{"what", loss->why}, {"answered", loss->answered}, {"found", loss->found}});
  } else if (on_loss == OnLoss::Accept) {
    log.warn("nothing-lost", {{"what", "the registry is whole: start without --accept-loss from now on"}});
  }
}

// However run() ends: a write that the disk does not answer cannot be ended, nor the thread that waits for it. The
// process goes without them.
struct NoWaitForTheDisk {
  Registrar& registrar;
  Logger& log;
  ~NoWaitForTheDisk() {
    if (!registrar.stalled()) return;
    log.error("stopped-stalled", {{"means", "the disk does not answer: what it has not written is lost"}});
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // for the log's own thread
    std::_Exit(kFailed);
  }
};

// A planned end. Nobody writes any more.
void settle_registry(const Config& config, DataPlane& plane, const Registrar& registrar, RegistryStore& store,
                     Logger& log) {
  // Those of a shared registry are in it.
  if (!registrar.shares_epochs()) {
    keep_ticket_keys(config, plane.ticket_keys(), registrar, store, std::time(nullptr), log);
  }
  if (const auto flushed = store.flush(); !flushed) log.warn("not-flushed", {{"what", flushed.error().what}});
}

// A start that fails, because an address is taken or a certificate is not there, costs no fleet its tickets.
struct KeptUntilItServes {
  const Config& config;
  DataPlane& plane;
  Registrar& registrar;
  RegistryStore& store;
  Logger& log;
  bool serves = false;
  ~KeptUntilItServes() {
    if (serves) return;
    plane.stop_now();
    plane.join();
    registrar.stop();
    if (!registrar.stalled()) settle_registry(config, plane, registrar, store, log);
  }
};

// From here on everything is durable state, threads and sockets; what fails names itself.
int run(const std::string& path, Config& config, OnLoss on_loss, bool take_over, const sigset_t& signals,
        DataPlane& plane, std::vector<Digest> server_keys, std::vector<Certificate> trusted, RunningConfig& running,
        Feed& feed, Log& log, Logger& main_log) {
  const std::uint64_t open_files = raise_open_files();
  // Before the registry and any address, which the process before still has.
  std::unique_ptr<Predecessor> predecessor;
  if (take_over) {
    auto asked = Predecessor::ask(takeover_path(config.admin.socket), plane.shards(), config.state_dir);
    if (!asked) return fail(kFailed, "take over: " + asked.error().what);
    predecessor = std::move(*asked);
    main_log.info("take-over", {{"what", predecessor ? "the listeners of the process before are here"
                                                     : "nobody runs with this admin.socket: an ordinary start"}});
  }
  RegistryLock::await_the_last(config.state_dir + "/registry");
  auto store = RegistryStore::open(config.state_dir, nullptr, on_loss, [&](bool loud, const std::string& what) {
    loud ? main_log.warn("migration", {{"what", what}}) : main_log.info("migration", {{"what", what}});
  });
  if (!store) return fail(kFailed, store.error().what);
  say_what_was_lost(**store, on_loss, main_log);
  KeptRejections rejections(config.state_dir, plane, log.logger());  // before what may not wait for the disk
  rejections.load();
  StatusCache cache;
  ChainTable chains;
  const DeviceGate gate(cache, chains);
  const DeviceGate admin_gate(cache, chains, DeviceGate::AskedBy::Others);
  Registrar registrar(**store, cache, chains, plane, registrar_options(config.registry), log.logger());
  if (const auto shared = registrar.share(shared_options(config.registry), log.logger()); !shared) {
    return fail(kFailed, shared.error().what);
  }
  const NoWaitForTheDisk no_wait{registrar, main_log};
  Warnings warnings(main_log);
  Outcomes outcomes;
  ReloadDesk desk;
  Samples samples(plane, registrar);
  Metrics metrics(config, plane, registrar, warnings, outcomes, log);
  Probes probes(metrics, config.metrics);
  Access access(registrar);
  ConsoleSessions signed_in(access, log.logger());
  ListenerControl listeners(config, plane, registrar, warnings, log.logger());
  SharedTicketKeys ticket_keys(config, plane, registrar, warnings, log.logger());
  AdminApi api({registrar,
                **store,
                admin_gate,
                plane,
                listeners,
                access,
                signed_in,
                probes,
                warnings,
                outcomes,
                desk,
                log,
                config,
                running,
                samples,
                rejections,
                feed,
                [&probes] { return Probes::name_of(probes.phase()); },
                shared_options(config.registry).node,
                [&probes] { probes.ask_to_drain(); },
                [&probes] { return probes.why_not_ready(); },
                [&ticket_keys] { return ticket_keys.trouble(); }},
               log.logger());
  ConsoleSite site(api, signed_in, registrar, outcomes, log.logger());
  const Descriptors descriptors = Descriptors::of(open_files, config, plane.shards());
  const HttpLimits http_limits{.connections = descriptors.http_connections};
  HttpServer metrics_server(HttpLimits{.body_bytes = 1024, .connections = descriptors.http_connections}, 1);
  const auto metrics_address = metrics_server.listen_tcp(config.metrics, probes);
  if (!metrics_address) return fail(kFailed, "metrics.address: " + metrics_address.error().what);
  metrics_server.start();
  main_log.info("warming", {{"state_dir", config.state_dir}, {"metrics", *metrics_address}});

  StandingEpochs epochs;
  std::size_t keys_taken = 0;
  if (const auto kept = take_ticket_keys(config, **store, std::time(nullptr), main_log)) {
    plane.ticket_keys().adopt(kept->keys, std::time(nullptr));
    epochs = kept->epochs;
    keys_taken = kept->keys.size();
  }  // here the only other copy of the keys goes
  if (const auto warmed = registrar.warm(epochs); !warmed) return fail(kFailed, warmed.error().what);
  if (registrar.shares_epochs() && std::exchange(keys_taken, 0) != 0) {
    plane.ticket_keys().drop(std::time(nullptr));  // they were of a registry whose epochs were this node's own
  }
  // Before it serves nobody has a ticket that the next start could not honour.
  KeptUntilItServes kept{config, plane, registrar, **store, main_log};
  registrar.start();
  if (const auto followed = follow_shared(config.registry, **store, registrar, main_log); !followed) {
    return fail(kFailed, followed.error().what);
  }
  note_keys_taken(keys_taken, registrar, plane.ticket_keys(), std::time(nullptr), main_log);
  if (const auto set = registrar.set_server_keys(std::move(server_keys)); !set) return fail(kFailed, set.error().what);
  if (const auto added = registrar.trust(trusted); !added)
    return fail(kFailed, "registry.trusted_cas: " + added.error().what);
  if (const auto loaded = access.load(); !loaded) return fail(kFailed, loaded.error().what);
  if (const auto restored = listeners.restore(); !restored) return fail(kFailed, restored.error().what);
  HttpServer admin_server(http_limits, 8);
  HttpServer network_server(http_limits, 8);  // its own workers and limits: strangers never crowd out the socket
  Reload reload(path, config, plane, registrar, listeners, network_server, probes, warnings, outcomes, running, log,
                main_log);
  if (const auto bound = admin_server.listen_unix(config.admin.socket, api); !bound) {
    return fail(kFailed, "admin.socket: " + bound.error().what);
  }
  std::string admin_address;
  if (config.admin.address) {
    const auto bound = network_server.listen_tcp(*config.admin.address, site, config.admin.tls());
    if (!bound) return fail(kFailed, "admin.address: " + bound.error().what);
    admin_address = *bound;
    note_admin_certificate(config, outcomes);
  }
  ticket_keys.look(std::time(nullptr));  // those that are on this node's disk: before anybody comes with a ticket
  const auto capacity = Capacity::of(open_files, plane.shards(), descriptors.reserved);
  std::vector<ListeningSocket> taken;
  if (predecessor) taken = predecessor->take();
  if (const auto started = plane.start(gate, registrar, capacity, std::move(taken), predecessor.get()); !started) {
    return fail(kFailed, started.error().what);
  }
  kept.serves = true;
  registrar.answer_with([&api](const std::string& request) { return api.answer_other(request); });
  rejections.start();
  admin_server.start();
  if (config.admin.address) network_server.start();
  Caretaker caretaker(plane, registrar, access, signed_in, listeners, warnings, samples, ticket_keys, main_log);
  caretaker.look();
  say_what_runs(config, plane, open_files, registrar, admin_address, main_log);
  probes.set(config.ready_when);
  probes.set(config.listeners.empty() ? Probes::Phase::NoListener : Probes::Phase::Ready);

  const auto start_next = [&path, &main_log, program = own_program()] {
    if (const auto pid = start_successor(program, path); !pid) {
      main_log.error("successor-failed", {{"why", pid.error().what}});
    } else {
      main_log.info("successor", {{"pid", *pid}, {"program", program}});
    }
  };
  TakeoverOffer offer;
  if (const std::string where = takeover_path(config.admin.socket); where.empty()) {
    main_log.warn("no-takeover", {{"why", "admin.socket is too long a path to have a socket beside it"}});
  } else if (const auto offered = offer.listen(where); !offered) {
    main_log.warn("no-takeover", {{"why", offered.error().what}});
  }
  if (predecessor) predecessor->say_serving();
  const Systemd systemd = Systemd::from_environment();
  systemd.ready(kServes);
  const auto time_to_drain = [&config] { return config.drain_delay + config.drain + 30s; };  // and for the registry
  Signals wanted(signals);
  const Ending ending = wait_for_end(wanted, probes, offer, plane, registrar, config.state_dir, caretaker, reload, desk,
                                     systemd, start_next, main_log);
  desk.close();
  registrar.answer_with({});
  rejections.stop();  // while there are shards to ask
  if (ending == Ending::TakenOver) {
    // What the new process needs: the addresses of the API, and the registry. Whoever comes meanwhile is decided upon
    // from memory; a new device is served, and registered when it comes back.
    admin_server.stop();
    network_server.stop();
    metrics_server.stop();
    registrar.stop();
    if (registrar.stalled()) return kFailed;
    settle_registry(config, plane, registrar, **store, main_log);
    store->reset();
    const bool served = hand_over(wanted, plane, offer, systemd, main_log);
    served ? systemd.main_is(offer.successor_pid()) : systemd.stopping(kDraining, time_to_drain());
    drain(wanted, plane, config, offer, main_log);
    main_log.info("stopped");
    return served ? kDone : kFailed;
  }
  offer.close();
  probes.set(Probes::Phase::Draining);
  systemd.stopping(kDraining, time_to_drain());
  drain(wanted, plane, config, offer, main_log);
  admin_server.stop();
  network_server.stop();
  registrar.stop();
  if (registrar.stalled()) return kFailed;
  settle_registry(config, plane, registrar, **store, main_log);
  metrics_server.stop();
  main_log.info("stopped");
  return kDone;
}

}  // namespace

int serve(const std::string& config_path, bool accept_loss, bool take_over) {
  ConfigReport report = load_config(config_path);
  keep_to_openssl(report.config.tls_engine == TlsMadeBy::Openssl);
  if (report.ok()) {
    settle_tls_engines(report.config);  // before anything else makes OpenSSL gather the names of all it knows
    check_files(report);
  }
  if (!acceptable(report, config_path)) return kConfig;
  keep_memory_private();
  const sigset_t signals = block_signals();  // before the first thread, the log's, is started
  Feed feed;
  Log log(report.config.log_level, report.config.log_format, 1, &feed);
  RunningConfig running(config_path, report);
  Logger& main_log = log.logger();
  if (any_listener_by(TlsMadeBy::Openssl, report.config)) say_openssl_alone(main_log);
  const bool auto_somewhere = any_listener_by(TlsMadeBy::Auto, report.config);
  if (const std::string_view why = openssl_insides_refusal(); auto_somewhere && !why.empty()) {
    main_log.warn("openssl-only", {{"version", openssl_version()},
                                   {"why", why},
                                   {"means", "every handshake and record is OpenSSL's own: slower, and more memory"}});
  }
  DataPlane plane(report.config, log);
  auto server_keys = plane.prepare();
  if (!server_keys) return fail(kConfig, config_path + ": " + server_keys.error().what);
  auto trusted = trusted_cas(report.config.registry);
  if (!trusted) return fail(kConfig, config_path + ": " + trusted.error().what);
  return run(config_path, report.config, accept_loss ? OnLoss::Accept : OnLoss::Refuse, take_over, signals, plane,
             std::move(*server_keys), std::move(*trusted), running, feed, log, main_log);
}

}  // namespace sallyport
