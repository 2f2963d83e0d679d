#include "admin/serve.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <iostream>

#include "admin/api/admin_api.h"
#include "admin/api/http_server.h"
#include "admin/metrics.h"
#include "cache/ca_set.h"
#include "cache/chains.h"
#include "cache/file.h"
#include "cache/registrar.h"
#include "cache/registry_store.h"
#include "cache/status_cache.h"
#include "proxy/config.h"
#include "proxy/data_plane.h"

namespace sallyport {

namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kConfig = 2;
constexpr std::size_t kLargestBundle = std::size_t{64} << 20;

int fail(int status, const std::string& what) {
  std::cerr << "sallyport: " << what << '\n';
  return status;
}

// Prints every finding; false if serve must not start.
bool acceptable(const ConfigReport& report, const std::string& path) {
  for (const ConfigProblem& warning : report.warnings) std::cerr << to_string(warning, path) << " (warning)\n";
  for (const ConfigProblem& problem : report.problems) std::cerr << to_string(problem, path) << '\n';
  return report.ok();
}

// The certificates of `trusted_cas`: PEM files, or folders of *.pem and *.crt.
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

// Keys and identities live in this process's memory: no core file, no ptrace by others of the same user.
void keep_memory_private() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

struct Capacity {
  std::uint64_t open_files = 0;
  std::uint64_t connections = 0;
};

// Two descriptors a connection, device and broker; the rest is for RocksDB, listeners and the admin side.
Capacity raise_open_files() {
  constexpr std::uint64_t kReserved = 512;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::uint64_t files = limit.rlim_cur;
  return {files, files > 2 * kReserved ? (files - kReserved) / 2 : files / 4};
}

// Every thread started later inherits the mask: signals come to wait_for_signals() alone.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return signals;
}

// Waits for the first SIGTERM or SIGINT.
void wait_for_end(const sigset_t& signals, Logger& log) {
  for (;;) {
    const int signal = ::sigwaitinfo(&signals, nullptr);
    if (signal == SIGTERM || signal == SIGINT) return;
    if (signal == SIGHUP) log.warn("reload", {{"what", "this version does not reload: restart it to apply the file"}});
  }
}

// Lets sessions end by themselves until the drain's limit; a second signal ends them at once.
void drain(const sigset_t& signals, DataPlane& plane, const Config& config, Logger& log) {
  log.info("draining", {{"limit_ms", config.drain.count()}});
  plane.drain(config.drain);
  while (!plane.finished()) {
    const timespec moment{0, 50'000'000};
    const int signal = ::sigtimedwait(&signals, nullptr, &moment);
    if (signal == SIGTERM || signal == SIGINT) {
      log.info("stopping", {{"why", "a second signal"}});
      plane.stop_now();
      break;
    }
  }
  plane.join();
}

void say_what_runs(const Config& config, const DataPlane& plane, const Capacity& capacity, const Registrar& registrar,
                   Logger& log) {
  for (const ListenerInfo& listener : plane.listeners()) {
    log.info("listening", {{"listener", listener.name},
                           {"address", listener.address},
                           {"auth", listener.auth},
                           {"protocol", listener.protocol},
                           {"upstream", listener.upstream}});
  }
  const RegistrarStats stats = registrar.stats();
  log.info("ready",
           {{"version", SALLYPORT_VERSION},
            {"shards", plane.shards()},
            {"connections_max", capacity.connections},
            {"open_files", capacity.open_files},
            {"devices", stats.devices.active + stats.devices.inactive + stats.devices.pending + stats.devices.revoked},
            {"cas", stats.cas_active + stats.cas_inactive},
            {"warmup_ms", static_cast<std::int64_t>(stats.warmup_seconds * 1000)},
            {"admin_socket", config.admin.socket}});
}

// From here on everything is durable state, threads and sockets; what fails names itself.
int run(const Config& config, const sigset_t& signals, DataPlane& plane, std::vector<Digest> server_keys,
        std::vector<Certificate> trusted, Log& log, Logger& main_log) {
  const Capacity capacity = raise_open_files();
  auto store = RegistryStore::open(config.state_dir);
  if (!store) return fail(kFailed, store.error().what);
  StatusCache cache;
  ChainTable chains;
  const DeviceGate gate(cache, chains);
  Registrar registrar(**store, cache, chains, plane,
                      {config.registry.auto_register, config.registry.max_cas, config.registry.max_devices_per_ca,
                       config.registry.queue},
                      log.logger());
  Metrics metrics(config, plane, registrar, log);
  Probes probes(metrics);
  AdminApi api(registrar, plane, probes, config.registry, std::time(nullptr), log.logger());
  HttpServer metrics_server(HttpLimits{.body_bytes = 1024}, 1);
  const auto metrics_address = metrics_server.listen_tcp(config.metrics, probes);
  if (!metrics_address) return fail(kFailed, "metrics.address: " + metrics_address.error().what);
  metrics_server.start();
  main_log.info("warming", {{"state_dir", config.state_dir}, {"metrics", *metrics_address}});

  if (const auto warmed = registrar.warm(); !warmed) return fail(kFailed, warmed.error().what);
  registrar.start();
  if (const auto set = registrar.set_server_keys(std::move(server_keys)); !set) return fail(kFailed, set.error().what);
  if (const auto added = registrar.trust(trusted); !added)
    return fail(kFailed, "registry.trusted_cas: " + added.error().what);
  HttpServer admin_server(HttpLimits{}, 4);
  if (const auto bound = admin_server.listen_unix(config.admin.socket, api); !bound) {
    return fail(kFailed, "admin.socket: " + bound.error().what);
  }
  if (const auto started = plane.start(gate, registrar, capacity.connections); !started) {
    return fail(kFailed, started.error().what);
  }
  admin_server.start();
  say_what_runs(config, plane, capacity, registrar, main_log);
  probes.set(Probes::Phase::Ready);

  wait_for_end(signals, main_log);
  probes.set(Probes::Phase::Draining);
  drain(signals, plane, config, main_log);
  admin_server.stop();
  registrar.stop();
  metrics_server.stop();
  main_log.info("stopped");
  return kDone;
}

}  // namespace

int serve(const std::string& config_path) {
  const ConfigReport report = load_config(config_path);
  if (!acceptable(report, config_path)) return kConfig;
  keep_memory_private();
  const sigset_t signals = block_signals();  // before the first thread, the log's, is started
  Log log(report.config.log_level, report.config.log_format);
  Logger& main_log = log.logger();
  DataPlane plane(report.config, log);
  auto server_keys = plane.prepare();
  if (!server_keys) return fail(kConfig, config_path + ": " + server_keys.error().what);
  auto trusted = trusted_cas(report.config.registry);
  if (!trusted) return fail(kConfig, config_path + ": " + trusted.error().what);
  return run(report.config, signals, plane, std::move(*server_keys), std::move(*trusted), log, main_log);
}

int check(const std::string& config_path) {
  const ConfigReport report = load_config(config_path);
  if (!acceptable(report, config_path)) return kConfig;
  Log log(Level::Error, LogFormat::Text, 2);
  DataPlane plane(report.config, log);
  if (const auto prepared = plane.prepare(); !prepared)
    return fail(kConfig, config_path + ": " + prepared.error().what);
  if (const auto trusted = trusted_cas(report.config.registry); !trusted) {
    return fail(kConfig, config_path + ": " + trusted.error().what);
  }
  std::cout << config_path << ": ok, " << report.config.listeners.size() << " listener(s), "
            << report.config.upstreams.size() << " upstream(s)\n";
  return kDone;
}

}  // namespace sallyport
