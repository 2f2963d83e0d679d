// Which RocksDB this program runs with.
#pragma once

#include <string>

namespace sallyport {

std::string store_library_version();

}  // namespace sallyport
