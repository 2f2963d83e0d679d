// Many at once: devices and sessions, by their ids or by a filter. A call is bounded, and says where to go on.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <ctime>
#include <set>

#include "admin/api/admin_api.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

constexpr std::size_t kMostTried = 10'000;  // devices of a dry run, in one call
constexpr std::size_t kMostFailures = 100;  // told one by one
constexpr std::size_t kMostSessions = 1000;
constexpr std::size_t kMostSessionsSeen = 20'000;

struct NamedAction {
  std::string_view name;
  DeviceAction action;
};
constexpr NamedAction kActions[] = {{"activate", DeviceAction::Activate},
                                    {"deactivate", DeviceAction::Deactivate},
                                    {"revoke", DeviceAction::Revoke},
                                    {"delete", DeviceAction::Delete},
                                    {"approve", DeviceAction::Approve}};

bool cuts(DeviceAction action) {
  return action != DeviceAction::Activate && action != DeviceAction::Approve;
}

Refusal bad(std::string what) {
  return {Refusal::Kind::Invalid, std::move(what)};
}

// What a request for many says: exactly one of ids and filter, and from where to go on.
struct Many {
  std::vector<std::string> ids;
  Json filter;  // null: ids were given
  bool dry_run = false;
  std::string cursor;
  std::optional<std::int64_t> as_of;  // Unix seconds: what came later is left out
};

Answer<Many> many_of(const Json& body) {
  Many many;
  const bool by_ids = body.contains("ids") && !body["ids"].is_null();
  const bool by_filter = body.contains("filter") && !body["filter"].is_null();
  if (by_ids == by_filter) return bad("give either ids or a filter");
  if (by_filter && !body["filter"].is_object()) return bad("filter must be an object");
  if (by_filter) many.filter = body["filter"];
  if (by_ids) {
    const Json& ids = body["ids"];
    if (!ids.is_array() || ids.size() > Registrar::kMostChanged) return bad("ids must be an array of 1,000 at most");
    std::set<std::string> seen;
    for (const Json& id : ids) {
      if (!id.is_string()) return bad("ids must be texts");
      if (seen.insert(id.get<std::string>()).second) many.ids.push_back(id.get<std::string>());
    }
  }
  if (body.contains("dry_run") && !body["dry_run"].is_null()) {
    if (!body["dry_run"].is_boolean()) return bad("dry_run must be true or false");
    many.dry_run = body["dry_run"].get<bool>();
  }
  const auto cursor = text_member(body, "cursor");
  if (!cursor) return cursor.error();
  many.cursor = *cursor;
  const auto as_of = text_member(body, "as_of");
  if (!as_of) return as_of.error();
  if (!as_of->empty()) {
    many.as_of = parse_utc(*as_of);
    if (!many.as_of) return bad("as_of must be the time that a dry run answered");
  }
  return many;
}

// The members of a filter as a list's parameters; one that is spelt wrongly must not mean all.
Answer<void> only_members(const Json& filter, std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : filter.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return bad("a filter has no member '" + shortened(name) + "'");
    }
    if (!value.is_string() && !value.is_boolean()) return bad("a filter's members are texts");
    // A script's variable that is empty must not mean all.
    if (value.is_string() && value.get_ref<const std::string&>().empty())
      return bad("a filter's " + name + " is empty");
  }
  return {};
}

std::string member(const Json& filter, const char* name) {
  const auto found = filter.find(name);
  if (found == filter.end() || found->is_null()) return {};
  return found->is_boolean() ? (found->get<bool>() ? "true" : "false") : found->get<std::string>();
}

struct Failures {
  Json told = Json::array();
  std::uint64_t omitted = 0;
  void add(const std::string& id, const std::string& cn, const std::string& why) {
    if (told.size() == kMostFailures) {
      ++omitted;
      return;
    }
    told.push_back({{"id", id}, {"cn", cn}, {"error", why}});
  }
};

bool contains(const std::string& text, const std::string& part) {
  const auto same = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
  return std::search(text.begin(), text.end(), part.begin(), part.end(), same) != text.end();
}

}  // namespace

