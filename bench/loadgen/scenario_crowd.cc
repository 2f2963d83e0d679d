// Many that stand: what they cost when they are silent, and what happens to them while others shake hands.
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "bench/loadgen/scenario.h"

namespace load {

Report run_idle(Stage& stage) {
  const Options& options = stage.options;
  Report report("idle", "connection");
  const ProcessTree tree(options.pids);
  const double before = tree.pss_kib();
  Fleet fleet(options, stage.loop, stage.dialling, report, options.connections, stage.devices(), "idler-");
  fleet.connect_all(64, false, stage.progress, "connecting");
  const auto rest = [&](double seconds) {
    const std::int64_t until = now_ns() + Progress::seconds(seconds);
    while (now_ns() < until) {
      stage.loop.turn(until);
      stage.progress.say("idle", fleet.standing(), fleet.size(), report.errors());
    }
  };
  rest(1);
  Measurement measurement(options, report);
  rest(options.seconds);
  measurement.stop();
  const double after = tree.pss_kib();
  report.units = fleet.standing();
  report.set("pss_kib_before", before);
  report.set("pss_kib_after", after);
  report.set("pss_kib_per_unit", (after - before) / static_cast<double>(std::max<std::uint64_t>(report.units, 1)));
  const std::size_t silent = fleet.settle(stage.progress);
  report.set("answered", static_cast<double>(fleet.size() - silent));
  if (silent > 0) report.error("connections that no longer answer");
  return report;
}

namespace {

// Bursts of full handshakes on a thread of their own, so that their cost to the load does not show as latency.
class Bursts {
 public:
  Bursts(const Options& options, const Dialling& dialling) : options_(options), dialling_(dialling) {
    if (!options.bursts_to.empty()) dialling_.to = Address::parse(options.bursts_to);
    thread_ = std::thread([this] { run(); });
  }
  ~Bursts() { stop(); }
  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  bool ready() const { return ready_; }
  void go() { go_ = true; }
  const Report& report() const { return report_; }

 private:
  void run() {
    // Whatever else wants to run on this core goes first, above all the thread that measures.
    const sched_param none{};
    ::sched_setscheduler(0, SCHED_IDLE, &none);
    Loop loop;
    Progress progress(options_);
    Fleet fleet(options_, loop, dialling_, report_, options_.storm_burst, options_.storm_burst, "burst-");
    fleet.connect_all(options_.storm_burst, false, progress, "first burst");
    fleet.drop_all();
    fleet.record_latency();
    ready_ = true;
    while (!go_ && !stop_) ::usleep(1000);
    for (std::int64_t due = now_ns(); !stop_;) {
      due += Progress::seconds(options_.every);
      fleet.connect_all(options_.storm_burst, false, progress, "bursts");
      report_.units += fleet.standing();
      fleet.drop_all();
      while (now_ns() < due && !stop_) ::usleep(1000);
    }
  }

  const Options& options_;
  Dialling dialling_;
  Report report_{"bursts", "connection"};
  std::atomic<bool> ready_{false}, go_{false}, stop_{false};
  std::thread thread_;
};

}  // namespace

Report run_storm(Stage& stage) {
  Bursts bursts(stage.options, stage.dialling);
  while (!bursts.ready()) {
    ::usleep(10'000);
    stage.progress.check_limit();
  }
  bursts.go();
  Report report = run_roundtrip(stage);
  report.rename("storm");
  bursts.stop();
  report.set("handshakes", static_cast<double>(bursts.report().units));
  report.set("handshake_p99_us", bursts.report().latency.at(0.99));
  if (bursts.report().errors() > 0) report.error("handshakes of the bursts failed");
  return report;
}

}  // namespace load
