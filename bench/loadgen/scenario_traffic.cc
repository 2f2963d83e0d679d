// Messages on connections that stand: streams of them, round trips from their due times, and bulk.
#include <algorithm>
#include <deque>

#include "bench/loadgen/scenario.h"

namespace load {

namespace {

constexpr std::size_t kWindow = 64;  // connections in progress while a fleet is set up
constexpr std::size_t kBulkPayload = 64 * 1024;

// QoS 1 publishes that wait for their PUBACK, in order, connection by connection.
class Acknowledged final : public Fleet::Listener {
 public:
  explicit Acknowledged(std::size_t connections) : due_(connections) {}
  std::uint16_t sent(std::size_t connection, std::int64_t due_ns) {
    due_[connection].push_back(due_ns);
    ++outstanding_;
    id_ = static_cast<std::uint16_t>(id_ == 0xFFFF ? 1 : id_ + 1);
    return id_;
  }
  void on_packet(Client& client, Frames& frames) override {
    if (frames.packet() != Packet::Puback || due_[client.tag].empty()) return;
    latency.record(now_ns() - due_[client.tag].front());
    due_[client.tag].pop_front();
    --outstanding_;
  }
  // Nobody answers any more.
  void on_closed(Client& client, std::string_view) override {
    outstanding_ -= due_[client.tag].size();
    due_[client.tag].clear();
  }
  std::size_t outstanding() const { return outstanding_; }
  Histogram latency;

