// Devices, and what the gate would say to one.
#include <algorithm>
#include <ctime>

#include "admin/api/admin_api.h"
#include "cache/standing/ca_set.h"

namespace sallyport {

Answer<DeviceQuery> AdminApi::device_query(const std::function<std::string(const char*)>& value) const {
  DeviceQuery query;
  const auto bad = [](const char* what) { return Refusal{Refusal::Kind::Invalid, what}; };
  if (const std::string serial = value("serial"); !serial.empty()) {
    const auto bytes = parse_serial(serial);
    if (!bytes) return bad("serial must be hex, up to 128 bytes");
    query.serial = *bytes;
  }
  if (std::string digits = lower(value("serial_prefix")); !digits.empty()) {
    digits.erase(std::remove(digits.begin(), digits.end(), ':'), digits.end());
    const bool hex = digits.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!hex || digits.empty() || digits.size() > 256) return bad("serial_prefix must be hex, up to 256 digits");
    query.serial_prefix = std::move(digits);
  }
  if (const std::string ca = value("ca"); !ca.empty()) {
    const auto found = find_ca(parts_.registrar, ca);
    if (!found) return found.error();
    query.ca = found->id;
  }
  if (const std::string status = value("status"); !status.empty()) {
    query.status = device_status(status);
    if (!query.status) return bad("status must be active, inactive, pending or revoked");
  }
  query.cn_glob = value("cn");
  query.cn_part = value("cn_part");
  if (const std::string before = value("expires_before"); !before.empty()) {
    query.expires_before = parse_utc(before);
    if (!query.expires_before) return bad("expires_before must be a time such as 2026-11-21T04:13:00Z");
  }
  if (const std::string after = value("expires_after"); !after.empty()) {
    query.expires_after = parse_utc(after);
    if (!query.expires_after) return bad("expires_after must be a time such as 2026-11-21T04:13:00Z");
  }
  return query;
}

HttpResponse AdminApi::list_devices(const Call& call) {
  auto asked = device_query([&](const char* name) { return query_value(call.request.query, name); });
  if (!asked) return refused(asked.error());
  DeviceQuery query = std::move(*asked);
  const auto limit = limit_of(call.request);
  if (!limit) return refused(limit.error());
  query.limit = *limit;
  query.page_token = query_value(call.request.query, "page_token");
  const auto page = parts_.registrar.devices(query);
  if (!page) return refused(page.error());
  std::vector<Digest> ids;
  for (const DeviceRecord& device : page->items) ids.push_back(device.id);
  const std::vector<std::uint64_t> sessions = parts_.plane.sessions_of_devices(ids);
  Json items = Json::array();
  for (std::size_t i = 0; i < ids.size(); ++i) items.push_back(device_json(page->items[i], sessions[i]));
  return ok({{"items", std::move(items)}, {"next_page_token", page->next_page_token}});
}

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
  const auto chain = parts_.registrar.chain_of(device->id);
  if (!chain) return refused(chain.error());
  json["chain"] = Json::array();
  for (const ChainMember& each : *chain) json["chain"].push_back(to_json(each));
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

}  // namespace sallyport
