// What a database sends as a snapshot: taken whole and byte by byte, it gives the same rows or the same refusal.
#include <cstdlib>
#include <string>
#include <vector>

#include "cache/shared/copy_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto read = [&](std::size_t piece, std::vector<std::string>& rows) {
    sallyport::CopyReader reader(3);
    const auto take = [&](const sallyport::CopyReader::Row& row) {
      std::string one;
      for (const auto& field : row) one += field ? "=" + std::string(*field) : "null";
      rows.push_back(std::move(one));
      return true;
    };
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      if (!reader.feed(bytes.substr(at, piece), take)) return false;
    }
    return reader.finished();
  };
  std::vector<std::string> whole, torn;
  const bool good = read(size + 1, whole);
  if (read(1, torn) != good || (good && whole != torn)) std::abort();
  return 0;
}
