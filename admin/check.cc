#include "admin/check.h"

#include <ctime>
#include <iostream>

#include "admin/cli/say.h"
#include "admin/operations/check_config.h"
#include "admin/operations/objects.h"
#include "cache/crypto/openssl_alone.h"
#include "proxy/tls/tls_files.h"
#include "proxy/tls/tls_self_test.h"

namespace sallyport {

bool acceptable(const ConfigReport& report, const std::string& path) {
  for (const ConfigProblem& warning : report.warnings) std::cerr << to_string(warning, path) << " (warning)\n";
  for (const ConfigProblem& problem : report.problems) std::cerr << to_string(problem, path) << '\n';
  return report.ok();
}

namespace {

// Everything that can be found out without serving.
ConfigReport checked(const std::string& config_path) {
  ConfigReport report = load_config(config_path);
  if (report.unread) return report;  // the defaults are not its
  // With providers that cannot do it nothing else could be looked at: check_files() says so.
  const bool alone = report.config.tls_engine == TlsMadeBy::Openssl && check_tls_engines(report.config);
  keep_to_openssl(alone);
  if (report.ok()) settle_tls_engines(report.config);  // as serve() does: what follows is judged in the same way
  check_files(report);
  check_surroundings(report);
  return report;
}

}  // namespace

MachineReport examine(const std::string& config_path) {
  const ConfigReport report = checked(config_path);
  MachineReport examined{examine_machine(report.config, !report.unread), "", ""};
  if (!report.unread) examined.socket = report.config.admin.socket;
  if (report.ok()) examined.shared = report.config.registry.shared;
  std::vector<Finding>& found = examined.found;
  for (const ConfigProblem& each : report.warnings) {
    found.push_back({Finding::Grade::Warning, "configuration", to_string(each, config_path), ""});
  }
  for (const ConfigProblem& each : report.problems) {
    found.push_back({Finding::Grade::Problem, "configuration", to_string(each, config_path), "`sallyport check`"});
  }
  if (report.ok()) found.push_back({Finding::Grade::Fine, "configuration", config_path + " can be served", ""});
  const std::int64_t now = std::time(nullptr);
  for (const ListenerConfig& listener : report.config.listeners) {
    const auto loaded = load_server_certificates(listener.certificates);
    if (!loaded) continue;  // said above
    for (const ServerCertificate& each : *loaded) {
      const std::int64_t left = each.leaf().not_after() - now;
      if (left < 0 || left > 30LL * 86400) continue;
      found.push_back(
          {Finding::Grade::Warning, "listener " + listener.name,
           "the certificate of " + each.names.front() + " ends in " + std::to_string(left / 86400) + " days",
           "renew its file: it is read by itself"});
    }
  }
  return examined;
}

int check(const std::string& config_path, bool json) {
  const ConfigReport report = checked(config_path);
  if (json) {
    const auto all = [](const std::vector<ConfigProblem>& problems) {
      Json list = Json::array();
      for (const ConfigProblem& each : problems) {
        list.push_back({{"line", each.line}, {"column", each.column}, {"message", each.message}});
      }
      return list;
    };
    std::cout << dump({{"file", config_path},
                       {"ok", report.ok()},
                       {"listeners", report.config.listeners.size()},
                       {"upstreams", report.config.upstreams.size()},
                       {"problems", all(report.problems)},
                       {"warnings", all(report.warnings)}});
    return report.ok() ? kDone : kUsage;
  }
  if (!acceptable(report, config_path)) return kUsage;
  if (report.config.listeners.empty()) std::cerr << "sallyport: " << config_path << ": " << kNoListener << '\n';
  std::cout << config_path << ": ok, " << counted(report.config.listeners.size(), "listener") << ", "
            << counted(report.config.upstreams.size(), "upstream") << '\n';
  return kDone;
}

}  // namespace sallyport
