// What the commands of the command line have in common. Used by command_line*.cc alone. Each puts into `parsed` what
// was asked for, and what is to be done then; `parsed` outlives the app.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "admin/cli/operator.h"
#include "admin/cli/parsed.h"

namespace CLI {
class App;
}

namespace sallyport {

Operator speaker(const Parsed& parsed);
void add_output(CLI::App& command, Parsed& parsed);
void add_client_options(CLI::App& command, Parsed& parsed);
CLI::App& client_command(CLI::App& parent, Parsed& parsed, const std::string& name, const std::string& help,
                         std::function<int(Operator&)> run);
void add_quiet(CLI::App& list, Parsed& parsed);
// A command that changes something: IDs, or --serial SN --ca ID; and --yes.
CLI::App& changing_command(CLI::App& parent, Parsed& parsed, const std::string& action, const std::string& help,
                           bool device);
// A changing command with plain arguments.
CLI::App& plain_command(CLI::App& parent, Parsed& parsed, const std::string& name, const std::string& help,
                        const std::vector<std::pair<std::string, std::string>>& arguments,
                        std::function<int(Operator&)> run);
void reading_command(CLI::App& parent, Parsed& parsed, const std::string& name, const std::string& help,
                     std::function<int(Operator&)> run);

}  // namespace sallyport
