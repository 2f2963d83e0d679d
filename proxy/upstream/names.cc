#include "proxy/upstream/names.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace sallyport {

std::vector<std::size_t> Names::tick(std::uint64_t now_ms) {
  std::vector<std::size_t> changed;
  std::erase_if(asking_, [&](Asking& each) {
    if (each.answer.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
    if (upstreams_.set_addresses(each.name.upstream, each.name.endpoint.text(), each.answer.get(), now_ms)) {
      changed.push_back(each.name.upstream);
    }
    return true;
  });
  for (Upstreams::Name& name : upstreams_.names(now_ms)) {
    const bool asked = std::any_of(asking_.begin(), asking_.end(), [&](const Asking& each) {
      return each.name.upstream == name.upstream && each.name.endpoint.text() == name.endpoint.text();
    });
    if (asked || asking_.size() >= kMostAsked) continue;
    std::packaged_task<Answer<std::vector<ServerAddress>>()> ask(
        [endpoint = name.endpoint] { return resolve_all(endpoint, false); });
    asking_.push_back({std::move(name), ask.get_future()});
    std::thread(std::move(ask)).detach();
  }
  return changed;
}

}  // namespace sallyport
