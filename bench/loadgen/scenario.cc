#include "bench/loadgen/scenario.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace load {

std::uint64_t Report::errors() const {
  std::uint64_t all = 0;
  for (const auto& [what, count] : errors_) all += count;
  return all;
}

std::string Report::json() const {
  nlohmann::ordered_json out;
  out["scenario"] = scenario_;
  out["ok"] = good();
  out["errors"] = errors_;
  out["unit"] = unit_;
  out["units"] = units;
  out["seconds"] = seconds;
  out["rate"] = seconds > 0 ? static_cast<double>(units) / seconds : 0.0;
  if (measured_proxy) {
    out["proxy_cpu_seconds"] = proxy_cpu_seconds;
    out["proxy_cpu_us_per_unit"] = units > 0 ? proxy_cpu_seconds * 1e6 / static_cast<double>(units) : 0.0;
  }
  out["load_cpu_seconds"] = load_cpu_seconds;
  if (latency.count() > 0) {
    out["latency_us"] = {{"count", latency.count()}, {"mean", latency.mean_us()}, {"p50", latency.at(0.5)},
                         {"p90", latency.at(0.9)},   {"p99", latency.at(0.99)},   {"p999", latency.at(0.999)},
                         {"max", latency.max_us()}};
  }
  for (const auto& [name, value] : figures_) out[name] = value;
  return out.dump();
}

Measurement::Measurement(const Options& options, Report& report)
    : tree_(options.pids),
      report_(report),
      began_ns_(now_ns()),
      proxy_began_(tree_.cpu_seconds()),
      load_began_(own_cpu_seconds()) {}

void Measurement::stop() {
  report_.seconds = static_cast<double>(now_ns() - began_ns_) * 1e-9;
  report_.proxy_cpu_seconds = tree_.cpu_seconds() - proxy_began_;
  report_.load_cpu_seconds = own_cpu_seconds() - load_began_;
  report_.measured_proxy = !tree_.empty();
}

void Progress::say(std::string_view phase, std::uint64_t done, std::uint64_t of, std::uint64_t errors) {
  check_limit();
  const std::int64_t now = now_ns();
  if (quiet_ || now - last_ns_ < 1'000'000'000) return;
  const std::uint64_t since = done >= last_done_ ? done - last_done_ : done;
  const double rate = last_ns_ == 0 ? 0.0 : static_cast<double>(since) / (static_cast<double>(now - last_ns_) * 1e-9);
  std::fprintf(stderr, "%.*s: %llu of %llu, %.0f/s, %llu errors\n", static_cast<int>(phase.size()), phase.data(),
               static_cast<unsigned long long>(done), static_cast<unsigned long long>(of), rate,
               static_cast<unsigned long long>(errors));
  last_ns_ = now;
  last_done_ = done;
}

void Progress::check_limit() const {
  errno = 0;
  if (now_ns() > limit_ns_) give_up("--limit is over: the run is given up");
}

Stage::Stage(const Options& o) : options(o), progress(o) {
  errno = 0;
  for (const pid_t pid : o.pids) {
    if (::kill(pid, 0) != 0 && errno == ESRCH) give_up(("--pid " + std::to_string(pid)).c_str());
  }
  errno = 0;
  if (o.pki.empty() && !o.plain) give_up("--pki is needed: a folder made by `load pki`");
  if (!o.plain) {
    TlsChoice choice = o.tls;
    if (choice.trust.empty()) choice.trust = o.pki + "/server-ca.pem";
    context = client_context(choice);
    pki = std::make_unique<DevicePki>(o.pki, o.intermediate, o.rsa_devices);
    dialling.intermediate = pki->intermediate();
  }
  dialling.to = Address::parse(o.connect);
  dialling.plain = o.plain;
  dialling.v5 = o.v5;
  dialling.context = context.get();
}

Fleet::Fleet(const Options& options, Loop& loop, const Dialling& dialling, Report& report, std::size_t connections,
             std::size_t devices, const std::string& prefix)
    : loop_(loop), report_(report) {
  std::unique_ptr<DevicePki> pki;
  if (!options.plain) pki = std::make_unique<DevicePki>(options.pki, options.intermediate, options.rsa_devices);
  for (std::size_t i = 0; i < devices; ++i) {
    Device device{prefix + std::to_string(i), {}, nullptr};
    if (pki) device.credential = pki->make(device.name);
    devices_.push_back(std::move(device));
  }
  for (std::size_t i = 0; i < connections; ++i) {
    clients_.push_back(std::make_unique<Client>(loop, dialling, *this));
    clients_.back()->tag = i;
  }
}

void Fleet::connect_all(std::size_t window, bool resume, Progress& progress, std::string_view phase) {
  constexpr std::size_t kMoreTries = 3;
  const std::int64_t due = now_ns();
  std::vector<std::size_t> todo;
  for (std::size_t i = 0; i < clients_.size(); ++i) todo.push_back(clients_.size() - 1 - i);
  for (std::size_t tries = 0; !todo.empty() && tries <= kMoreTries; ++tries) {
    failed_.clear();
    while (!todo.empty() || in_progress_ > 0) {
      while (!todo.empty() && in_progress_ < window) {
        Client& client = *clients_[todo.back()];
        todo.pop_back();
        ++in_progress_;
        client.connect(device(client.tag), resume, record_latency_ ? due : now_ns(), client.tag);
      }
      loop_.turn(now_ns() + 100'000'000);
      progress.say(phase, standing_, clients_.size(), report_.errors());
    }
    todo = failed_;
  }
}

std::size_t Fleet::settle(Progress& progress) {
  answers_ = asked_ = 0;
  for (const auto& client : clients_) {
    if (!client->connected()) continue;
    client->send(kPingreq);
    ++asked_;
  }
  const std::int64_t until = now_ns() + Progress::seconds(30);
  while (answers_ < asked_ && now_ns() < until) {
    loop_.turn(now_ns() + 100'000'000);
    progress.say("settling", answers_, asked_, report_.errors());
  }
  return clients_.size() - std::min(answers_, clients_.size());
}

void Fleet::drop_all() {
  for (const auto& client : clients_) client->drop();
  standing_ = 0;
}

void Fleet::on_connected(Client& client) {
  ++standing_;
  --in_progress_;
  if (record_latency_) report_.latency.record(now_ns() - client.due_ns());
  if (listener_ != nullptr) listener_->on_connected(client);
}

void Fleet::on_packet(Client& client, Frames& frames) {
  if (frames.packet() == Packet::Pingresp) ++answers_;
  if (listener_ != nullptr) listener_->on_packet(client, frames);
}

void Fleet::on_closed(Client& client, std::string_view why) {
  if (client.was_connected()) {
    --standing_;
    if (asked_ > answers_) --asked_;  // one less to wait for
  } else {
    --in_progress_;
    failed_.push_back(client.tag);
  }
  if (!why.empty()) report_.error(why);
  if (listener_ != nullptr) listener_->on_closed(client, why);
}

}  // namespace load
