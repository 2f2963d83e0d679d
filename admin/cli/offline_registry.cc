#include "admin/cli/offline_registry.h"

#include <unistd.h>

#include <iostream>

#include "admin/cli/say.h"
#include "admin/operations/objects.h"
#include "admin/operations/shared_registry.h"
#include "cache/base/text.h"
#include "cache/registry/registry_lock.h"
#include "proxy/config/config.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kSayEvery = 100'000;

// Where it is: said on the command line, or by the configuration.
Answer<std::string> url_of(const RegistryCommandOptions& options) {
  std::string url = options.url;
  if (url.empty()) {
    const ConfigReport report = load_config(options.config);
    if (!report.ok()) return Refusal{Refusal::Kind::Invalid, to_string(report.problems.front(), options.config)};
    url = report.config.registry.shared;
  }
  if (url.empty()) {
    return Refusal{Refusal::Kind::Invalid,
                   options.config + " names no shared registry: set registry.shared, or use --shared URL"};
  }
  if (const std::string flaw = PgUrl::flaw(url); !flaw.empty()) {
    return Refusal{Refusal::Kind::Invalid, "registry.shared " + flaw};
  }
  return url;
}

// Connects, and runs `what` with the connection.
template <class What>
int with_connection(const RegistryCommandOptions& options, What what) {
  const auto url = url_of(options);
  if (!url) return complain(url.error().what);
  const auto connection = PgConnection::open(*url, "sallyport registry");
  if (!connection) return complain(connection.error().what);
  return what(**connection);
}

SharedProgress progress() {
  return [said = std::uint64_t{0}](std::uint64_t entries) mutable {
    if (entries - said < kSayEvery) return;
    said = entries;
    std::cerr << with_thousands(entries) << " entries\n";
  };
}

int say_copy(const Answer<SharedCopy>& copy, const std::string& where) {
  if (!copy) return complain(copy.error().what);
  std::cout << where << ": " << with_thousands(copy->devices) << " devices, " << with_thousands(copy->cas)
            << " CAs, revision " << copy->revision << '\n';
  return kDone;
}

}  // namespace

int registry_init(const RegistryCommandOptions& options) {
  return with_connection(options, [&](PgConnection& connection) {
    if (const auto made = init_shared_registry(connection, options.grant_to); !made) return complain(made.error().what);
    const auto status = shared_status(connection);
    if (!status) return complain(status.error().what);
    std::cout << "registry " << status->id << " in " << status->server << ", schema " << status->schema << '\n';
    return kDone;
  });
}

int registry_migrate(const RegistryCommandOptions& options) {
  return with_connection(options, [&](PgConnection& connection) {
    const auto done = migrate_shared_registry(connection);
    if (!done) return complain(done.error().what);
    std::cout << (done->first == done->second
                      ? "nothing to do: schema " + std::to_string(done->second)
                      : "schema " + std::to_string(done->first) + " became " + std::to_string(done->second))
              << '\n';
    return kDone;
  });
}

int registry_status(const RegistryCommandOptions& options) {
  return with_connection(options, [&](PgConnection& connection) {
    const auto status = shared_status(connection);
    if (!status) return complain(status.error().what);
    const Json json = {{"id", status->id},
                       {"server", status->server},
                       {"schema", status->schema},
                       {"oldest_schema", status->oldest},
                       {"revision", status->revision},
                       {"horizon", status->horizon},
                       {"devices", status->devices},
                       {"cas", status->cas},
                       {"takes_changes", !status->standby},
                       {"synchronous_standby", status->synchronous}};
    if (!status->synchronous && !options.json) {
      std::cerr << "sallyport: no commit waits for a standby: a failover can lose revocations that were acknowledged; "
                   "set synchronous_standby_names\n";
    }
    return print_object(json, options.json);
  });
}

int registry_import(const RegistryCommandOptions& options) {
  const auto url = url_of(options);
  if (!url) return complain(url.error().what);
  if (!agreed(
          "the registry in " + options.state_dir + " becomes the content of the shared one at " + PgUrl::shown(*url),
          options.yes)) {
    return kFailed;
  }
  RegistryLock::await_the_last(options.state_dir + "/registry");
  return say_copy(import_into_shared(*url, options.state_dir, progress()), PgUrl::shown(*url));
}

int registry_export(const RegistryCommandOptions& options) {
  const auto url = url_of(options);
  if (!url) return complain(url.error().what);
  return say_copy(export_from_shared(*url, options.state_dir, progress()), options.state_dir);
}

}  // namespace sallyport
