// The command line as CLI11 sees it: names, options and help of every command (the contract, section 3),
// and nothing else. What they do is in Operator, and in the commands that main() hands over.
#pragma once

#include <string>

namespace sallyport {

// What stands above the command line: main() passes it down.
struct ServerCommands {
  int (*serve)(const std::string& config_path);
  int (*check)(const std::string& config_path);
};

// Returns the exit status: 0 done, 1 refused or failed, 2 wrong usage or configuration.
int run_command_line(int argc, char** argv, const ServerCommands& server);

}  // namespace sallyport
