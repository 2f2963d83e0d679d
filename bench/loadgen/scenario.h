// What every scenario is given, and what it has to say at the end.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "bench/loadgen/client.h"
#include "bench/loadgen/histogram.h"
#include "bench/loadgen/process_tree.h"

namespace load {

struct Options {
  std::string connect = "127.0.0.1:8883";
  std::string pki;
  bool plain = false;
  TlsChoice tls;
  bool intermediate = false;
  bool rsa_devices = false;
  bool v5 = false;
  std::size_t devices = 0;  // 0: the scenario's choice
  std::vector<pid_t> pids;
  double seconds = 10;
  double limit = 300;  // seconds after which the whole is given up
  bool quiet = false;

  std::string mode = "full";  // full, resumed, mixed, first
  std::size_t count = 2000;
  std::size_t concurrency = 16;
  std::size_t connections = 100;
  std::size_t warm_up = 0;
  double rate = 0;
  std::size_t size = 100;
  unsigned qos = 0;
  std::size_t burst = 1;
  std::size_t storm_burst = 50;
  double every = 0.5;
  std::string bursts_to;  // empty: where the others are
  std::string direction = "up";
  double megabytes = 500;
};

class Report {
 public:
  void rename(std::string scenario) { scenario_ = std::move(scenario); }
  Report(std::string scenario, std::string unit) : scenario_(std::move(scenario)), unit_(std::move(unit)) {}
  void error(std::string_view what) { ++errors_[std::string(what)]; }
  void set(const std::string& name, double value) { figures_[name] = value; }
  bool good() const { return errors_.empty(); }
  std::uint64_t errors() const;
  std::string json() const;  // one object

  std::uint64_t units = 0;
  double seconds = 0, proxy_cpu_seconds = 0, load_cpu_seconds = 0;
  bool measured_proxy = false;
  Histogram latency;

 private:
  std::string scenario_, unit_;
  std::map<std::string, std::uint64_t> errors_;
  std::map<std::string, double> figures_;
};

// The measured part of a run: from its making to stop().
class Measurement {
 public:
  Measurement(const Options& options, Report& report);
  void stop();

 private:
  ProcessTree tree_;
  Report& report_;
  std::int64_t began_ns_;
  double proxy_began_, load_began_;
};

// A line a second on standard error, unless --quiet.
class Progress {
 public:
  explicit Progress(const Options& options) : quiet_(options.quiet), limit_ns_(now_ns() + seconds(options.limit)) {}
  void say(std::string_view phase, std::uint64_t done, std::uint64_t of, std::uint64_t errors);
  // Gives up when --limit is over.
  void check_limit() const;
  static std::int64_t seconds(double s) { return static_cast<std::int64_t>(s * 1e9); }

 private:
  bool quiet_;
  std::int64_t limit_ns_, last_ns_ = 0;
  std::uint64_t last_done_ = 0;
};

// A number of devices and, once connected, their connections. Owned by one thread.
class Fleet final : public Client::Owner {
 public:
  // Told of what arrives on connections that stand.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_connected(Client&) {}
    virtual void on_packet(Client&, Frames&) {}
    virtual void on_closed(Client&, std::string_view) {}
  };

  Fleet(const Options& options, Loop& loop, const Dialling& dialling, Report& report, std::size_t connections,
        std::size_t devices, const std::string& prefix);
  // Connects every client, `window` at a time; each failure is an error of the report, and tried again a few times.
  void connect_all(std::size_t window, bool resume, Progress& progress, std::string_view phase);
  // Sends PINGREQ on every connection and waits for the answers: all that was sent before has gone through. Answers
  // how many did not.
  std::size_t settle(Progress& progress);
  std::size_t size() const { return clients_.size(); }
  std::size_t devices() const { return devices_.size(); }
  std::size_t standing() const { return standing_; }
  Client& client(std::size_t i) { return *clients_[i]; }
  Device& device(std::size_t i) { return devices_[i % devices_.size()]; }
  void listen(Listener* listener) { listener_ = listener; }
  void drop_all();

 private:
  void on_connected(Client& client) override;
  void on_packet(Client& client, Frames& frames) override;
  void on_closed(Client& client, std::string_view why) override;

  Loop& loop_;
  Report& report_;
  std::vector<Device> devices_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::size_t> failed_;
  std::size_t standing_ = 0, in_progress_ = 0, answers_ = 0, asked_ = 0;
  bool record_latency_ = false;
  Listener* listener_ = nullptr;

 public:
  // The time from due to CONNACK goes to the report from here on.
  void record_latency() { record_latency_ = true; }
};

// What a scenario runs on.
struct Stage {
  explicit Stage(const Options& options);
  // Of a fleet: those asked for, or one for each connection.
  std::size_t devices() const { return options.devices != 0 ? options.devices : options.connections; }
  const Options& options;
  ContextPtr context;
  std::unique_ptr<DevicePki> pki;
  Dialling dialling;
  Loop loop;
  Progress progress;
};

Report run_handshake(Stage& stage);
Report run_reconnect(Stage& stage);
Report run_messages(Stage& stage);
Report run_bulk(Stage& stage);
Report run_roundtrip(Stage& stage);
Report run_storm(Stage& stage);
Report run_idle(Stage& stage);

}  // namespace load
