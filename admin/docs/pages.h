// The pages of the reference that are made from the program's own tables: settings, commands, API routes, metrics and
// reject reasons. What the program does and what the pages say cannot drift apart: a test compares them.
#pragma once

#include <string>
#include <vector>

#include "admin/cli/command_line.h"

namespace sallyport {

struct DocPage {
  std::string file;  // "configuration.md"
  std::string text;  // Markdown
};

std::vector<DocPage> generated_pages();
std::vector<DocPage> man_pages();  // sallyport(8) and sallyport.toml(5), in roff

std::string usage_of(const CommandText& command);         // "sallyport device register CERT.crt..."
std::string value_of(const CommandText::Option& option);  // "TEXT", "table|json"

}  // namespace sallyport
