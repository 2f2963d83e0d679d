// Devices, and what the gate would say to one.
#include <ctime>

#include "admin/api/admin_api.h"
#include "admin/operations/missing_issuer.h"
#include "cache/crypto/openssl_ptr.h"
#include "cache/standing/ca_set.h"

namespace sallyport {

HttpResponse AdminApi::list_devices(const Call& call) {
  DeviceQuery query;
  const auto value = [&](std::string_view name) { return query_value(call.request.query, name); };
  if (const std::string serial = value("serial"); !serial.empty()) {
    const auto bytes = parse_serial(serial);
    if (!bytes) return invalid("serial must be hex, up to 128 bytes");
    query.serial = *bytes;
  }
  if (const std::string ca = value("ca"); !ca.empty()) {
    const auto found = find_ca(parts_.registrar, ca);
    if (!found) return refused(found.error());
    query.ca = found->id;
  }
  if (const std::string status = value("status"); !status.empty()) {
    query.status = device_status(status);
    if (!query.status) return invalid("status must be active, inactive, pending or revoked");
  }
  query.cn_glob = value("cn");
  if (const std::string before = value("expires_before"); !before.empty()) {
    query.expires_before = parse_utc(before);
    if (!query.expires_before) return invalid("expires_before must be a time such as 2026-11-21T04:13:00Z");
  }
  const auto limit = limit_of(call.request);
  if (!limit) return refused(limit.error());
  query.limit = *limit;
  query.page_token = value("page_token");
  const auto page = parts_.registrar.devices(query);
  if (!page) return refused(page.error());
  std::vector<Digest> ids;
  for (const DeviceRecord& device : page->items) ids.push_back(device.id);
  const std::vector<std::uint64_t> sessions = parts_.plane.sessions_of_devices(ids);
  Json items = Json::array();
  for (std::size_t i = 0; i < ids.size(); ++i) items.push_back(device_json(page->items[i], sessions[i]));
  return ok({{"items", std::move(items)}, {"next_page_token", page->next_page_token}});
}

namespace {

// PEM certificates in a member that is text, or an array of texts.
Answer<std::vector<Certificate>> certificates_of(const Json& body, const char* key) {
  std::vector<Certificate> all;
  const auto found = body.find(key);
  if (found == body.end() || found->is_null()) return all;
  const Json list = found->is_array() ? *found : Json::array({*found});
  for (const Json& each : list) {
    const auto text = text_member(Json{{key, each}}, key);
    if (!text) return text.error();
    auto bundle = Certificate::bundle_from_pem(*text);
    if (!bundle) return Refusal{Refusal::Kind::Invalid, std::string(key) + ": " + bundle.error().what};
    for (Certificate& certificate : *bundle) all.push_back(std::move(certificate));
    if (all.size() > 64) return Refusal{Refusal::Kind::Invalid, std::string(key) + " holds too many certificates"};
  }
  return all;
}

}  // namespace

HttpResponse AdminApi::register_device(const Call& call) {
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto leaf = certificates_of(*body, "certificate");
  if (!leaf) return refused(leaf.error());
  if (leaf->empty()) return invalid("the body must be {\"certificate\": PEM, \"intermediates\"?: PEM}");
  auto intermediates = certificates_of(*body, "intermediates");
  if (!intermediates) return refused(intermediates.error());
  // A chain in one text: the leaf first, as a device would send it. A second device in it would be passed over in
  // silence.
  for (std::size_t i = 1; i < leaf->size(); ++i) {
    if (!(*leaf)[i].is_ca()) {
      return invalid("certificate " + std::to_string(i + 1) + " of " + std::to_string(leaf->size()) + ", " +
                     (*leaf)[i].subject() +
                     ", is no CA's: one device is registered here, with its intermediates behind it; send several to "
                     "/v1/devices/import");
    }
    intermediates->push_back((*leaf)[i]);
  }
  const auto cas = parts_.registrar.ca_set();
  Examined examined = examine_device(parts_.gate, *cas, leaf->front(), *intermediates, std::time(nullptr));
  const Digest id = leaf->front().fingerprint();
  if (!examined.verdict.admitted()) {
    return problem(409, std::string(to_string(examined.verdict.reason)),
                   "a connection of this device would be refused: " + in_words(examined.verdict) +
                       "; `sallyport explain` shows each step");
  }
  if (!examined.registration) return device_answer(parts_.registrar.device(id));  // registered before
  std::vector<Registration> one;
  one.push_back(std::move(*examined.registration));
  const auto outcome = parts_.registrar.register_devices(std::move(one), call.caller.actor);
  if (!outcome) return refused(outcome.error());
  const Registered& registered = outcome->front();
  if (registered.refused != Reason::None) {
    return problem(409, std::string(to_string(registered.refused)),
                   "it was refused when it was to be written: " + std::string(to_string(registered.refused)));
  }
  return device_answer(parts_.registrar.device(id), registered.already ? 200 : 201);
}

// Its body goes to an Importer (plan()); only a request without one comes here.
HttpResponse AdminApi::import_devices(const Call&) {
  return invalid("the body must be PEM certificates");
}

// The registry keeps the day of a device's last connection; since the start of the process the second is known, of the
// devices that were here lately.
Json AdminApi::device_json(const DeviceRecord& device, std::uint64_t sessions) const {
  Json json = to_json(device, sessions);
  if (const std::int64_t at = parts_.plane.last_connected(device.id); at != 0) {
    json["last_seen"] = utc(at);
    json["last_seen_to"] = "second";
  }
  return json;
}

HttpResponse AdminApi::device_answer(const Answer<DeviceRecord>& answer, unsigned status) {
  if (!answer) return refused(answer.error());
  return ok(device_json(*answer, parts_.plane.sessions_of_device(answer->id)), status);
}

HttpResponse AdminApi::show_device(const Call& call) {
  const auto device = find_device(parts_.registrar, call.args[0]);
  if (!device) return refused(device.error());
  Json json = device_json(*device, parts_.plane.sessions_of_device(device->id));
  json["last_refusal"] = nullptr;
  const std::string id = to_hex(device->id);
  for (const Rejection& seen : parts_.rejections.all()) {  // the last one first
    if (seen.fingerprint != id) continue;
    json["last_refusal"] = {{"reason", std::string(to_string(seen.reason))},
                            {"at", utc(seen.last)},
                            {"listener", seen.listener},
                            {"peer", seen.peer},
                            {"what", std::string(seen.what)},
                            {"claimed", seen.claimed}};
    break;
  }
  return ok(json);
}

HttpResponse AdminApi::device_certificate(const Call& call) {
  const auto device = find_device(parts_.registrar, call.args[0]);
  if (!device) return refused(device.error());
  const auto certificate = parts_.registrar.device_certificate(device->id);
  return certificate ? HttpResponse{200, "application/x-pem-file", certificate->pem()} : refused(certificate.error());
}

HttpResponse AdminApi::set_device(const Call& call, DeviceStatus status) {
  const auto id = parse_digest(call.args[0]);
  if (!id) return refused(needs_full_id());
  const auto how = how_to_change(call);
  if (!how) return refused(how.error());
  return with_nodes(device_answer(how->local ? parts_.registrar.restrict_device_here(*id, status, call.caller.actor)
                                             : parts_.registrar.set_device_status(*id, status, call.caller.actor)),
                    *how);
}
HttpResponse AdminApi::activate_device(const Call& call) {
  return set_device(call, DeviceStatus::Active);
}
HttpResponse AdminApi::deactivate_device(const Call& call) {
  return set_device(call, DeviceStatus::Inactive);
}
HttpResponse AdminApi::revoke_device(const Call& call) {
  return set_device(call, DeviceStatus::Revoked);
}

HttpResponse AdminApi::delete_device(const Call& call) {
  const auto id = parse_digest(call.args[0]);
  if (!id) return refused(needs_full_id());
  const auto how = how_to_change(call);
  if (!how) return refused(how.error());
  return with_nodes(device_answer(parts_.registrar.delete_device(*id, call.caller.actor)), *how);
}

namespace {

class Steps final : public Trace {
 public:
  void step(int number, std::string_view what, std::string_view found) override {
    steps.push_back({{"step", number}, {"what", std::string(what)}, {"found", std::string(found)}});
  }
  Json steps = Json::array();
};

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

HttpResponse AdminApi::explain(const Call& call) {
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto chain = certificates_of(*body, "chain");
  if (!chain) return refused(chain.error());
  if (chain->empty()) return invalid("the body must be {\"chain\": PEM, \"listener\"?: NAME, \"at\"?: TIME}");
  const auto listener = text_member(*body, "listener");
  if (!listener) return refused(listener.error());
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
  if (verdict.reason == Reason::CaUnknown || verdict.reason == Reason::BadSignature) {
    if (const std::string missing = missing_issuer(*chain, parts_.registrar.cas()); !missing.empty()) {
      trace.step(trace.steps.empty() ? 1 : trace.steps.back()["step"].get<int>(), "what is missing", missing);
    }
  }
  const Certificate& leaf = chain->front();
  const auto* serial = reinterpret_cast<const std::uint8_t*>(leaf.serial().data());
  return ok({{"admitted", verdict.admitted()},
             {"reason", verdict.admitted() ? Json(nullptr) : Json(std::string(to_string(verdict.reason)))},
             {"what_to_do", verdict.admitted() ? Json(nullptr) : Json(std::string(row_of(verdict.reason).what_to_do))},
             {"id", to_hex(leaf.fingerprint())},
             {"subject", leaf.subject()},
             {"serial", serial_hex({serial, leaf.serial().size()})},
             {"at", utc(*at)},
             {"steps", std::move(trace.steps)}});
}

}  // namespace sallyport
