// CAs, their codes, and CRLs.
#include <algorithm>
#include <ctime>

#include "admin/api/admin_api.h"
#include "cache/standing/ca_set.h"

namespace sallyport {

HttpResponse AdminApi::issue_code(const Call& call) {
  std::int64_t ttl = 24 * 3600;
  if (!call.request.body.empty()) {
    const auto body = json_object(call.request);
    if (!body) return refused(body.error());
    if (body->contains("ttl_seconds")) {
      const Json& value = (*body)["ttl_seconds"];
      if (!value.is_number_integer()) return invalid("ttl_seconds must be a whole number");
      ttl = value.get<std::int64_t>();
    }
  }
  if (ttl < 1 || ttl > 366LL * 86400) return invalid("ttl_seconds must be between 1 and one year");
  const auto code = parts_.registrar.issue_code(ttl, call.caller.actor);
  if (!code) return refused(code.error());
  return ok({{"code", code->code}, {"expires_at", utc(code->expires_at)}}, 201);
}

// All on one page: registry.max_cas bounds them. A page_token is the id of the last one shown.
HttpResponse AdminApi::list_cas(const Call& call) {
  const std::string& asked = call.request.query;
  const std::string wanted_status = query_value(asked, "status");
  const std::string wanted_serial = query_value(asked, "serial");
  const auto status = ca_status(wanted_status);
  if (!wanted_status.empty() && !status) return invalid("status must be active or inactive");
  const auto serial = parse_serial(wanted_serial);
  if (!wanted_serial.empty() && !serial) return invalid("serial must be hex, up to 128 bytes");
  const auto limit = limit_of(call.request);
  if (!limit) return refused(limit.error());
  const std::string token = query_value(asked, "page_token");
  const auto after = parse_digest(token);
  if (!token.empty() && !after) return invalid("the page_token is not one of a list answer");
  Json items = Json::array();
  std::string next;
  std::string last;
  for (const CaRecord& ca : parts_.registrar.cas()) {
    if (after && ca.id <= *after) continue;
    if (status && ca.status != *status) continue;
    if (serial && ca.certificate.serial() != *serial) continue;
    if (items.size() == *limit) {
      next = last;
      break;
    }
    last = to_hex(ca.id);
    items.push_back(to_json(ca));
  }
  return ok({{"items", std::move(items)}, {"next_page_token", next}});
}

namespace {

// A member that is true, false, or not there.
Answer<std::optional<bool>> flag_member(const Json& body, const char* key) {
  const auto found = body.find(key);
  if (found == body.end()) return std::optional<bool>();
  if (!found->is_boolean()) return Refusal{Refusal::Kind::Invalid, std::string(key) + " must be true or false"};
  return std::optional<bool>(found->get<bool>());
}

}  // namespace

HttpResponse AdminApi::register_ca(const Call& call) {
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto certificate_text = text_member(*body, "certificate");
  if (!certificate_text) return refused(certificate_text.error());
  const auto verification_text = text_member(*body, "verification_certificate");
  if (!verification_text) return refused(verification_text.error());
  if (certificate_text->empty() || verification_text->empty()) {
    return invalid(
        "the body must be {\"certificate\": PEM, \"verification_certificate\": PEM, \"auto_register\"?, "
        "\"approve\"?}");
  }
  const auto auto_register = flag_member(*body, "auto_register"), approve = flag_member(*body, "approve");
  if (!auto_register) return refused(auto_register.error());
  if (!approve) return refused(approve.error());
  auto certificate = Certificate::from_pem(*certificate_text);
  if (!certificate) return invalid("certificate: " + certificate.error().what);
  auto verification = Certificate::from_pem(*verification_text);
  if (!verification) return invalid("verification_certificate: " + verification.error().what);
  const CaRegistration registration{std::move(*certificate), std::move(*verification), *auto_register,
                                    approve->value_or(false)};
  const auto ca = parts_.registrar.register_ca(registration, call.caller.actor);
  return ca ? ok(to_json(*ca), 201) : refused(ca.error());
}

HttpResponse AdminApi::ca_answer(const Answer<CaRecord>& answer, unsigned status) {
  if (!answer) return refused(answer.error());
  Json json = to_json(*answer);
  const Impact impact = parts_.plane.impact_of_ca(answer->id);
  json["sessions"] = impact.sessions;
  json["devices_online"] = impact.devices;
  json["admitted_through"] = Json::array();
  for (const Digest& twin : parts_.registrar.ca_set()->alive_twins(answer->id, std::time(nullptr))) {
    json["admitted_through"].push_back(to_hex(twin));
  }
  return ok(json, status);
}

HttpResponse AdminApi::show_ca(const Call& call) {
  return ca_answer(find_ca(parts_.registrar, call.args[0]));
}

HttpResponse AdminApi::ca_certificate(const Call& call) {
  const auto ca = find_ca(parts_.registrar, call.args[0]);
  return ca ? HttpResponse{200, "application/x-pem-file", ca->certificate.pem()} : refused(ca.error());
}

HttpResponse AdminApi::change_ca(const Call& call) {
  const auto id = parse_digest(call.args[0]);
  if (!id) return refused(needs_full_id());
  const auto body = json_object(call.request);
  if (!body) return refused(body.error());
  const auto auto_register = flag_member(*body, "auto_register"), approve = flag_member(*body, "approve");
  if (!auto_register) return refused(auto_register.error());
  if (!approve) return refused(approve.error());
  if (!*auto_register && !*approve)
    return invalid("the body must be {\"auto_register\"?, \"approve\"?}, one of them at least");
  return ca_answer(parts_.registrar.set_ca_joining(*id, *auto_register, *approve, call.caller.actor));
}

HttpResponse AdminApi::set_ca(const Call& call, CaStatus status) {
  const auto id = parse_digest(call.args[0]);
  if (!id) return refused(needs_full_id());
  const auto how = how_to_change(call);
  if (!how) return refused(how.error());
  return with_nodes(ca_answer(how->local ? parts_.registrar.deactivate_ca_here(*id, call.caller.actor)
                                         : parts_.registrar.set_ca_status(*id, status, call.caller.actor)),
                    *how);
}
HttpResponse AdminApi::activate_ca(const Call& call) {
  return set_ca(call, CaStatus::Active);
}
HttpResponse AdminApi::deactivate_ca(const Call& call) {
  return set_ca(call, CaStatus::Inactive);
}

HttpResponse AdminApi::delete_ca(const Call& call) {
  const auto id = parse_digest(call.args[0]);
  if (!id) return refused(needs_full_id());
  const std::string cascade = query_value(call.request.query, "cascade");
  if (!cascade.empty() && cascade != "true" && cascade != "false") return invalid("cascade must be true or false");
  const auto how = how_to_change(call);
  if (!how) return refused(how.error());
  return with_nodes(ca_answer(parts_.registrar.delete_ca(*id, cascade == "true", call.caller.actor)), *how);
}

namespace {

Json to_json(const CrlOutcome& outcome) {
  Json elsewhere = Json::array();
  for (const CrlOutcome::Elsewhere& each : outcome.elsewhere) {
    elsewhere.push_back({{"ca_id", each.ca ? Json(to_hex(*each.ca)) : Json()}, {"devices", each.devices}});
  }
  return {{"ca_id", to_hex(outcome.ca)},    {"entries", outcome.entries},
          {"revoked", outcome.revoked},     {"held", outcome.held},
          {"not_seen_yet", outcome.unseen}, {"cas_deactivated", outcome.cas},
          {"unchanged", outcome.known},     {"under_other_keys", std::move(elsewhere)}};
}

Json to_json(const CrlRecord& crl, std::int64_t now) {
  const auto* number = reinterpret_cast<const std::uint8_t*>(crl.number.data());
  const bool whole = crl.imported_at != 0;  // else a version before kept the number and the date alone
  return {{"id", crl.id},
          {"ca_id", to_hex(crl.ca)},
          {"scope", crl.scope.empty() ? Json() : Json(crl.scope)},
          {"number", crl.number.empty() ? Json() : Json(serial_hex(Bytes(number, crl.number.size())))},
          {"this_update", utc(crl.this_update)},
          {"next_update", crl.next_update == 0 ? Json() : Json(utc(crl.next_update))},
          {"entries", whole ? Json(crl.entries) : Json()},
          {"imported_at", whole ? Json(utc(crl.imported_at)) : Json()},
          {"overdue", crl.overdue(now)}};
}

// None: it names something else than full ids.
std::optional<std::vector<Digest>> full_ids(std::string_view text) {
  std::vector<Digest> ids;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    const auto id = parse_digest(text.substr(0, end));
    if (!id) return std::nullopt;
    ids.push_back(*id);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return ids;
}

}  // namespace

HttpResponse AdminApi::list_crls(const Call& call) {
  const std::int64_t now = std::time(nullptr);
  Json items = Json::array();
  for (const CrlRecord& crl : parts_.registrar.crls()) items.push_back(to_json(crl, now));
  return page_of(std::move(items), "id", call.request);
}

// One list is answered by itself; of several each is, under their sums.
HttpResponse AdminApi::import_crl(const Call& call) {
  const auto crls = Crl::parse_all(call.request.body, std::time(nullptr));
  if (!crls) return refused(crls.error());
  const auto also_under = full_ids(query_value(call.request.query, "also_under"));
  if (!also_under) return invalid("also_under takes the full id of a CA, 64 hex digits; several with commas between");
  const auto how = how_to_change(call);
  if (!how) return refused(how.error());
  const auto outcomes = parts_.registrar.import_crls(*crls, call.caller.actor, *also_under);
  if (!outcomes) return refused(outcomes.error());
  if (outcomes->size() == 1) return with_nodes(ok(to_json(outcomes->front())), *how);
  CrlOutcome sum;
  Json each = Json::array();
  for (const CrlOutcome& one : *outcomes) {
    sum.entries += one.entries;
    sum.revoked += one.revoked;
    sum.held += one.held;
    sum.unseen += one.unseen;
    sum.cas += one.cas;
    sum.known += one.known;
    sum.elsewhere.insert(sum.elsewhere.end(), one.elsewhere.begin(), one.elsewhere.end());
    each.push_back(to_json(one));
  }
  Json all = to_json(sum);
  all["ca_id"] = nullptr;
  all["crls"] = std::move(each);
  return with_nodes(ok(all), *how);
}

}  // namespace sallyport
