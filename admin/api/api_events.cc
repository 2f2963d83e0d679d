// What a console asks again and again, or once and for long: the configuration as it runs, samples of the counters, and
// events as they come.
#include <algorithm>
#include <array>

#include "admin/api/admin_api.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

// A subscription as the HTTP server takes a body.
class EventSource final : public BodySource {
 public:
  explicit EventSource(std::unique_ptr<Feed::Subscription> events) : events_(std::move(events)) {}
  std::string take() override { return events_->take(); }
  bool over() const override { return events_->over(); }
  void call_when_ready(std::function<void()> wake) override { events_->call_when_ready(std::move(wake)); }

 private:
  const std::unique_ptr<Feed::Subscription> events_;
};

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> all;
  while (!text.empty()) {
    const std::size_t end = text.find(',');
    if (end != 0) all.emplace_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return all;
}

constexpr std::array<std::string_view, 4> kSessionKinds = {"new", "known", "resumed", "full"};

bool is_reason(const std::string& name) {
  return std::any_of(std::begin(kReasons), std::end(kReasons), [&](const ReasonRow& row) { return row.name == name; });
}

}  // namespace

HttpResponse AdminApi::show_config(const Call&) {
  std::vector<RunningConfig::Override> chosen;
  for (const ListenerInfo& listener : parts_.plane.listeners()) {
    if (listener.auth_chosen) chosen.push_back({"listener.auth", listener.name, listener.auth});
    if (listener.hosted) {
      chosen.push_back({"listener.certificates", listener.name, {{"hosted", to_hex(*listener.hosted)}}});
    }
  }
  const std::string level(kLevelNames[static_cast<std::size_t>(parts_.log.level())]);
  Json shown = parts_.running.object(chosen);
  for (Json& setting : shown["settings"]) {
    if (setting["key"] != "log.level" || setting["value"] == level) continue;
    setting["file_value"] = setting["value"];
    setting["value"] = level;
    setting["source"] = "run-time";
  }
  return ok(shown);
}

HttpResponse AdminApi::list_samples(const Call& call) {
  const std::string text = query_value(call.request.query, "since");
  const auto since = text.empty() ? std::optional<std::int64_t>(0) : parse_utc(text);
  if (!since) return invalid("since must be a time such as 2026-11-21T04:13:00Z");
  return ok(parts_.samples.since(*since));
}

// Its filters are named as the fields of the lines they look at; several values are separated by commas.
HttpResponse AdminApi::stream_events(const Call& call) {
  Feed::Filter filter;
  for (const char* field : {"event", "kind", "reason", "listener"}) {
    if (auto values = split(query_value(call.request.query, field)); !values.empty()) {
      filter.push_back({{field}, std::move(values)});
    }
  }
  for (const Feed::Wanted& wanted : filter) {
    for (const std::string& value : wanted.values) {
      if (wanted.fields.front() == "reason" && !is_reason(value)) {
        return invalid("there is no reason '" + shortened(value) + "'");
      }
      if (wanted.fields.front() == "kind" &&
          std::find(kSessionKinds.begin(), kSessionKinds.end(), value) == kSessionKinds.end()) {
        return invalid("kind must be \"new\", \"known\", \"resumed\" or \"full\"");
      }
    }
  }
  if (const std::string device = query_value(call.request.query, "device"); !device.empty()) {
    // One that is not registered may be refused, and is asked for by its whole id.
    if (const auto id = parse_digest(device)) {
      filter.push_back({{"fingerprint", "id"}, {to_hex(*id)}});
    } else {
      const auto found = find_device(parts_.registrar, device);
      if (!found) return refused(found.error());
      filter.push_back({{"fingerprint", "id"}, {to_hex(found->id)}});
    }
  }
  // Of a sign-in, too, the name is that of its token.
  const Feed::Watcher watcher{call.caller.actor.who, call.request.peer.local};
  auto answer = parts_.feed.subscribe(std::move(filter), still(call.request), watcher);
  if (answer.full == Feed::Full::OfWatcher) {
    return problem(503, "busy",
                   "this token watches " + std::to_string(Feed::kMostOfWatcher) + " times already: end one of them");
  }
  if (answer.full == Feed::Full::All) {
    return problem(
        503, "busy",
        std::to_string(watcher.local ? Feed::kMost : Feed::kMostRemote) + " others watch already: end one of them");
  }
  HttpResponse response{200, "application/x-ndjson", ""};
  response.source = std::make_shared<EventSource>(std::move(answer.events));
  return response;
}

}  // namespace sallyport
