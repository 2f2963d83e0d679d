// Completion on the command line. The scripts for bash, zsh and fish are some lines each: they hand over what stands on
// the line so far (`sallyport __complete WORD...`), and what may follow is found here, in the same table of commands
// that the reference is made of. So they never go stale. Ids and names are those of the running server.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/cli/command_line.h"

namespace sallyport {

inline constexpr std::string_view kCompleteWord = "__complete";

struct Candidate {
  std::string value;
  std::string says;  // for shells that show it
};

// What can follow the words, of which the last one is not finished and may be empty.
struct Candidates {
  std::vector<Candidate> values;
  bool files = false;  // files and folders as well
};

// What is asked of the running server: the items of a path, the member that is the value, and the one that describes
// it. `inside`: not the items, but what is in this member of the item with the name `of`.
struct Wanted {
  std::string path, value, says, inside, of;
};
using AskServer = std::function<std::vector<Candidate>(const Wanted&)>;

Candidates candidates(const std::vector<CommandText>& commands, const std::vector<std::string>& words,
                      const AskServer& ask);

// A line each: the value, a tab, and what it is; ":files" for files. Silent where no server answers.
int print_candidates(const std::vector<CommandText>& commands, const std::vector<std::string>& words);
int print_completion_script(std::string_view shell);

}  // namespace sallyport
