// `sallyport tail`: events as they come, a line each.
#include <algorithm>
#include <array>
#include <iostream>
#include <string_view>

#include "admin/cli/operator.h"
#include "admin/cli/say.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

constexpr std::size_t kEventColumns = 12;
constexpr std::size_t kLongestLine = std::size_t{1} << 20;

// A colour for what an operator looks for first.
std::string_view colour_of(const std::string& event, const std::string& level) {
  if (level == "error" || event == "rejected") return kRed;
  if (level == "warning" || event == "lost") return kYellow;
  return event == "began" ? kGreen : std::string_view();
}

bool says_nothing(const Json& value) {
  return value.is_null() || (value.is_string() && (value == "" || value == "none")) || value == 0;
}

// The time of day, the event, and each field that says something; ids as short as tables have them.
std::string line_of(const Json& event, bool colours) {
  const std::string name = text(event, "event");
  const std::string time = text(event, "time");
  std::string line = time.size() > 19 ? time.substr(11, 8) : time;
  line += ' ';
  const std::string_view colour = colours ? colour_of(name, text(event, "level")) : std::string_view();
  line += colour;
  line += escaped(name);
  if (!colour.empty()) line += kPlain;
  line.append(name.size() < kEventColumns ? kEventColumns - name.size() : 1, ' ');
  bool first = true;
  for (const auto& [key, value] : event.items()) {
    if (key == "time" || key == "level" || key == "event" || says_nothing(value)) continue;
    std::string shown = value.is_string() ? value.get<std::string>() : value.dump();
    if (key == "fingerprint" || key == "ca") shown = short_id(shown);
    const bool quoted = shown.find(' ') != std::string::npos;
    line += (first ? "" : " ") + key + "=" + (quoted ? "\"" : "") + escaped(shown) + (quoted ? "\"" : "");
    first = false;
  }
  return line;
}

}  // namespace

int Operator::tail(const TailOptions& filter) {
  const auto where = address();
  if (!where) return complain(where.error().what);
  std::string target = "/v1/events";
  const std::array<std::pair<const char*, const std::string*>, 5> asked = {{{"event", &filter.event},
                                                                            {"kind", &filter.kind},
                                                                            {"reason", &filter.reason},
                                                                            {"listener", &filter.listener},
                                                                            {"device", &filter.device}}};
  for (const auto& [name, value] : asked) {
    if (value->empty()) continue;
    target += (target.find('?') == std::string::npos ? "?" : "&") + std::string(name) + "=" + percent_encoded(*value);
  }
  const bool as_json = filter.json || options_.json;
  const bool colours = may_colour();
  std::uint64_t left = filter.count;
  std::string begun;  // of a line
  const auto take = [&](std::string_view piece) {
    begun += piece;
    std::size_t at = 0;
    for (std::size_t end = 0; (end = begun.find('\n', at)) != std::string::npos; at = end + 1) {
      const std::string_view line = std::string_view(begun).substr(at, end - at);
      const Json event = Json::parse(line, nullptr, false);
      if (!event.is_object()) continue;
      const bool beats = text(event, "event") == "heartbeat";
      if (beats) continue;
      std::cout << (as_json ? steering_escaped(line) : line_of(event, colours)) << '\n';
      if (left != 0 && --left == 0) break;
    }
    begun.erase(0, std::min(at, begun.size()));
    std::cout.flush();
    const bool done = filter.count != 0 && left == 0;
    return std::cout.good() && !done && begun.size() < kLongestLine;
  };
  const auto answer = follow(*where, target, take);
  if (!std::cout || (filter.count != 0 && left == 0)) return kDone;
  if (!answer || answer->status != 200) return taken_apart(answer).failed;
  return complain("the server has ended it: it stops, or the token has ended");
}

}  // namespace sallyport
