// `sallyport top`: what changes from one look to the next, as rates.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>
#include <thread>

#include "admin/cli/operator.h"
#include "admin/cli/say.h"
#include "admin/cli/table.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

using Clock = std::chrono::steady_clock;

struct Look {
  Json status;
  Clock::time_point at;
};

std::uint64_t number(const Json& json, const char* key) {
  return json.value(key, std::uint64_t{0});
}

// A second's worth of what has grown; a server that was started anew counts from its start.
double rate(std::uint64_t now, std::uint64_t before, double seconds) {
  const std::uint64_t grown = now >= before ? now - before : now;
  return seconds > 0 ? static_cast<double>(grown) / seconds : 0.0;
}

std::string shown(double rate) {
  std::ostringstream out;
  if (rate < 10) {
    out << std::fixed << std::setprecision(1) << rate;
    return out.str();
  }
  return with_thousands(static_cast<std::uint64_t>(rate + 0.5));
}

std::string bytes_shown(double rate) {
  static constexpr const char* kUnits[] = {"B/s", "KiB/s", "MiB/s", "GiB/s"};
  std::size_t unit = 0;
  for (; rate >= 1024 && unit + 1 < std::size(kUnits); ++unit) rate /= 1024;
  return shown(rate) + " " + kUnits[unit];
}

// The listener of that name in an earlier look.
Json named(const Json& all, const std::string& name) {
  for (const Json& each : all) {
    if (text(each, "name") == name) return each;
  }
  return Json::object();
}

void print(std::ostream& out, const Look& now, const Look& before) {
  const double seconds = std::chrono::duration<double>(now.at - before.at).count();
  const Json& status = now.status;
  const auto grown = [&](const char* object, const char* key) {
    return rate(number(status[object], key), number(before.status[object], key), seconds);
  };
  double refused = 0;
  std::vector<std::pair<double, std::string>> reasons;
  for (const auto& [reason, count] : status["rejections"].items()) {
    const double now_rate =
        rate(count.get<std::uint64_t>(), number(before.status["rejections"], reason.c_str()), seconds);
    refused += now_rate;
    if (now_rate > 0) reasons.emplace_back(-now_rate, reason);
  }
  std::sort(reasons.begin(), reasons.end());
  std::string by_reason;
  for (const auto& [less, reason] : reasons) by_reason += "  " + reason + " " + shown(-less);
  out << "sallyport " << text(status, "version") << "  " << text(status, "state") << "  up "
      << number(status, "uptime_seconds") << " s  " << with_thousands(number(status, "sessions")) << " sessions, "
      << with_thousands(number(status, "sessions_closing")) << " closing\n"
      << "to brokers " << bytes_shown(grown("bytes", "to_broker")) << "  to devices "
      << bytes_shown(grown("bytes", "to_client")) << "  registrations queued "
      << with_thousands(number(status["registration_queue"], "depth")) << '\n'
      << "refused " << shown(refused) << "/s" << by_reason << "\n\n";
  Table listeners({"LISTENER", "SESSIONS", "HANDSHAKES/S", "REFUSED/S"});
  std::vector<std::pair<double, std::vector<std::string>>> busy;
  for (const Json& listener : status["listeners"]) {
    const Json then = named(before.status["listeners"], text(listener, "name"));
    const double handshakes = rate(number(listener, "handshakes"), number(then, "handshakes"), seconds);
    busy.push_back({-handshakes,
                    {text(listener, "name"), with_thousands(number(listener, "sessions")), shown(handshakes),
                     shown(rate(number(listener, "rejections"), number(then, "rejections"), seconds))}});
  }
  std::stable_sort(busy.begin(), busy.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [less, row] : busy) listeners.add(std::move(row));
  listeners.print(out);
  out << '\n';
  Table brokers({"UPSTREAM", "SERVER", "STATE", "SESSIONS"});
  for (const Json& upstream : status["upstreams"]) {
    for (const Json& server : upstream["servers"]) {
      brokers.add({text(upstream, "name"), text(server, "server"), text(server, "state"),
                   with_thousands(number(server, "sessions"))});
    }
  }
  brokers.print(out);
  out << '\n';
  Table shards({"SHARD", "SESSIONS", "BUSY"});
  std::size_t number_of = 0;
  for (const Json& shard : status["shards"]) {
    shards.add({std::to_string(number_of++), with_thousands(number(shard, "sessions")),
                std::to_string(static_cast<int>(shard.value("busy_ratio", 0.0) * 100 + 0.5)) + " %"});
  }
  shards.print(out);
  for (const Json& warning : status["warnings"]) {
    out << "warning: " << escaped(text(warning, "about")) << ": " << escaped(text(warning, "what")) << '\n';
  }
}

