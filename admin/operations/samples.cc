#include "admin/operations/samples.h"

#include <algorithm>
#include <cmath>

namespace sallyport {

namespace {

double per_second(std::uint64_t count, double seconds) {
  return seconds > 0 ? std::round(static_cast<double>(count) / seconds * 1000) / 1000 : 0.0;
}

}  // namespace

Samples::Totals Samples::totals() const {
  Totals all;
  for (const ShardCounters* shard : plane_.counters()) {
    all.to_broker += shard->bytes_to_broker.get();
    all.to_client += shard->bytes_to_client.get();
    for (const ListenerCounters& listener : shard->listeners) {
      for (const auto& by_kind : listener.handshakes) {
        for (std::size_t kind = 0; kind < by_kind.size(); ++kind) {
          for (const auto& by_group : by_kind[kind]) {
            for (const Cell& cell : by_group) all.handshakes[kind] += cell.get();
          }
        }
      }
      for (std::size_t i = 0; i < kReasonCount; ++i) all.rejections[i] += listener.rejections[i].get();
      for (const auto& by_cause : listener.ended) {
        for (const Cell& cell : by_cause) all.ended += cell.get();
      }
    }
  }
  all.registrations = registrar_.stats().registered;
  return all;
}

Samples::Sample Samples::grown(const Totals& from, const Totals& to) {
  Sample sample;
  const auto less = [](std::uint64_t a, std::uint64_t b) { return static_cast<std::uint32_t>(b - a); };
  std::transform(from.handshakes.begin(), from.handshakes.end(), to.handshakes.begin(), sample.handshakes.begin(),
                 less);
  std::transform(from.rejections.begin(), from.rejections.end(), to.rejections.begin(), sample.rejections.begin(),
                 less);
  sample.to_broker = to.to_broker - from.to_broker;
  sample.to_client = to.to_client - from.to_client;
  sample.registrations = less(from.registrations, to.registrations);
  sample.ended = less(from.ended, to.ended);
  return sample;
}

void Samples::look(std::chrono::steady_clock::time_point at, std::int64_t now) {
  const bool first = last_at_ == std::chrono::steady_clock::time_point{};
  if (!first && at - last_at_ < kEvery) return;
  const Totals totals_now = totals();
  Sample sample = grown(last_, totals_now);
  sample.at = now;
  sample.seconds = first ? 0 : std::chrono::duration<double>(at - last_at_).count();
  last_ = totals_now;
  last_at_ = at;
  if (first) return;  // there is nothing to compare with
  for (const ShardInfo& shard : plane_.shard_info()) sample.sessions += shard.sessions;
  std::vector<std::string> names;
  for (const UpstreamInfo& upstream : plane_.upstreams()) {
    Upstream& seen = sample.upstreams.emplace_back();
    names.push_back(upstream.name);
    for (const ServerInfo& server : upstream.servers) {
      ++seen.servers;
      seen.up += server.up() ? 1 : 0;
      seen.sessions += server.sessions;
    }
  }
  const std::lock_guard lock(mutex_);
  upstream_names_ = std::move(names);
  samples_.push_back(std::move(sample));
  if (samples_.size() > kMost) samples_.pop_front();
}

Json Samples::to_json(const Sample& sample, const std::vector<std::string>& names) const {
  Json handshakes = Json::object(), rejections = Json::object(), upstreams = Json::array();
  for (std::size_t i = 0; i < sample.handshakes.size(); ++i) {
    handshakes[std::string(kHandshakeKindNames[i])] = per_second(sample.handshakes[i], sample.seconds);
  }
  for (std::size_t i = 1; i < kReasonCount; ++i) {
    if (sample.rejections[i] == 0) continue;
    rejections[std::string(kReasons[i].name)] = per_second(sample.rejections[i], sample.seconds);
  }
  for (std::size_t i = 0; i < sample.upstreams.size() && i < names.size(); ++i) {
    const Upstream& seen = sample.upstreams[i];
    upstreams.push_back(
        {{"name", names[i]}, {"servers_up", seen.up}, {"servers", seen.servers}, {"sessions", seen.sessions}});
  }
  return {{"at", utc(sample.at)},
          {"seconds", std::round(sample.seconds * 1000) / 1000},
          {"sessions", sample.sessions},
          {"handshakes_per_second", std::move(handshakes)},
          {"rejections_per_second", std::move(rejections)},
          {"ended_per_second", per_second(sample.ended, sample.seconds)},
          {"registrations_per_second", per_second(sample.registrations, sample.seconds)},
          {"bytes_per_second",
           {{"to_broker", per_second(sample.to_broker, sample.seconds)},
            {"to_client", per_second(sample.to_client, sample.seconds)}}},
          {"upstreams", std::move(upstreams)}};
}

Json Samples::since(std::int64_t from) const {
  Json items = Json::array();
  const std::lock_guard lock(mutex_);
  for (const Sample& sample : samples_) {
    if (sample.at >= from) items.push_back(to_json(sample, upstream_names_));
  }
  return {{"every_seconds", kEvery.count()}, {"items", std::move(items)}};
}

}  // namespace sallyport
