// SIGHUP: the configuration file and every certificate file are read again. What can change without a restart
// does, all of it or nothing; what cannot is named in the log. Which key is which stands in the table of settings
// (proxy/config/settings.h). The main thread.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "admin/http/http_server.h"
#include "admin/operations/listener_control.h"
#include "admin/operations/metrics.h"
#include "admin/operations/outcomes.h"
#include "admin/operations/reload_desk.h"
#include "admin/operations/running_config.h"
#include "cache/base/log.h"
#include "cache/registry/registrar.h"
#include "proxy/config/config.h"
#include "proxy/data_plane.h"

namespace sallyport {

// The certificates of `trusted_cas`: PEM files, or folders of *.pem and *.crt.
Answer<std::vector<Certificate>> trusted_cas(const RegistryConfig& registry);
// As a start would take them where none is registered: a refusal, or a line for each that it would pass over.
Answer<std::vector<std::string>> check_trusted(const std::vector<Certificate>& cas);
// For the metrics: what the admin API presents over the network, as its file has it now.
void note_admin_certificate(const Config& config, Outcomes& outcomes);
RegistrarOptions registrar_options(const RegistryConfig& registry);
// Whose algorithms there are where TLS is OpenSSL's alone.
void say_openssl_alone(Logger& log);

class Reload {
 public:
  // All outlive it. `config` is what the process was started with; what changes is kept in it.
  Reload(std::string path, Config& config, DataPlane& plane, Registrar& registrar, ListenerControl& listeners,
         HttpServer& network_server, Probes& probes, Warnings& warnings, Outcomes& outcomes, RunningConfig& running,
         Log& log, Logger& main_log)
      : path_(std::move(path)),
        config_(config),
        plane_(plane),
        registrar_(registrar),
        listeners_(listeners),
        network_server_(network_server),
        probes_(probes),
        warnings_(warnings),
        outcomes_(outcomes),
        running_(running),
        log_(log),
        main_log_(main_log) {}

  // `by`: who asked for it, for the audit log.
  ReloadOutcome run(const Actor& by = {"SIGHUP", "-"});

 private:
  ReloadOutcome refused(const std::string& why);
  void say_engines(const std::vector<ListenerInfo>& before) const;
  Answer<void> apply(const Config& next);
  void say_what_left(const std::set<Digest>& before);
  Answer<void> can_trust(const std::vector<Certificate>& cas, std::size_t max_cas) const;

  const std::string path_;
  Config& config_;
  DataPlane& plane_;
  Registrar& registrar_;
  ListenerControl& listeners_;
  HttpServer& network_server_;
  Probes& probes_;
  Warnings& warnings_;
  Outcomes& outcomes_;
  RunningConfig& running_;
  Log& log_;
  Logger& main_log_;
};

}  // namespace sallyport
