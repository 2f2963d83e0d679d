// What concerns the server as a whole: status, refusals, audit, tokens, backups.
#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <filesystem>

#include "admin/api/admin_api.h"
#include "admin/operations/backup.h"
#include "admin/operations/disk_room.h"
#include "cache/base/text.h"
#include "cache/registry/follower.h"

namespace sallyport {

namespace {

Json to_json(const TokenInfo& token) {
  return {{"name", token.name},
          {"role", token.operates ? "operator" : "viewer"},
          {"created_at", utc(token.created_at)},
          {"expires_at", token.expires_at == 0 ? Json(nullptr) : Json(utc(token.expires_at))}};
}

std::string utc_us(std::int64_t at_us) {
  std::string text = utc(at_us / 1'000'000);
  const std::string fraction = std::to_string(at_us % 1'000'000 + 1'000'000).substr(1);
  return text.substr(0, text.size() - 1) + "." + fraction + "Z";
}

}  // namespace

HttpResponse AdminApi::list_audit(const Call& call) {
  const auto since = since_of(call.request);
  if (!since) return refused(since.error());
  const auto limit = limit_of(call.request);
  if (!limit) return refused(limit.error());
  std::int64_t before = INT64_MAX;
  if (const std::string token = query_value(call.request.query, "page_token"); !token.empty()) {
    const auto [end, failure] = std::from_chars(token.data(), token.data() + token.size(), before);
    if (failure != std::errc() || end != token.data() + token.size() || before < 1) {
      return invalid("the page_token is not one of a list answer");
    }
  }
  // Of one target there may be few among many: what a call looks at is bounded, and the page is short then.
  constexpr std::size_t kMostLookedAt = 20'000;
  const std::string target = query_value(call.request.query, "target");
  Json items = Json::array();
  std::string next;
  const std::size_t most = target.empty() ? *limit + 1 : 1000;
  for (std::size_t looked_at = 0; next.empty(); looked_at += most) {
    if (looked_at >= kMostLookedAt) {
      next = std::to_string(before);
      break;
    }
    const auto records = parts_.registrar.audit(*since * 1'000'000, before, most);
    if (!records) return refused(records.error());
    for (const AuditRecord& record : *records) {
      const bool wanted = target.empty() || record.target == target;
      if (wanted && items.size() == *limit) {
        next = std::to_string(before);
        break;
      }
      before = record.at_us;
      if (!wanted) continue;
      items.push_back({{"at", utc_us(record.at_us)},
                       {"who", record.by.who},
                       {"from", record.by.from},
                       {"action", record.action},
                       {"target", record.target},
                       {"before", record.before},
                       {"after", record.after},
                       {"revision", record.revision}});
    }
    if (records->size() < most) break;
  }
  return ok({{"items", std::move(items)}, {"next_page_token", next}});
}

// In force first: a stolen key is worth nothing from here on, whatever the disk says.
HttpResponse AdminApi::rotate_ticket_keys(const Call& call) {
  const std::int64_t now = std::time(nullptr);
  parts_.plane.drop_ticket_keys(now);
  // With a shared registry at every node, and not undone by keys that it still has.
  const auto noted = parts_.registrar.shares_epochs()
                         ? parts_.registrar.drop_ticket_keys(call.caller.actor)
                         : parts_.registrar.record(call.caller.actor, "ticket-keys.rotate", "-", "rotated");
  if (!noted) return refused(noted.error());
  return ok({{"rotated_at", utc(now)}});
}

// One that is refused has changed nothing: 409 says why.
HttpResponse AdminApi::reload(const Call& call) {
  const auto outcome = parts_.desk.ask(call.caller.actor);
  if (!outcome) return refused(outcome.error());
  if (!outcome->refused.empty()) {
    return problem(409, "reload-refused", "nothing has changed: " + outcome->refused);
  }
  return ok({{"at", utc(outcome->at)}, {"needs_restart", outcome->needs_restart}});
}

HttpResponse AdminApi::set_log_level(const Call& call) {
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto name = text_member(*body, "level");
  if (!name) return refused(name.error());
  const auto* found = std::find(kLevelNames.begin(), kLevelNames.end(), *name);
  if (found == kLevelNames.end()) return invalid("level must be \"debug\", \"info\", \"warn\" or \"error\"");
  parts_.log.set_level(static_cast<Level>(found - kLevelNames.begin()));
  if (const auto noted = parts_.registrar.record(call.caller.actor, "log.level", "-", std::string(*found)); !noted) {
    return refused(noted.error());
  }
  return ok({{"level", std::string(*found)}});
}

HttpResponse AdminApi::drain(const Call& call) {
  std::uint64_t sessions = 0;
  for (const ShardInfo& shard : parts_.plane.shard_info()) sessions += shard.sessions;
  // Noted first: once it drains there may be nobody left to write. A disk that takes no line keeps nobody from
  // draining.
  const auto noted = parts_.registrar.record(call.caller.actor, "drain", "-", std::to_string(sessions) + " sessions");
  if (parts_.drain) parts_.drain();
  if (!noted) return refused(noted.error());
  return ok({{"draining", true}, {"sessions", sessions}}, 202);
}

namespace {

void add_figures(const ListenerCounters& from, std::uint64_t& sessions, std::uint64_t& handshakes,
                 std::uint64_t& rejections) {
  sessions += from.sessions_open.get();
  for (const Cell& reason : from.rejections) rejections += reason.get();
  for (const auto& version : from.handshakes) {
    for (const auto& kind : version) {
      for (const auto& by : kind) {
        for (const Cell& group : by) handshakes += group.get();
      }
    }
  }
}

}  // namespace

HttpResponse AdminApi::status(const Call&) {
  const RegistrarStats stats = parts_.registrar.stats();
  Json shards = Json::array();
  std::uint64_t sessions = 0;
  std::uint64_t closing = 0;
  for (const ShardInfo& shard : parts_.plane.shard_info()) {
    shards.push_back({{"sessions", shard.sessions}, {"busy_ratio", shard.busy_ratio}, {"closing", shard.closing}});
    sessions += shard.sessions;
    closing += shard.closing;
  }
  // Since the start, over all listeners: which limits bite, and what came in vain.
  std::array<std::uint64_t, kReasonCount> reasons{};
  std::uint64_t clones = 0, silent = 0, to_broker = 0, to_client = 0;
  struct OfListener {
    std::uint64_t sessions = 0, handshakes = 0, rejections = 0;
  };
  std::vector<OfListener> by_listener(parts_.config.listeners.size());
  std::array<std::uint64_t, kTlsMakerNames.size()> tls_by{};
  for (const ShardCounters* shard : parts_.plane.counters()) {
    for (std::size_t by = 0; by < tls_by.size(); ++by) tls_by[by] += shard->tls_by[by].get();
    to_broker += shard->bytes_to_broker.get();
    to_client += shard->bytes_to_client.get();
    for (std::size_t i = 0; i < shard->listeners.size() && i < by_listener.size(); ++i) {
      add_figures(shard->listeners[i], by_listener[i].sessions, by_listener[i].handshakes, by_listener[i].rejections);
    }
    for (const ListenerCounters& listener : shard->listeners) {
      for (std::size_t reason = 1; reason < kReasonCount; ++reason)
        reasons[reason] += listener.rejections[reason].get();
      clones += listener.clones.get();
      silent += listener.silent.get();
    }
  }
  Json rejected = Json::object();
  for (std::size_t reason = 1; reason < kReasonCount; ++reason) {
    if (reasons[reason] > 0) rejected[std::string(kReasons[reason].name)] = reasons[reason];
  }
  Json listeners = Json::array();
  for (std::size_t i = 0; i < by_listener.size(); ++i) {
    listeners.push_back({{"name", parts_.config.listeners[i].name},
                         {"sessions", by_listener[i].sessions},
                         {"handshakes", by_listener[i].handshakes},
                         {"rejections", by_listener[i].rejections}});
  }
  const Outcomes::Reload reload = parts_.outcomes.reload();
  const std::int64_t now = std::time(nullptr);
  const auto uptime = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - began_);
  Json warnings = Json::array();
  for (const Warnings::Warning& warning : parts_.warnings.all()) {
    warnings.push_back({{"kind", std::string(Warnings::kKinds[static_cast<std::size_t>(warning.kind)])},
                        {"about", warning.about},
                        {"what", warning.what},
                        {"since", utc(warning.since)}});
  }
  Json upstreams = Json::array();
  for (const UpstreamInfo& upstream : parts_.plane.upstreams()) upstreams.push_back(to_json(upstream));
  const std::vector<CrlRecord> crls = parts_.registrar.crls();
  const auto overdue = std::count_if(crls.begin(), crls.end(), [&](const CrlRecord& crl) { return crl.overdue(now); });
  const std::string not_ready = parts_.not_ready ? parts_.not_ready() : "";
  return ok(
      {{"version", SALLYPORT_VERSION},
       {"uptime_seconds", uptime.count()},
       {"state", std::string(parts_.state())},
       {"not_ready", not_ready.empty() ? Json(nullptr) : Json(not_ready)},
       {"io", std::string(parts_.plane.io_name())},
       {"sessions", sessions},
       {"sessions_closing", closing},
       {"tls", {{kTlsMakerNames[0], tls_by[0]}, {kTlsMakerNames[1], tls_by[1]}}},
       {"rejections", std::move(rejected)},
       {"clones", clones},
       {"connections_silent", silent},
       {"bytes", {{"to_broker", to_broker}, {"to_client", to_client}}},
       {"listeners", std::move(listeners)},
       {"shards", std::move(shards)},
       {"devices", to_json(stats.devices)},
       {"devices_expiring_within_30d", parts_.registrar.devices_expiring(now, now + 30LL * 86400)},
       {"cas", {{"active", stats.cas_active}, {"inactive", stats.cas_inactive}}},
       {"crls", {{"imported", crls.size()}, {"overdue", overdue}}},
       {"registration_queue", {{"depth", stats.queued}, {"limit", parts_.config.registry.queue}}},
       {"imports",
        {{"running", imports_.running.load()},
         {"certificates_read", imports_.read.load()},
         {"registered", imports_.registered.load()},
         {"failed", imports_.failed.load()}}},
       {"registrations_refused_late", stats.refused},
       {"store_errors", stats.store_errors},
       {"store_stalled", stats.stalled},
       {"store_free_bytes", free_bytes(parts_.config.state_dir)},
       {"restrictions_not_durable", stats.not_durable},
       {"upstreams", std::move(upstreams)},
       {"reload", {{"at", utc(reload.at)}, {"refused", reload.refused.empty() ? Json(nullptr) : Json(reload.refused)}}},
       {"warnings", std::move(warnings)},
       {"registry", registry_status()},
       {"revision", stats.revision}});
}

