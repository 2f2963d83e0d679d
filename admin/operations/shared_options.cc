#include "admin/operations/shared_options.h"

#include <unistd.h>

#include <array>

namespace sallyport {

SharedOptions shared_options(const RegistryConfig& registry) {
  SharedOptions options;
  options.url = registry.shared;
  options.node = registry.node;
  if (options.node.empty()) {
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) == 0) options.node = host.data();
  }
  options.version = SALLYPORT_VERSION;
  options.stale_after = registry.stale_after;
  switch (registry.stale) {
    case WhenStale::Serve: options.stale = Stale::Serve; break;
    case WhenStale::RefuseUnknown: options.stale = Stale::RefuseUnknown; break;
    case WhenStale::RefuseAll: options.stale = Stale::RefuseAll; break;
  }
  return options;
}

}  // namespace sallyport