// The same for a program.
Json rates(const Look& now, const Look& before) {
  const double seconds = std::chrono::duration<double>(now.at - before.at).count();
  const Json& status = now.status;
  const auto per_second = [&](const Json& after, const Json& then, const char* key) {
    return rate(number(after, key), number(then, key), seconds);
  };
  Json rejections = Json::object();
  for (const auto& [reason, count] : status["rejections"].items()) {
    rejections[reason] = per_second(status["rejections"], before.status["rejections"], reason.c_str());
  }
  Json listeners = Json::array();
  for (const Json& listener : status["listeners"]) {
    const Json then = named(before.status["listeners"], text(listener, "name"));
    listeners.push_back({{"name", listener["name"]},
                         {"sessions", listener["sessions"]},
                         {"handshakes_per_second", per_second(listener, then, "handshakes")},
                         {"rejections_per_second", per_second(listener, then, "rejections")}});
  }
  const Json& bytes = status["bytes"];
  const Json& bytes_then = before.status["bytes"];
  return {{"seconds", seconds},
          {"state", status["state"]},
          {"sessions", status["sessions"]},
          {"sessions_closing", status["sessions_closing"]},
          {"bytes_per_second",
           {{"to_broker", per_second(bytes, bytes_then, "to_broker")},
            {"to_client", per_second(bytes, bytes_then, "to_client")}}},
          {"registration_queue", status["registration_queue"]},
          {"rejections_per_second", std::move(rejections)},
          {"listeners", std::move(listeners)},
          {"upstreams", status["upstreams"]},
          {"shards", status["shards"]},
          {"warnings", status["warnings"]}};
}

// As many lines as the terminal has: what does not fit would scroll the head away.
std::string fitted(const std::string& screen) {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 2) return screen;
  std::size_t end = 0;
  for (unsigned row = 0; row + 1 < size.ws_row && end < screen.size(); ++row) {
    const std::size_t next = screen.find('\n', end);
    if (next == std::string::npos) return screen;
    end = next + 1;
  }
  return screen.substr(0, end);
}

}  // namespace

int Operator::top(const TopOptions& options) {
  const bool on_terminal = ::isatty(STDOUT_FILENO) == 1;
  std::optional<Look> before;
  for (unsigned shown_times = 0; options.times == 0 || shown_times < options.times;) {
    Reply reply = get("/v1/status");
    if (!reply.ok()) return reply.failed;
    Look now{std::move(reply.json), Clock::now()};
    if (before) {
      std::ostringstream screen;
      if (options_.json) {
        std::cout << dump(rates(now, *before)) << std::flush;
      } else {
        print(screen, now, *before);
        // Home, each line's rest and the rest of the screen cleared: nothing flickers.
        std::cout << (on_terminal ? "\x1b[H\x1b[J" + fitted(screen.str()) : screen.str() + "\n") << std::flush;
      }
      if (!std::cout) return kDone;
      ++shown_times;
    }
    before = std::move(now);
    if (options.times != 0 && shown_times == options.times) break;
    std::this_thread::sleep_for(std::chrono::seconds(options.every));
  }
  return kDone;
}

}  // namespace sallyport
