// The pages of the reference that are made from the program's own tables: settings, commands, API routes, metrics and
// reject reasons. What the program does and what the pages say cannot drift apart: a test compares them.
#pragma once

#include <string>
#include <vector>

namespace sallyport {

struct DocPage {
  std::string file;  // "configuration.md"
  std::string text;  // Markdown
};

std::vector<DocPage> generated_pages();

}  // namespace sallyport
