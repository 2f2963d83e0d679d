// The words of a command line, before CLI11 sees them.
#pragma once

#include <string>
#include <vector>

namespace sallyport {

// The words for CLI11, the last first. A negative serial number behind an option belongs to it, any other one is a
// plain argument: those stand behind "--".
std::vector<std::string> words_of(int argc, char** argv);

}  // namespace sallyport
