// A small file, whole: configuration, certificates, keys.
#pragma once

#include <cstddef>
#include <string>

#include "cache/base/result.h"

namespace sallyport {

// At most `limit` bytes. The refusal is "PATH: why", also for a folder.
Answer<std::string> read_file(const std::string& path, std::size_t limit);

}  // namespace sallyport