 private:
  std::vector<std::deque<std::int64_t>> due_;
  std::size_t outstanding_ = 0;
  std::uint16_t id_ = 0;
};

}  // namespace

Report run_messages(Stage& stage) {
  const Options& options = stage.options;
  Report report("messages", "message");
  Fleet fleet(options, stage.loop, stage.dialling, report, options.connections, stage.devices(), "talker-");
  Acknowledged acknowledged(options.connections);
  fleet.listen(&acknowledged);
  fleet.connect_all(kWindow, false, stage.progress, "connecting");
  fleet.settle(stage.progress);
  if (!report.good()) return report;
  const std::string one = publish_packet("t/load", options.size, options.qos, 1, options.v5);
  const std::size_t id_at = one.size() - options.size - (options.v5 ? 1 : 0) - 2;
  std::string burst;
  for (std::size_t i = 0; i < options.burst; ++i) burst += one;
  const double bursts_per_second = options.rate / static_cast<double>(options.burst);

  Measurement measurement(options, report);
  const std::int64_t began = now_ns(), until = began + Progress::seconds(options.seconds);
  std::uint64_t bursts = 0;
  std::size_t turn = 0;
  bool left = options.rate > 0;  // something is due before the end and was not sent
  while (now_ns() < until || (left && report.good())) {
    std::int64_t wake = std::min(until, now_ns() + 100'000'000);
    const std::uint64_t before = bursts;
    bool behind = options.rate > 0;  // where this process was not let run, more is due than a turn sends
    for (std::size_t at_once = 0; at_once < 256; ++at_once) {
      std::int64_t due = now_ns();
      if (options.rate > 0) {
        due = began + static_cast<std::int64_t>(static_cast<double>(bursts) * 1e9 / bursts_per_second);
        left = due < until;
        if (due > now_ns() || !left) {
          wake = std::min(wake, due);
          behind = false;
          break;
        }
      }
      Client& client = fleet.client(turn++ % fleet.size());
      // As fast as it goes: where one does not take more, the next is asked, and all full means: wait.
      if (client.backlogged() && options.rate == 0) {
        if (at_once >= fleet.size()) break;
        continue;
      }
      if (!client.connected()) continue;
      if (options.qos == 1) {
        for (std::size_t i = 0; i < options.burst; ++i) {
          const std::uint16_t id = acknowledged.sent(client.tag, due);
          burst[i * one.size() + id_at] = static_cast<char>(id >> 8);
          burst[i * one.size() + id_at + 1] = static_cast<char>(id & 0xFF);
        }
      }
      client.send(burst);
      ++bursts;
      if (options.rate == 0) wake = now_ns();
    }
    stage.loop.turn(behind && bursts > before ? now_ns() : wake);
    stage.progress.say("publishing", bursts * options.burst, static_cast<std::uint64_t>(options.rate * options.seconds),
                       report.errors());
  }
  // Answered pings say that all of it has gone through.
  if (fleet.settle(stage.progress) > 0) report.error("a connection did not answer at the end");
  while (options.qos == 1 && acknowledged.outstanding() > 0) {
    stage.loop.turn(now_ns() + 100'000'000);
    stage.progress.check_limit();
  }
  measurement.stop();
  report.units = bursts * options.burst;
  report.latency.add(acknowledged.latency);
  return report;
}

Report run_roundtrip(Stage& stage) {
  const Options& options = stage.options;
  Report report("roundtrip", "round trip");
  Fleet fleet(options, stage.loop, stage.dialling, report, options.connections, stage.devices(), "pinger-");
  Acknowledged acknowledged(options.connections);
  fleet.listen(&acknowledged);
  fleet.connect_all(kWindow, false, stage.progress, "connecting");
  fleet.settle(stage.progress);
  if (!report.good()) return report;
  const double rate = options.rate > 0 ? options.rate : 1000;

  Measurement measurement(options, report);
  const std::int64_t began = now_ns(), until = began + Progress::seconds(options.seconds);
  std::uint64_t sent = 0, published = 0;
  const auto due_of = [&](std::uint64_t n) {
    return began + static_cast<std::int64_t>(static_cast<double>(n) * 1e9 / rate);
  };
  // All that is due before the end, also where this process was not let run in time.
  while (due_of(sent) < until) {
    std::int64_t wake = until;
    for (std::int64_t due = due_of(sent); due < until; due = due_of(sent)) {
      if (due > now_ns()) {
        wake = std::min(wake, due);
        break;
      }
      Client& client = fleet.client(sent++ % fleet.size());
      if (!client.connected()) continue;
      const std::uint16_t id = acknowledged.sent(client.tag, due);
      client.send(publish_packet("t/load", options.size, 1, id, options.v5));
      ++published;
    }
    stage.loop.turn(wake);
    stage.progress.say("round trips", sent, static_cast<std::uint64_t>(rate * options.seconds), report.errors());
  }
  while (acknowledged.outstanding() > 0) {
    stage.loop.turn(now_ns() + 100'000'000);
    stage.progress.check_limit();
  }
  measurement.stop();
  report.units = published;
  report.latency.add(acknowledged.latency);
  return report;
}

namespace {

class Pouring final : public Fleet::Listener {
 public:
  void on_packet(Client&, Frames& frames) override {
    if (frames.packet() == Packet::Publish) bytes += frames.length();
  }
  std::uint64_t bytes = 0;
};

}  // namespace

Report run_bulk(Stage& stage) {
  const Options& options = stage.options;
  Report report("bulk", "megabyte");
  Fleet fleet(options, stage.loop, stage.dialling, report, options.connections, stage.devices(), "bulk-");
  Pouring pouring;
  fleet.listen(&pouring);
  fleet.connect_all(kWindow, false, stage.progress, "connecting");
  fleet.settle(stage.progress);
  if (!report.good()) return report;
  const auto wanted = static_cast<std::uint64_t>(options.megabytes * 1e6);
  const std::uint64_t each = wanted / fleet.size();
  const std::string one = publish_packet("t/bulk", kBulkPayload, 0, 0, options.v5);

  Measurement measurement(options, report);
  if (options.direction == "down") {
    for (std::size_t i = 0; i < fleet.size(); ++i) {
      fleet.client(i).send(subscribe_packet("down/" + std::to_string(each), options.v5));
    }
    while (pouring.bytes < each * fleet.size() && report.good()) {
      stage.loop.turn(now_ns() + 100'000'000);
      stage.progress.say("MB down", pouring.bytes / 1'000'000, wanted / 1'000'000, report.errors());
    }
    report.units = pouring.bytes / 1'000'000;
  } else {
    std::vector<std::uint64_t> sent(fleet.size());
    std::uint64_t all = 0;
    while (all < each * fleet.size() && report.good()) {
      bool wrote = false;
      for (std::size_t i = 0; i < fleet.size(); ++i) {
        Client& client = fleet.client(i);
        if (client.backlogged() || !client.connected() || sent[i] >= each) continue;
        client.send(one);
        sent[i] += kBulkPayload;
        all += kBulkPayload;
        wrote = true;
      }
      stage.loop.turn(wrote ? now_ns() : now_ns() + 100'000'000);
      stage.progress.say("MB up", all / 1'000'000, wanted / 1'000'000, report.errors());
    }
    if (fleet.settle(stage.progress) > 0) report.error("a connection did not answer at the end");
    report.units = all / 1'000'000;
  }
  measurement.stop();
  return report;
}

}  // namespace load
