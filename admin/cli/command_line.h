// The command line as CLI11 sees it: names, options and help of every command (admin/docs/commands.md),
// and nothing else. What they do is in Operator, and in the commands that main() hands over.
#pragma once

#include <string>
#include <vector>

#include "admin/operations/doctor.h"

namespace sallyport {

inline constexpr const char* kDefaultSocket = "/run/sallyport/admin.sock";

// What stands above the command line: main() passes it down.
struct ServerCommands {
  int (*serve)(const std::string& config_path, bool accept_loss, bool take_over);
  int (*check)(const std::string& config_path, bool json);
  MachineReport (*examine)(const std::string& config_path);  // for `doctor`: this machine and the file
};

// One command with what it takes, for the reference page.
struct CommandText {
  struct Option {
    std::string name;  // "-o,--output", or "ID" for what stands without a name
    std::string help;
    std::string value;        // "TEXT", "table|json"; empty for a flag
    std::string fallback;     // empty: none
    std::string environment;  // the variable that may stand in its place
    bool positional = false;
    bool required = false;
    bool many = false;
  };
  std::string name;  // "ca register"; empty for what stands before every command
  std::string help;
  std::vector<Option> options;
};
std::vector<CommandText> command_texts();

// Returns the exit status: 0 done, 1 refused or failed, 2 wrong usage or configuration.
int run_command_line(int argc, char** argv, const ServerCommands& server);

}  // namespace sallyport