HttpResponse AdminApi::change_devices(const Call& call) {
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto name = text_member(*body, "action");
  if (!name) return refused(name.error());
  const auto* named =
      std::find_if(std::begin(kActions), std::end(kActions), [&](auto& each) { return each.name == *name; });
  if (named == std::end(kActions)) return invalid("action must be activate, deactivate, revoke, delete or approve");
  const DeviceAction action = named->action;
  const auto many = many_of(*body);
  if (!many) return refused(many.error());

  DevicePage page;
  Failures failures;
  if (many->filter.is_null()) {
    for (const std::string& text : many->ids) {
      const auto id = parse_digest(text);
      if (!id) return refused(needs_full_id());
      auto device = parts_.registrar.device(*id);
      ++page.looked_at;
      device ? page.items.push_back(std::move(*device)) : failures.add(to_hex(*id), "", device.error().what);
    }
  } else {
    const auto known = only_members(
        many->filter, {"serial", "serial_prefix", "ca", "status", "cn", "cn_part", "expires_before", "expires_after"});
    if (!known) return refused(known.error());
    auto query = device_query([&](const char* each) { return member(many->filter, each); });
    if (!query) return refused(query.error());
    if (action == DeviceAction::Approve) {
      if (query->status && *query->status != DeviceStatus::Pending) return invalid("only pending devices are approved");
      query->status = DeviceStatus::Pending;
    }
    query->limit = many->dry_run ? kMostTried : Registrar::kMostChanged;
    query->page_token = many->cursor;
    auto found = parts_.registrar.devices(*query);
    if (!found) return refused(found.error());
    page = std::move(*found);
  }

  const std::int64_t now = std::time(nullptr);
  std::vector<Digest> ids;
  std::uint64_t came_since = 0;
  for (const DeviceRecord& device : page.items) {
    if (many->as_of && device.registered_at > *many->as_of) {
      ++came_since;  // nobody has seen it in the dry run
      continue;
    }
    const bool waits = action == DeviceAction::Activate && device.status == DeviceStatus::Pending;
    if (waits && !many->filter.is_null()) {
      failures.add(to_hex(device.id), device.cn,
                   "it waits for approval: whoever is to come in is approved by that name");
    } else if (const auto why = refusal_of(action, device, now)) {
      failures.add(to_hex(device.id), device.cn, why->what);
    } else if (action == DeviceAction::Delete || device.status != status_after(action)) {
      ids.push_back(device.id);
    }
  }
  std::uint64_t sessions = 0, changed = 0;
  if (cuts(action) && !ids.empty()) {
    for (const std::uint64_t each : parts_.plane.sessions_of_devices(ids)) sessions += each;
  }
  if (!many->dry_run && !ids.empty()) {
    const auto outcome = parts_.registrar.change_devices(ids, action, call.caller.actor);
    if (!outcome) return refused(outcome.error());
    for (const DeviceChanged& each : *outcome) {
      changed += each.changed ? 1 : 0;
      if (each.refused) failures.add(to_hex(each.id), "", each.refused->what);
    }
  }
  HttpResponse done = ok({{"action", std::string(named->name)},
                          {"dry_run", many->dry_run},
                          {"looked_at", page.looked_at},
                          {"matched", page.items.size() - came_since},
                          {"came_since", came_since},
                          {"as_of", utc(many->as_of.value_or(now))},
                          {"would_change", ids.size()},
                          {"sessions", sessions},
                          {"changed", changed},
                          {"failed", std::move(failures.told)},
                          {"failed_omitted", failures.omitted},
                          {"cursor", page.next_page_token.empty() ? Json(nullptr) : Json(page.next_page_token)}});
  // With the last call alone: a node that is gone is waited for half a second.
  if (changed == 0 || !page.next_page_token.empty()) return done;
  const auto how = how_to_change(call);
  return how ? with_nodes(std::move(done), *how) : done;
}

bool AdminApi::SessionFilter::fits(const SessionInfo& session, const std::vector<ListenerInfo>& listeners) const {
  if (!listener.empty() && (session.listener >= listeners.size() || listeners[session.listener].name != listener)) {
    return false;
  }
  if (!peer.empty()) {
    const std::string address = session.peer.substr(0, session.peer.rfind(':'));
    if (peer != address && "[" + peer + "]" != address && peer != session.peer) return false;
  }
  if (!client_id_part.empty() && !contains(session.client_id, client_id_part)) return false;
  return cn_part.empty() || contains(session.cn, cn_part);
}

