// The console's page as it was built into this program: its files, in memory, each also as gzip. Made by the build
// (embed.mjs), or empty with the reason why. Constant; any thread.
#pragma once

#include <span>
#include <string_view>

namespace sallyport {

struct ConsoleFile {
  std::string_view path;  // below /console/: "index.html", "assets/index-4f1c.js"
  std::string_view content_type;
  std::string_view etag;  // of what is in it, in quotes; the compressed one's ends in -gz
  std::string_view plain, gzipped;
};

std::span<const ConsoleFile> console_files();  // in the order of their paths
// Why this program has none; empty: it has them.
std::string_view console_left_out();

}  // namespace sallyport