HttpResponse AdminApi::list_tokens(const Call& call) {
  Json items = Json::array();
  for (const TokenInfo& token : parts_.access.list()) items.push_back(to_json(token));
  return page_of(std::move(items), "name", call.request);
}

HttpResponse AdminApi::create_token(const Call& call) {
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto name = text_member(*body, "name");
  if (!name) return refused(name.error());
  const auto role = text_member(*body, "role");
  if (!role) return refused(role.error());
  if (*role != "viewer" && *role != "operator") return invalid("role must be \"viewer\" or \"operator\"");
  std::int64_t ttl = 0;
  if (body->contains("ttl_seconds") && !(*body)["ttl_seconds"].is_null()) {
    const Json& value = (*body)["ttl_seconds"];
    if (!value.is_number_integer()) return invalid("ttl_seconds must be a whole number");
    ttl = value.get<std::int64_t>();
    if (ttl < 1 || ttl > 3660LL * 86400) return invalid("ttl_seconds must be between 1 and ten years");
  }
  const auto created = parts_.access.create(*name, *role == "operator", ttl, call.caller.actor);
  if (!created) return refused(created.error());
  Json json = to_json(created->info);
  json["token"] = created->token;
  return ok(json, 201);
}

HttpResponse AdminApi::revoke_token(const Call& call) {
  const std::string name = call.args.empty() ? query_value(call.request.query, "name") : call.args[0];
  if (name.empty()) return invalid("name the token: /v1/tokens/NAME");
  const auto revoked = parts_.access.revoke(name, call.caller.actor);
  return revoked ? ok(to_json(*revoked)) : refused(revoked.error());
}