Answer<AdminApi::SessionFilter> AdminApi::session_filter(const std::function<std::string(const char*)>& value) const {
  SessionFilter filter;
  if (const std::string wanted = value("device"); !wanted.empty()) {
    const auto found = find_device(parts_.registrar, wanted);
    if (!found) return found.error();
    filter.device = found->id;
  }
  if (const std::string wanted = value("ca"); !wanted.empty()) {
    const auto found = find_ca(parts_.registrar, wanted);
    if (!found) return found.error();
    filter.ca = found->id;
  }
  const std::string clones = value("clones");
  if (!clones.empty() && clones != "true" && clones != "false") return bad("clones must be true or false");
  filter.clones = clones == "true";
  filter.listener = value("listener");
  filter.peer = value("peer");
  filter.client_id_part = value("client_id_part");
  filter.cn_part = value("cn_part");
  return filter;
}

// The shards know devices, CAs and clones; the rest is looked at here, up to kMostSessionsSeen in one call.
Answer<SessionPage> AdminApi::sessions_that_fit(const SessionFilter& filter, std::size_t limit,
                                                std::string token) const {
  const auto listeners = parts_.plane.listeners();
  SessionPage fitting;
  // Each question to a shard is a way there and back, so many are asked for at once where few may fit. A page that ends
  // among them says how many of those it had: "SHARD-PLACE~COUNT".
  std::size_t had = 0;
  if (const std::size_t mark = token.find('~'); mark != std::string::npos) {
    const auto [end, failure] = std::from_chars(token.data() + mark + 1, token.data() + token.size(), had);
    if (failure != std::errc() || end != token.data() + token.size()) {
      return bad("the page_token is not one of a list answer");
    }
    token.resize(mark);
  }
  const bool looks = filter.looks();
  for (std::size_t seen = 0;;) {
    const std::size_t most = looks ? kMostSessions : limit - fitting.sessions.size();
    auto page = parts_.plane.sessions(filter.device, filter.ca, filter.clones, most, token);
    if (!page) return page;
    seen += std::max<std::size_t>(page->sessions.size(), 1);
    std::size_t fit = 0;
    for (SessionInfo& session : page->sessions) {
      if (!filter.fits(session, listeners) || fit++ < had) continue;
      if (fitting.sessions.size() == limit) {
        fitting.next_page_token = (token.empty() ? "0-0" : token) + "~" + std::to_string(fit - 1);
        return fitting;
      }
      fitting.sessions.push_back(std::move(session));
    }
    had = 0;
    token = page->next_page_token;
    if (!token.empty() && fitting.sessions.size() < limit && seen < kMostSessionsSeen && !page->sessions.empty())
      continue;
    fitting.next_page_token = std::move(token);
    return fitting;
  }
}

HttpResponse AdminApi::cut_sessions(const Call& call) {
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto many = many_of(*body);
  if (!many) return refused(many.error());
  if (many->as_of) return invalid("as_of is for devices: sessions are cut as they are found");
  std::vector<std::uint64_t> ids;
  std::string next, which;
  if (many->filter.is_null()) {
    for (const std::string& text : many->ids) {
      std::uint64_t id = 0;
      const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
      if (failure != std::errc() || end != text.data() + text.size()) {
        return invalid("a session is named by its id of 16 hex digits, as `session list` shows it");
      }
      ids.push_back(id);
      which += (which.empty() ? "" : " ") + text;
    }
    which = shortened(which);
  } else {
    const auto known =
        only_members(many->filter, {"device", "ca", "clones", "listener", "peer", "client_id_part", "cn_part"});
    if (!known) return refused(known.error());
    const auto filter = session_filter([&](const char* each) { return member(many->filter, each); });
    if (!filter) return refused(filter.error());
    auto page = sessions_that_fit(*filter, kMostSessions, many->cursor);
    if (!page) return refused(page.error());
    for (const SessionInfo& session : page->sessions) ids.push_back(session.id);
    next = std::move(page->next_page_token);
    which = shortened(many->filter.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  std::uint64_t cut = 0;
  if (!many->dry_run) {
    for (const std::uint64_t id : ids) cut += parts_.plane.cut_session(id) ? 1 : 0;
    if (cut > 0) {
      const auto noted = parts_.registrar.record(
          call.caller.actor, "session.cut-many", which,
          std::to_string(cut) + " cut" + (parts_.registrar.shared_state() ? " at " + this_node() : ""));
      if (!noted) return refused(noted.error());
    }
  }
  return ok({{"dry_run", many->dry_run},
             {"matched", ids.size()},
             {"cut", cut},
             {"cursor", next.empty() ? Json(nullptr) : Json(next)}});
}

}  // namespace sallyport
