#include "admin/api/answers.h"

#include <algorithm>
#include <charconv>
#include <ctime>

namespace sallyport {

HttpResponse ok(const Json& json, unsigned status) {
  return {status, "application/json", dump(json)};
}

HttpResponse refused(const Refusal& refusal) {
  switch (refusal.kind) {
    case Refusal::Kind::Invalid: return problem(400, "invalid", refusal.what);
    case Refusal::Kind::NotFound: return problem(404, "not-found", refusal.what);
    case Refusal::Kind::Conflict: return problem(409, "conflict", refusal.what);
    case Refusal::Kind::Unavailable: return problem(503, "unavailable", refusal.what);
  }
  return problem(500, "internal", refusal.what);
}

HttpResponse invalid(std::string_view what) {
  return problem(400, "invalid", what);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::optional<Reference> reference_of(std::string_view text) {
  Reference reference{parse_digest(text), "", parse_serial(text)};
  if (!reference.id && !reference.serial) return std::nullopt;
  std::string digits = lower(text);
  digits.erase(std::remove(digits.begin(), digits.end(), ':'), digits.end());
  if (digits.size() >= kPrefixDigits && digits.front() != '-') reference.prefix = std::move(digits);
  return reference;
}

bool Reference::names(const Digest& its_id, const std::string& its_serial) const {
  const bool by_id = !prefix.empty() && to_hex(its_id).substr(0, prefix.size()) == prefix;
  return by_id || (serial && *serial == its_serial);
}

Refusal needs_full_id() {
  return {Refusal::Kind::Invalid, "changes take the full id of 64 hex digits, as the lists show it"};
}

Refusal bad_reference(std::string_view what) {
  return {Refusal::Kind::Invalid,
          "name the " + std::string(what) + " by its id, a prefix of its id of at least 8 hex digits, or its serial"};
}

Refusal ambiguous(std::string_view what, std::string_view reference, const std::vector<Digest>& ids) {
  std::string list;
  for (std::size_t i = 0; i < ids.size() && i < kMatchesShown; ++i) list += " " + to_hex(ids[i]);
  if (ids.size() > kMatchesShown) list += " …";
  return {Refusal::Kind::Conflict, "several " + std::string(what) + " match '" + std::string(reference) + "':" + list};
}

Answer<Json> json_object(const HttpRequest& request) {
  Json body = parse_json(request.body);
  if (!body.is_object()) {
    return Refusal{Refusal::Kind::Invalid,
                   "the body must be a JSON object, nested " + std::to_string(kDeepestJson) + " deep at most"};
  }
  return body;
}

Answer<std::string> text_member(const Json& body, const char* key) {
  const auto found = body.find(key);
  if (found == body.end() || found->is_null()) return std::string();
  if (!found->is_string()) return Refusal{Refusal::Kind::Invalid, std::string(key) + " must be text"};
  std::string text = found->get<std::string>();
  if (text.find("PRIVATE KEY-----") != std::string::npos && std::string_view(key) != "key") {
    return Refusal{Refusal::Kind::Invalid,
                   std::string(key) + " holds a private key: send the certificate alone, and treat that key as known"};
  }
  return text;
}

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

Answer<std::size_t> limit_of(const HttpRequest& request) {
  std::size_t limit = 100;
  const std::string text = query_value(request.query, "limit");
  if (text.empty()) return limit;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (failure != std::errc() || end != text.data() + text.size() || limit < 1 || limit > 1000) {
    return Refusal{Refusal::Kind::Invalid, "limit must be between 1 and 1000"};
  }
  return limit;
}

Answer<std::int64_t> since_of(const HttpRequest& request) {
  const std::string text = query_value(request.query, "since");
  if (text.empty()) return std::int64_t{0};
  const auto since = parse_utc(text);
  if (!since) return Refusal{Refusal::Kind::Invalid, "since must be a time such as 2026-11-21T04:13:00Z"};
  return *since;
}

HttpResponse page_of(Json all, const char* key, const HttpRequest& request) {
  const auto limit = limit_of(request);
  if (!limit) return refused(limit.error());
  const std::string token = query_value(request.query, "page_token");
  auto at = all.begin();
  if (!token.empty()) {
    at = std::find_if(all.begin(), all.end(), [&](const Json& each) { return each[key] == token; });
    if (at == all.end()) return invalid("the page_token is not one of a list answer");
    ++at;
  }
  Json items = Json::array();
  for (; at != all.end() && items.size() < *limit; ++at) items.push_back(std::move(*at));
  const std::string next = at == all.end() ? "" : items.back()[key].get<std::string>();
  return ok({{"items", std::move(items)}, {"next_page_token", next}});
}

Answer<CaRecord> find_ca(const Registrar& registrar, std::string_view text) {
  const auto reference = reference_of(text);
  if (!reference) return bad_reference("CA");
  if (reference->id) {
    auto ca = registrar.ca(*reference->id);
    if (ca || ca.error().kind != Refusal::Kind::NotFound) return ca;
  }
  std::vector<CaRecord> found;
  for (CaRecord& ca : registrar.cas()) {
    if (reference->names(ca.id, ca.certificate.serial())) found.push_back(std::move(ca));
  }
  if (found.empty()) return Refusal{Refusal::Kind::NotFound, "no CA matches '" + std::string(text) + "'"};
  if (found.size() == 1) return std::move(found.front());
  std::vector<Digest> ids;
  for (const CaRecord& ca : found) ids.push_back(ca.id);
  return ambiguous("CAs", text, ids);
}

Answer<DeviceRecord> find_device(const Registrar& registrar, std::string_view text) {
  const auto reference = reference_of(text);
  if (!reference) return bad_reference("device");
  if (reference->id) {
    auto device = registrar.device(*reference->id);
    if (device || device.error().kind != Refusal::Kind::NotFound) return device;
  }
  std::vector<DeviceRecord> found;
  if (!reference->prefix.empty()) {
    for (const Digest& id : registrar.devices_by_prefix(reference->prefix, kMatchesShown + 1)) {
      if (auto device = registrar.device(id)) found.push_back(std::move(*device));
    }
  }
  if (reference->serial) {
    DeviceQuery query;
    query.serial = *reference->serial;
    query.limit = kMatchesShown + 1;
    if (auto page = registrar.devices(query)) {
      for (DeviceRecord& device : page->items) {
        const auto same = [&](const DeviceRecord& other) { return other.id == device.id; };
        if (std::none_of(found.begin(), found.end(), same)) found.push_back(std::move(device));
      }
    }
  }
  if (found.empty()) {
    const bool too_short = text.size() < kPrefixDigits;
    return Refusal{Refusal::Kind::NotFound, "no device matches '" + std::string(text) + "'" +
                                                (too_short ? ": the beginning of an id takes at least 8 digits" : "")};
  }
  if (found.size() == 1) return std::move(found.front());
  std::vector<Digest> ids;
  for (const DeviceRecord& device : found) ids.push_back(device.id);
  return ambiguous("devices", text, ids);
}

}  // namespace sallyport
