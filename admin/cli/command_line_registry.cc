#include "admin/cli/command_line_registry.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "admin/cli/offline_registry.h"

namespace sallyport {

void add_registry_commands(CLI::App& app, const std::string& default_config, const std::string& output,
                           std::function<int()>& chosen) {
  auto options = std::make_shared<RegistryCommandOptions>();
  options->config = default_config;
  CLI::App* registry =
      app.add_subcommand("registry", "the registry that many machines share, in PostgreSQL")->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, int (*run)(const RegistryCommandOptions&)) {
    CLI::App* command = registry->add_subcommand(name, help);
    command->add_option("--config", options->config, "the configuration file, whose registry.shared is meant")
        ->capture_default_str();
    command->add_option("--shared", options->url, "postgresql://…, in place of it: for a role with other rights");
    command->callback([options, run, &output, &chosen] {
      chosen = [options, run, &output] {
        options->json = output == "json";
        return run(*options);
      };
    });
    return command;
  };
  add("init", "make the tables, as their owner", &registry_init)
      ->add_option("--grant-to", options->grant_to, "the role that the nodes connect as: it gets what they need");
  add("migrate", "bring the tables to this version's schema; nodes go on meanwhile", &registry_migrate);
  add("status", "what is there, and whether a failover can lose changes", &registry_status);
  CLI::App* import = add("import", "fill an empty shared registry from the one in STATE_DIR", &registry_import);
  import->add_option("STATE_DIR", options->state_dir, "the folder of a registry that no server uses")->required();
  import->add_flag("--yes", options->yes, "do not ask");
  add("export", "copy the shared registry into STATE_DIR, as one that needs no PostgreSQL", &registry_export)
      ->add_option("STATE_DIR", options->state_dir, "a folder without a registry")
      ->required();
}

void add_node_options(CLI::App& list, std::string& node) {
  CLI::Option* one = list.add_option("--node", node, "at this node of the shared registry, as `node list` shows it");
  list.add_flag_callback(
          "--all-nodes", [&node] { node = "*"; }, "at every node of the shared registry")
      ->excludes(one);
}

}  // namespace sallyport
