// What is done to a shared registry from the command line, without a running server: made, migrated, looked at; filled
// from an embedded registry, and copied into one. The file is the configuration's: `registry.shared` says where it is.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cache/base/result.h"
#include "cache/shared/shared_schema.h"

namespace sallyport {

struct SharedCopy {
  std::uint64_t entries = 0, devices = 0, cas = 0, revision = 0;
};
using SharedProgress = std::function<void(std::uint64_t entries)>;

// The registry of `state_dir`, which no server uses, becomes the content of the shared one, which has to be empty.
Answer<SharedCopy> import_into_shared(const std::string& url, const std::string& state_dir,
                                      const SharedProgress& progress);
// The shared registry becomes an embedded one in `state_dir`, which must not hold any.
Answer<SharedCopy> export_from_shared(const std::string& url, const std::string& state_dir,
                                      const SharedProgress& progress);

}  // namespace sallyport