// Over the network only into admin.backup_dir; whoever may open the admin socket may also name a folder.
HttpResponse AdminApi::backup(const Call& call) {
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto name = text_member(*body, "name");
  if (!name) return refused(name.error());
  const auto dir = text_member(*body, "dir");
  if (!dir) return refused(dir.error());
  std::string target;
  if (!dir->empty()) {
    if (!call.caller.local) {
      return problem(403, "forbidden", "over the network a backup goes into admin.backup_dir: give it a name");
    }
    if (dir->front() != '/') return invalid("dir must be an absolute path");
    target = *dir;
  } else {
    const bool plain = !name->empty() && name->size() <= 100 && name->front() != '.' &&
                       std::all_of(name->begin(), name->end(), [](unsigned char c) {
                         return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
                       });
    if (!plain) return invalid("a backup's name has 1 to 100 letters, digits, '-', '_' or '.', and no '.' in front");
    const std::string& folder = parts_.config.admin.backup_dir;
    if (folder.empty()) {
      return problem(409, "conflict", "admin.backup_dir is not set: name a folder there, or use the admin socket");
    }
    std::error_code failure;
    std::filesystem::create_directories(folder, failure);
    if (!failure) std::filesystem::permissions(folder, std::filesystem::perms::owner_all, failure);
    if (failure) return problem(503, "unavailable", "admin.backup_dir: " + folder + ": " + failure.message());
    target = folder + "/" + *name;
  }
  // Whoever waited for it would keep a worker from what is asked of the others.
  const std::unique_lock one_at_a_time(backup_mutex_, std::try_to_lock);
  if (!one_at_a_time) return problem(409, "conflict", "a backup is being made: ask again when it is done");
  const auto made = make_backup(parts_.store, target);
  parts_.outcomes.backed_up(static_cast<bool>(made));
  if (!made) {
    // Who asked may be a timer that keeps no answers.
    const std::lock_guard lock(log_mutex_);
    log_.error("backup", {{"dir", target}, {"why", made.error().what}, {"by", call.caller.actor.who}});
    return refused(made.error());
  }
  if (const auto noted = parts_.registrar.record(call.caller.actor, "backup", made->path, "made and verified");
      !noted) {
    return refused(noted.error());
  }
  return ok({{"path", made->path},
             {"files", made->files},
             {"bytes", made->bytes},
             {"revision", made->revision},
             {"created_at", utc(made->created_at)},
             {"replica", parts_.registrar.shared_state().has_value()}},
            201);
}

}  // namespace sallyport
