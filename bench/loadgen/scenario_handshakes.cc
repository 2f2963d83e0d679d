// Connections made and left: one after the other, resumed or in full, and all of a fleet at once.
#include <unistd.h>

#include <algorithm>
#include <deque>

#include "bench/loadgen/scenario.h"

namespace load {

namespace {

// `concurrency` clients, each of which connects, gets its CONNACK, leaves, and begins again when the next is due.
class Turnstile final : public Client::Owner {
 public:
  Turnstile(Stage& stage, Report& report, std::size_t devices) : stage_(stage), report_(report) {
    for (std::size_t i = 0; i < devices; ++i) {
      Device device{"device-" + std::to_string(i), {}, nullptr};
      if (stage.pki) device.credential = stage.pki->make(device.name);
      devices_.push_back(std::move(device));
      if (i % 1000 == 999) stage.progress.say("making devices", i + 1, devices, 0);
    }
    for (std::size_t i = 0; i < stage.options.concurrency; ++i) {
      clients_.push_back(std::make_unique<Client>(stage.loop, stage.dialling, *this));
      free_.push_back(i);
      clients_.back()->tag = i;
    }
  }

  // `resumes`: of two connections, how many offer a ticket.
  void run(std::size_t first_device, std::size_t count, unsigned resumes, double rate, const char* phase) {
    const std::int64_t began = now_ns();
    begun_ = done_ = 0;
    while (done_ < count) {
      std::int64_t wake = now_ns() + 100'000'000;
      while (begun_ < count && !free_.empty()) {
        const std::int64_t due =
            rate > 0 ? began + static_cast<std::int64_t>(static_cast<double>(begun_) * 1e9 / rate) : now_ns();
        if (due > now_ns()) {
          wake = std::min(wake, due);
          break;
        }
        Client& client = *clients_[free_.front()];
        free_.pop_front();
        Device& device = devices_[(first_device + begun_) % devices_.size()];
        const bool resume = begun_ % 2 < resumes;
        client.connect(device, resume, due, begun_++);
      }
      stage_.loop.turn(wake);
      stage_.progress.say(phase, done_, count, report_.errors());
    }
  }
  std::uint64_t resumed = 0, connected = 0;
  bool measuring = false;

 private:
  void on_connected(Client& client) override {
    if (measuring) report_.latency.record(now_ns() - client.due_ns());
    ++connected;
    if (client.resumed()) ++resumed;
    client.leave();
  }
  void on_packet(Client&, Frames&) override {}
  void on_closed(Client& client, std::string_view why) override {
    if (!why.empty()) report_.error(why);
    ++done_;
    free_.push_back(client.tag);
  }

  Stage& stage_;
  Report& report_;
  std::vector<Device> devices_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::deque<std::size_t> free_;
  std::size_t begun_ = 0, done_ = 0;
};

}  // namespace

Report run_handshake(Stage& stage) {
  const Options& options = stage.options;
  Report report("handshake", "connection");
  const bool first = options.mode == "first";
  const unsigned resumes = options.mode == "resumed" ? 2 : options.mode == "mixed" ? 1 : 0;
  const std::size_t known = std::max(options.devices != 0 ? options.devices : std::size_t{128}, options.concurrency);
  const std::size_t warm_up = std::max(options.warm_up, known);
  Turnstile turnstile(stage, report, first ? known + options.count : known);
  // Every device once, so that the measured connections find it known, and with a ticket where there are any.
  turnstile.run(0, first ? known : warm_up, 0, 0, "warming up");
  if (resumes > 0) {
    // Once more, for a ticket of a device that was not registered yet is good for nothing.
    ::usleep(300'000);
    turnstile.run(0, warm_up, 0, 0, "warming up again");
  }
  turnstile.resumed = turnstile.connected = 0;
  turnstile.measuring = true;
  Measurement measurement(options, report);
  turnstile.run(first ? known : 0, options.count, resumes, options.rate, "connecting");
  measurement.stop();
  report.units = turnstile.connected;
  report.set("resumed", static_cast<double>(turnstile.resumed));
  return report;
}

Report run_reconnect(Stage& stage) {
  const Options& options = stage.options;
  Report report("reconnect", "connection");
  Fleet fleet(options, stage.loop, stage.dialling, report, options.connections, stage.devices(), "fleet-");
  fleet.connect_all(64, false, stage.progress, "connecting");
  fleet.settle(stage.progress);
  if (options.mode == "resumed") {  // tickets of devices that are registered by now
    ::usleep(500'000);
    fleet.drop_all();
    fleet.connect_all(64, false, stage.progress, "connecting again");
    fleet.settle(stage.progress);
  }
  if (!report.good()) return report;
  Measurement measurement(options, report);
  fleet.record_latency();
  fleet.drop_all();
  fleet.connect_all(options.connections, options.mode == "resumed", stage.progress, "reconnecting");
  measurement.stop();
  report.units = fleet.standing();
  const std::size_t lost = fleet.settle(stage.progress);
  if (lost > 0) report.error("lost after the storm");
  std::size_t resumed = 0;
  for (std::size_t i = 0; i < fleet.size(); ++i) resumed += fleet.client(i).resumed() ? 1 : 0;
  report.set("resumed", static_cast<double>(resumed));
  return report;
}

}  // namespace load
