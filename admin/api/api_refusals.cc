// Refusals: the last of each certificate and address, one by one and in groups, and the decision step by step, for a
// certificate or for a refusal that was kept.
#include <algorithm>
#include <array>
#include <ctime>
#include <iterator>
#include <map>
#include <set>

#include "admin/api/admin_api.h"
#include "admin/operations/missing_issuer.h"
#include "cache/base/text.h"
#include "cache/crypto/openssl_ptr.h"
#include "cache/crypto/sha2.h"
#include "cache/registry/follower.h"
#include "cache/standing/ca_set.h"

namespace sallyport {

namespace {

constexpr std::size_t kIdDigits = 32;

// Of what is counted together: the same after a restart, and for each shard.
std::string id_of(const Rejection& seen) {
  return to_hex(Sha256::of(seen.key())).substr(0, kIdDigits);
}

std::string address_of(const Rejection& seen) {
  return seen.peer.substr(0, seen.peer.rfind(':'));
}

// A name as people write it: "CN=Root, O=Acme" and "CN = Root,O = Acme" are one.
std::string plain_name(const std::string& name) {
  std::string plain;
  for (const char c : name) {
    while ((c == '=' || c == ',') && !plain.empty() && plain.back() == ' ') plain.pop_back();
    if (c == ' ' && !plain.empty() && (plain.back() == '=' || plain.back() == ',')) continue;
    plain += c;
  }
  return plain;
}

bool is_reason(const std::string& name) {
  return std::any_of(std::begin(kReasons), std::end(kReasons),
                     [&](const ReasonRow& each) { return each.name == name; });
}

// The steps of the decision, in the order of the README of cache/standing, and at which a refusal for this reason
// stops.
constexpr std::array<std::string_view, 9> kSteps = {
    "the connection: its limits, TLS, and possession of the private key",
    "which device it is: issuer name, serial number and fingerprint",
    "its own standing, its chain, its dates",
    "its path to a registered CA",
    "the path: signatures, dates, purpose",
    "its serial number is nobody else's",
    "it is a device: no CA, no server",
    "its registration",
    "its CONNECT, its limits there, and a broker"};

int step_of(Reason reason) {
  switch (reason) {
    case Reason::NoCertificate:
    case Reason::TlsError:
    case Reason::HandshakeTimeout:
    case Reason::RateLimited:
    case Reason::TooManyConnections:
    case Reason::BadProxyHeader: return 1;
    case Reason::DeviceInactive:
    case Reason::DeviceRevoked: return 3;
    case Reason::CaUnknown:
    case Reason::CaInactive:
    case Reason::BadSignature: return 4;
    case Reason::Expired:
    case Reason::NotYetValid:
    case Reason::BadPurpose:
    case Reason::BadChain: return 5;
    case Reason::SerialConflict: return 6;
    case Reason::NotADevice: return 7;
    case Reason::NotRegistered:
    case Reason::DevicePending: return 8;
    default: return 9;
  }
}

class Steps final : public Trace {
 public:
  void step(int number, std::string_view what, std::string_view found) override {
    steps.push_back({{"step", number}, {"what", std::string(what)}, {"found", std::string(found)}});
  }
  Json steps = Json::array();
};

// What an operator can do, where more is known than the reason.
std::string_view remedy(const Verdict& refused, bool forged) {
  if (forged) {
    return "The certificate was changed after it was signed, or somebody forged it: no CA that you register helps. "
           "Read "
           "it from the device again; if it is the same, find out who made it, or issue the device a new one.";
  }
  if (refused.why == kNotInCas) {
    return "Name its CA in listener.cas of this listener and reload, or let the device connect to a listener that "
           "admits it.";
  }
  if (refused.why == kCaRevoked) {
    return "`sallyport ca activate` does not help, for the CA above it disowned this CA. Issue the device a "
           "certificate under another CA. A CA that was only on hold comes back with a CRL that lists it no more.";
  }
  return row_of(refused.reason).what_to_do;
}

constexpr std::string_view kStaleHelp =
    "Bring the shared registry back within this node's reach: `sallyport status` says why it is away. Until then the "
    "device is let in at another node.";

// A node that is stale refuses as if every CA were inactive, or registered nobody.
bool is_by_staleness(Reason reason, bool refuses_all) {
  return reason == Reason::NotRegistered || (refuses_all && reason == Reason::CaInactive);
}

// What the broker is told of an admitted device, as far as its certificate says it.
void explain_identity(const DataPlane::ListenerAdmits& listener, Verdict& verdict, Steps& trace) {
  struct Use {
    const IdentityTemplate& made;
    std::string_view what;
  };
  for (const Use& use : {Use{listener.client_id, "the client id it must have"},
                         Use{listener.broker_username, "the user name the broker is told"},
                         Use{listener.broker_client_id, "the client id the broker is told"}}) {
    if (use.made.empty()) continue;
    const std::string what = std::string(use.what) + ", " + use.made.text();
    // The client's own id is not known here; what it may not be is the same for every device.
    constexpr std::string_view kAnyId = "CLIENT-ID";
    const auto value = use.made.value(*verdict.identity, kAnyId);
    if (value) {
      trace.step(9, what,
                 use.made.uses(IdentityTemplate::Field::ClientId) ? *value + " (CLIENT-ID stands for the one it sends)"
                                                                  : *value);
      continue;
    }
    trace.step(9, what, value.error().what);
    verdict.reason = value.error().reason;
  }
  if (listener.proxy_protocol) {
    const auto cn = IdentityTemplate::value_of(IdentityTemplate::Field::Cn, *verdict.identity, {});
    trace.step(9, "the common name in the broker's PROXY header", cn ? *cn : std::string(cn.error().what));
    if (!cn) verdict.reason = cn.error().reason;
  }
  if (listener.user_properties) {
    const auto cn = IdentityTemplate::value_of(IdentityTemplate::Field::Cn, *verdict.identity, {});
    trace.step(9, "the user properties the broker is told, with MQTT 5",
               "sallyport-device, sallyport-ca" +
                   (cn ? ", sallyport-cn = " + *cn : "; no sallyport-cn: " + std::string(cn.error().what)));
  }
}

}  // namespace

HttpResponse AdminApi::list_rejections(const Call& call) {
  const auto since = since_of(call.request);
  if (!since) return refused(since.error());
  const auto limit = limit_of(call.request);
  if (!limit) return refused(limit.error());
  const std::string peer = query_value(call.request.query, "peer");
  const std::string serial_text = query_value(call.request.query, "serial");
  const auto serial = parse_serial(serial_text);
  if (!serial_text.empty() && !serial) return invalid("serial must be hex, up to 128 bytes");
  const std::string reason = query_value(call.request.query, "reason");
  const bool known =
      std::any_of(std::begin(kReasons), std::end(kReasons), [&](const ReasonRow& each) { return each.name == reason; });
  if (!reason.empty() && !known) return invalid("there is no reason '" + shortened(reason) + "'");
  const std::string listener = query_value(call.request.query, "listener");
  const std::string issuer = plain_name(query_value(call.request.query, "issuer"));
  Json items = Json::array();
  for (const Rejection& seen : parts_.rejections.all()) {
    if (seen.last < *since) continue;
    if (!reason.empty() && to_string(seen.reason) != reason) continue;
    if (!listener.empty() && seen.listener != listener) continue;
    // Whole parts of it: CN=Fleet CA finds O=Example,CN=Fleet CA, and not CN=Fleet CA 2.
    if (!issuer.empty() && ("," + plain_name(seen.issuer) + ",").find("," + issuer + ",") == std::string::npos)
      continue;
    if (serial && parse_serial(seen.serial) != serial) continue;
    const std::string address = seen.peer.substr(0, seen.peer.rfind(':'));
    if (!peer.empty() && peer != address && "[" + peer + "]" != address && peer != seen.peer) continue;
    if (items.size() == *limit) break;
    items.push_back({{"id", id_of(seen)},
                     {"reason", std::string(to_string(seen.reason))},
                     {"listener", seen.listener},
                     {"peer", seen.peer},
                     {"via", seen.via.empty() ? Json(nullptr) : Json(seen.via)},
                     {"what", std::string(seen.what)},
                     {"subject", seen.subject},
                     {"issuer", seen.issuer},
                     {"serial", seen.serial},
                     {"fingerprint", seen.fingerprint.empty() ? Json(nullptr) : Json(seen.fingerprint)},
                     {"claimed", seen.claimed},
                     {"count", seen.count},
                     {"claimed_count", seen.claimed_count},
                     {"first", utc(seen.first)},
                     {"last", utc(seen.last)}});
  }
  return ok({{"items", std::move(items)}, {"next_page_token", ""}});
}

HttpResponse AdminApi::group_rejections(const Call& call) {
  const auto since = since_of(call.request);
  if (!since) return refused(since.error());
  const auto limit = limit_of(call.request);
  if (!limit) return refused(limit.error());
  const std::string reason = query_value(call.request.query, "reason");
  if (!reason.empty() && !is_reason(reason)) return invalid("there is no reason '" + shortened(reason) + "'");
  const std::string listener = query_value(call.request.query, "listener");
  struct Group {
    Rejection last;  // with the sums of all
    std::set<std::string> addresses, listeners;
    Json ids = Json::array();
  };
  std::vector<Group> groups;  // the last one first, as they come
  std::map<std::pair<Reason, std::string>, std::size_t> place;
  for (Rejection& seen : parts_.rejections.all()) {
    if (seen.last < *since || (!listener.empty() && seen.listener != listener)) continue;
    if (!reason.empty() && to_string(seen.reason) != reason) continue;
    const std::string whose = seen.fingerprint.empty() ? "@" + address_of(seen) : seen.fingerprint;
    const auto [at, is_new] = place.try_emplace({seen.reason, whose}, groups.size());
    if (is_new) {
      groups.push_back({seen, {}, {}, Json::array()});
    } else {
      Rejection& sum = groups[at->second].last;
      sum.count += seen.count;
      sum.claimed_count += seen.claimed_count;
      sum.first = std::min(sum.first, seen.first);
    }
    Group& group = groups[at->second];
    group.addresses.insert(address_of(seen));
    group.listeners.insert(seen.listener);
    group.ids.push_back(id_of(seen));
  }
  Json items = Json::array();
  for (Group& group : groups) {
    if (items.size() == *limit) break;
    const Rejection& last = group.last;
    items.push_back({{"reason", std::string(to_string(last.reason))},
                     {"what_to_do", std::string(row_of(last.reason).what_to_do)},
                     {"fingerprint", last.fingerprint.empty() ? Json(nullptr) : Json(last.fingerprint)},
                     {"subject", last.subject},
                     {"issuer", last.issuer},
                     {"serial", last.serial},
                     {"count", last.count},
                     {"claimed_count", last.claimed_count},
                     {"peers", group.addresses.size()},
                     {"last_peer", last.peer},
                     {"listeners", group.listeners},
                     {"first", utc(last.first)},
                     {"last", utc(last.last)},
                     {"ids", std::move(group.ids)}});
  }
  return ok({{"items", std::move(items)}, {"next_page_token", ""}});
}

Answer<Rejection> AdminApi::kept_refusal(const std::string& id) const {
  for (Rejection& seen : parts_.rejections.all()) {
    if (id_of(seen) == id) return std::move(seen);
  }
  return Refusal{Refusal::Kind::NotFound,
                 "no kept refusal has the id '" + shortened(id) + "': newer ones took its place"};
}

// Of a certificate that is not here. What was found at each step is not known any more, but for the last.
HttpResponse AdminApi::explain_kept(const Rejection& refusal) {
  const int stopped = step_of(refusal.reason);
  Json steps = Json::array();
  for (int step = 1; step <= stopped; ++step) {
    std::string found = "passed";
    if (step == 1 && refusal.claimed) found = "the key was not proven: it was refused before";
    if (step == stopped)
      found = refusal.what.empty() ? std::string(to_string(refusal.reason)) : std::string(refusal.what);
    steps.push_back(
        {{"step", step}, {"what", std::string(kSteps[static_cast<std::size_t>(step) - 1])}, {"found", found}});
  }
  return ok({{"admitted", false},
             {"reason", std::string(to_string(refusal.reason))},
             {"what_to_do", std::string(row_of(refusal.reason).what_to_do)},
             {"id", refusal.fingerprint},
             {"subject", refusal.subject},
             {"serial", refusal.serial},
             {"at", utc(refusal.last)},
             {"source", "refusal"},
             {"stopped_at", stopped},
             {"steps", std::move(steps)}});
}

HttpResponse AdminApi::explain(const Call& call) {
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  auto chain = certificates_of(*body, "chain");
  if (!chain) return refused(chain.error());
  const auto device = text_member(*body, "device");
  if (!device) return refused(device.error());
  const auto refusal = text_member(*body, "refusal");
  if (!refusal) return refused(refusal.error());
  auto listener = text_member(*body, "listener");
  if (!listener) return refused(listener.error());
  if ((chain->empty() ? 0 : 1) + (device->empty() ? 0 : 1) + (refusal->empty() ? 0 : 1) != 1) {
    return invalid(
        "the body must be {\"chain\": PEM}, {\"device\": ID} or {\"refusal\": ID of /v1/rejections}, each with "
        "\"listener\"?: NAME and \"at\"?: TIME");
  }
  std::optional<Digest> registered;
  if (!refusal->empty()) {
    const auto kept = kept_refusal(*refusal);
    if (!kept) return refused(kept.error());
    registered = parse_digest(kept->fingerprint);
    if (!registered || !parts_.registrar.device(*registered)) return explain_kept(*kept);
    if (listener->empty() && parts_.plane.listener_admits(kept->listener)) *listener = kept->listener;
  } else if (!device->empty()) {
    const auto found = find_device(parts_.registrar, *device);
    if (!found) return refused(found.error());
    registered = found->id;
  }
  if (registered) {
    auto certificate = parts_.registrar.device_certificate(*registered);
    if (!certificate) return refused(certificate.error());
    chain->push_back(std::move(*certificate));
  }
  const auto at_text = text_member(*body, "at");
  if (!at_text) return refused(at_text.error());
  const auto at = at_text->empty() ? std::optional(std::int64_t{std::time(nullptr)}) : parse_utc(*at_text);
  if (!at) return invalid("at must be a time such as 2026-11-21T04:13:00Z");
  Steps trace;
  Admits admits;
  bool mutual = true;
  std::optional<DataPlane::ListenerAdmits> settings;
  if (!listener->empty()) {
    settings = parts_.plane.listener_admits(*listener);
    if (!settings) return problem(404, "not-found", "there is no listener '" + *listener + "'");
    admits.cas = settings->cas;
    mutual = settings->auth == AuthMode::Mutual;
  }
  Verdict verdict;
  if (mutual) {
    trace.step(1, "possession of the private key", "proven by TLS in a handshake; not part of a file");
    const X509StackPtr sent(sk_X509_new_null());
    for (std::size_t i = 1; i < chain->size(); ++i) sk_X509_push(sent.get(), (*chain)[i].x509());
    const auto cas = parts_.registrar.ca_set();
    verdict = parts_.gate.decide({chain->front().x509(), sent.get()}, *cas, admits, *at, &trace);
    if (settings && verdict.admitted() && verdict.identity) explain_identity(*settings, verdict, trace);
    if (verdict.admitted() && verdict.pending) verdict.reason = Reason::DevicePending;
  } else {
    trace.step(1, "listener " + *listener + " is one-way", "no certificate is asked for: everybody is admitted");
  }
  bool forged = false;
  if (verdict.reason == Reason::CaUnknown || verdict.reason == Reason::BadSignature) {
    const MissingIssuer missing = missing_issuer(*chain, parts_.registrar.cas());
    forged = missing.forged;
    if (!missing.what.empty()) {
      trace.step(trace.steps.empty() ? 1 : trace.steps.back()["step"].get<int>(),
                 forged ? "what is wrong" : "what is missing", missing.what);
    }
  }
  std::string_view help = remedy(verdict, forged);
  const auto shared = parts_.registrar.shared_state();
  if (shared && shared->stale && is_by_staleness(verdict.reason, shared->refuses_all)) {
    help = kStaleHelp;
    trace.step(trace.steps.empty() ? 1 : trace.steps.back()["step"].get<int>(), "the shared registry",
               "this node has not had all of it for registry.stale_after, so " +
                   std::string(shared->refuses_all ? "it refuses every device" : "it refuses whom it does not know"));
  }
  const Certificate& leaf = chain->front();
  const auto* serial = reinterpret_cast<const std::uint8_t*>(leaf.serial().data());
  return ok({{"admitted", verdict.admitted()},
             {"reason", verdict.admitted() ? Json(nullptr) : Json(std::string(to_string(verdict.reason)))},
             {"what_to_do", verdict.admitted() ? Json(nullptr) : Json(std::string(help))},
             {"id", to_hex(leaf.fingerprint())},
             {"subject", leaf.subject()},
             {"serial", serial_hex({serial, leaf.serial().size()})},
             {"at", utc(*at)},
             {"source", "certificate"},
             {"stopped_at", verdict.admitted() || trace.steps.empty() ? Json(nullptr) : trace.steps.back()["step"]},
             {"steps", std::move(trace.steps)}});
}

}  // namespace sallyport
