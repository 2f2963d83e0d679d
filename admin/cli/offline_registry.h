// `registry init|migrate|status|import|export`: a shared registry in PostgreSQL, spoken to directly, without a running
// server. Each prints how it went and returns the exit status.
#pragma once

#include <string>

namespace sallyport {

struct RegistryCommandOptions {
  std::string config;    // whose registry.shared says where it is
  std::string url;       // in its place
  std::string grant_to;  // init: the role of the nodes
  std::string state_dir;
  bool json = false, yes = false;
};

int registry_init(const RegistryCommandOptions& options);
int registry_migrate(const RegistryCommandOptions& options);
int registry_status(const RegistryCommandOptions& options);
int registry_import(const RegistryCommandOptions& options);
int registry_export(const RegistryCommandOptions& options);

}  // namespace sallyport
