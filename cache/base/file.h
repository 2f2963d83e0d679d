// A small file, whole: configuration, certificates, keys. A folder, made durable.
#pragma once

#include <cstddef>
#include <string>

#include "cache/base/result.h"

namespace sallyport {

// At most `limit` bytes. The refusal is "PATH: why", also for a folder, and for a pipe into which nobody writes for 5
// s.
Answer<std::string> read_file(const std::string& path, std::size_t limit);

// Makes what was created, renamed or removed in a folder durable. The refusal is "PATH: why".
Answer<void> sync_folder(const std::string& path);

}  // namespace sallyport
