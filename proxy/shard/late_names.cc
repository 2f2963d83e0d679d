#include "proxy/shard/late_names.h"

#include <thread>

namespace sallyport {

LateNames::LateNames(const Config& config, Servers& servers)
    : config_(config), servers_(servers), again_at_(std::chrono::steady_clock::now() + kAgain) {
  for (std::size_t u = 0; u < config.upstreams.size(); ++u) {
    for (std::size_t s = 0; s < config.upstreams[u].servers.size(); ++s) {
      if (servers.upstreams()[u].servers[s]->address.load() != nullptr) continue;
      missing_.push_back({u, s, config.upstreams[u].servers[s]});
    }
  }
}

void LateNames::tick() {
  if (asking_.valid()) {
    if (asking_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
    take(asking_.get());
    again_at_ = std::chrono::steady_clock::now() + kAgain;
  }
  if (missing_.empty() || std::chrono::steady_clock::now() < again_at_) return;
  std::packaged_task<Addresses()> ask([names = missing_] {
    Addresses found;
    for (const Name& name : names) found.push_back(resolve_address(name.endpoint, false));
    return found;
  });
  asking_ = ask.get_future();
  std::thread(std::move(ask)).detach();
}

void LateNames::take(const Addresses& found) {
  std::vector<Name> still;
  for (std::size_t i = 0; i < missing_.size(); ++i) {
    const Name& name = missing_[i];
    if (found[i]) {
      servers_.set_address(name.upstream, name.server, *found[i]);
    } else {
      still.push_back(name);
    }
  }
  missing_ = std::move(still);
}

std::vector<std::string> LateNames::missing() const {
  std::vector<std::string> all;
  for (const Name& name : missing_) {
    all.push_back("upstream " + config_.upstreams[name.upstream].name + ": " + name.endpoint.text());
  }
  return all;
}

}  // namespace sallyport
