#include "cache/registry/registry_store_version.h"

#include <rocksdb/version.h>

namespace sallyport {

std::string store_library_version() {
  return rocksdb::GetRocksVersionAsString();
}

}  // namespace sallyport
