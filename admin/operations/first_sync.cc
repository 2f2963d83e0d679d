#include "admin/operations/first_sync.h"

#include <signal.h>

#include <chrono>
#include <string>

#include "cache/registry/follower.h"

namespace sallyport {

namespace {

constexpr std::chrono::seconds kFirstSync{6};

// SIGTERM or SIGINT waits to be looked at.
bool is_to_end() {
  sigset_t pending{};
  return ::sigpending(&pending) == 0 && (::sigismember(&pending, SIGTERM) == 1 || ::sigismember(&pending, SIGINT) == 1);
}

}  // namespace

Answer<void> follow_shared(const RegistryConfig& config, const RegistryStore& store, Registrar& registrar,
                           Logger& log) {
  if (config.shared.empty()) return {};
  if (registrar.follow(kFirstSync)) return {};
  auto position = store.position();
  if (position && position->registry.empty()) {
    // No limit where it gets on: there may be millions of devices to take in.
    while (registrar.shared_state()->in_snapshot && !is_to_end()) {
      if (registrar.follows(kFirstSync)) return {};
    }
    position = store.position();
  }
  if (!position) return position.error();
  if (!position->registry.empty()) {
    log.warn("shared-registry-behind",
             {{"what", "this node serves what it knew when it stopped: it does not follow the shared registry yet"},
              {"why", registrar.shared_state()->why}});
    return {};
  }
  const std::string why = registrar.shared_state()->why;
  return Refusal{Refusal::Kind::Unavailable, "registry.shared: this node is new and cannot read the shared registry: " +
                                                 (why.empty() ? std::string("it takes too long") : why)};
}

}  // namespace sallyport
