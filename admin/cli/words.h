// The words of a command line, before CLI11 sees them and after it has refused them.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace sallyport {

// CLI11 says of `ca bogus` that a command is required; a person wants to hear which word it does not know.
std::string unknown_command(const CLI::App& app, int argc, char** argv);

// The words for CLI11, the last first. A negative serial number behind an option belongs to it, any other one is a
// plain argument: those stand behind "--".
std::vector<std::string> words_of(int argc, char** argv);

}  // namespace sallyport
