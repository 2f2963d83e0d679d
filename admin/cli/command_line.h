// The command line as CLI11 sees it: names, options and help of every command (the contract, section 3),
// and nothing else. What they do is in Operator, serve() and check().
#pragma once

namespace sallyport {

// Returns the exit status: 0 done, 1 refused or failed, 2 wrong usage or configuration.
int run_command_line(int argc, char** argv);

}  // namespace sallyport
