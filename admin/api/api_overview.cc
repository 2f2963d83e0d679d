// What somebody should look at, for the first page of a console: made of what is known anyway, nothing is counted for
// it.
#include <algorithm>
#include <ctime>

#include "admin/api/admin_api.h"
#include "cache/registry/follower.h"

namespace sallyport {

namespace {

constexpr std::int64_t kSoon = 30LL * 86400;

enum class Severity : std::uint8_t { Error, Warning, Info };
constexpr std::string_view kSeverities[] = {"error", "warning", "info"};

class Attention {
 public:
  void add(Severity severity, const char* kind, std::uint64_t count, std::string about, std::string what) {
    found_.push_back({severity,
                      {{"kind", kind},
                       {"severity", std::string(kSeverities[static_cast<std::size_t>(severity)])},
                       {"what", std::move(what)},
                       {"count", count},
                       {"about", std::move(about)}}});
  }
  // Of something that ends: over is worse than soon.
  void ends(const char* kind, std::string about, const std::string& what, std::int64_t not_after, std::int64_t now) {
    if (not_after > now + kSoon) return;
    const bool over = not_after < now;
    add(over ? Severity::Error : Severity::Warning, kind, 1, std::move(about),
        what + (over ? " ended at " : " ends at ") + utc(not_after));
  }
  Json items() {
    std::stable_sort(found_.begin(), found_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    Json all = Json::array();
    for (auto& [severity, item] : found_) all.push_back(std::move(item));
    return all;
  }

 private:
  std::vector<std::pair<Severity, Json>> found_;
};

void look_at_shared(const SharedState& shared, Attention& attention) {
  if (shared.stale) {
    attention.add(
        Severity::Error, "registry-stale", 1, "",
        std::string(shared.refuses_all ? "every device is refused" : "devices that are unknown here are refused") +
            ": this node has not had all of the shared registry for registry.stale_after");
  }
  if (!shared.connected && !shared.why.empty()) {
    attention.add(Severity::Error, "registry-away", 1, "", "the shared registry is not followed: " + shared.why);
  }
  if (shared.connected && !shared.why.empty()) {
    attention.add(Severity::Error, "registry-held-up", 1, "", "the shared registry takes no change: " + shared.why);
  }
  if (shared.same_name) {
    attention.add(Severity::Error, "node-name", 1, "",
                  "another process has this node's name: this one is listed as " + shared.node +
                      "; set registry.node on each machine");
  }
}

}  // namespace

HttpResponse AdminApi::list_attention(const Call&) {
  const std::int64_t now = std::time(nullptr);
  const RegistrarStats stats = parts_.registrar.stats();
  Attention attention;
  if (stats.stalled) {
    attention.add(Severity::Error, "store", 1, "", "the disk does not answer: new devices are not registered");
  }
  if (const auto shared = parts_.registrar.shared_state()) look_at_shared(*shared, attention);
  for (const UpstreamInfo& upstream : parts_.plane.upstreams()) {
    std::uint64_t down = 0;
    std::string names;
    for (const ServerInfo& server : upstream.servers) {
      if (server.drained || server.there() || server.state == "removed" || server.state == "unknown") continue;
      ++down;
      names += (names.empty() ? "" : ", ") + server.server + " is " + server.state;
    }
    if (down == 0) continue;
    attention.add(upstream.any_there() ? Severity::Warning : Severity::Error, "broker-down", down, upstream.name,
                  names);
  }
  for (const ListenerInfo& listener : parts_.plane.listeners()) {
    for (std::size_t i = 0; i < listener.not_after.size(); ++i) {
      attention.ends("server-certificate-ends", listener.name,
                     "the certificate " + to_hex(listener.certificates[i]).substr(0, kPrefixDigits) + " of listener " +
                         listener.name,
                     listener.not_after[i], now);
    }
  }
  for (const CaRecord& ca : parts_.registrar.cas()) {
    if (ca.status != CaStatus::Active) continue;
    attention.ends("ca-ends", to_hex(ca.id), "the CA " + ca.certificate.subject(), ca.certificate.not_after(), now);
  }
  for (const CrlRecord& crl : parts_.registrar.crls()) {
    if (!crl.overdue(now)) continue;
    attention.add(Severity::Warning, "crl-overdue", 1, to_hex(crl.ca),
                  "the next CRL was due at " + utc(crl.next_update) + ": what was revoked since is not known here");
  }
  for (const Warnings::Warning& warning : parts_.warnings.all()) {
    attention.add(Severity::Warning, "warning", 1, warning.about, warning.what);
  }
  if (const Outcomes::Reload reload = parts_.outcomes.reload(); !reload.refused.empty()) {
    attention.add(Severity::Warning, "reload-refused", 1, "", reload.refused);
  }
  if (stats.devices.pending > 0) {
    attention.add(Severity::Warning, "pending-devices", stats.devices.pending, "",
                  std::to_string(stats.devices.pending) + " devices wait for approval");
  }
  if (const std::uint64_t ending = parts_.registrar.devices_expiring(now, now + kSoon); ending > 0) {
    attention.add(Severity::Info, "devices-end", ending, "",
                  "the certificates of " + std::to_string(ending) + " devices end within 30 days");
  }
  return ok({{"items", attention.items()}, {"next_page_token", ""}});
}

}  // namespace sallyport
