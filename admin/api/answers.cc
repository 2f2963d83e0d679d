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

bool is_hex(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0 || c == ':'; });
}

std::optional<Digest> full_id(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  Digest id{};
  if (text.size() != 2 * id.size() || !parse_hex(text, bytes) || bytes.size() != id.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), id.begin());
  return id;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::optional<std::string> serial_bytes(std::string_view text) {
  std::string digits(text);
  digits.erase(std::remove(digits.begin(), digits.end(), ':'), digits.end());
  if (digits.empty() || digits.size() > 256) return std::nullopt;
  if (digits.size() % 2 != 0) digits.insert(digits.begin(), '0');
  std::vector<std::uint8_t> bytes;
  if (!parse_hex(digits, bytes)) return std::nullopt;
  const auto first = std::find_if(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b != 0; });
  std::string serial(first, bytes.end());
  return serial.empty() ? std::string(1, '\0') : serial;  // zero is one byte
}

std::optional<std::int64_t> parse_utc(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return ::timegm(&parts);
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
  Json body = Json::parse(request.body, nullptr, false);
  if (!body.is_object()) return Refusal{Refusal::Kind::Invalid, "the body must be a JSON object"};
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

Answer<CaRecord> find_ca(const Registrar& registrar, std::string_view reference) {
  if (const auto id = full_id(reference)) return registrar.ca(*id);
  if (!is_hex(reference)) return bad_reference("CA");
  std::vector<CaRecord> found;
  const auto serial = serial_bytes(reference);
  const std::string prefix = reference.size() >= kPrefixDigits ? lower(reference) : "";
  for (CaRecord& ca : registrar.cas()) {
    const bool by_id = !prefix.empty() && to_hex(ca.id).substr(0, prefix.size()) == prefix;
    if (by_id || (serial && ca.certificate.serial() == *serial)) found.push_back(std::move(ca));
  }
  if (found.empty()) return Refusal{Refusal::Kind::NotFound, "no CA matches '" + std::string(reference) + "'"};
  if (found.size() == 1) return std::move(found.front());
  std::vector<Digest> ids;
  for (const CaRecord& ca : found) ids.push_back(ca.id);
  return ambiguous("CAs", reference, ids);
}

Answer<DeviceRecord> find_device(const Registrar& registrar, std::string_view reference) {
  if (const auto id = full_id(reference)) return registrar.device(*id);
  if (!is_hex(reference)) return bad_reference("device");
  std::vector<DeviceRecord> found;
  if (reference.size() >= kPrefixDigits && reference.find(':') == std::string_view::npos) {
    for (const Digest& id : registrar.devices_by_prefix(lower(reference), kMatchesShown + 1)) {
      if (auto device = registrar.device(id)) found.push_back(std::move(*device));
    }
  }
  if (const auto serial = serial_bytes(reference)) {
    DeviceQuery query;
    query.serial = *serial;
    query.limit = kMatchesShown + 1;
    if (auto page = registrar.devices(query)) {
      for (DeviceRecord& device : page->items) {
        const auto same = [&](const DeviceRecord& other) { return other.id == device.id; };
        if (std::none_of(found.begin(), found.end(), same)) found.push_back(std::move(device));
      }
    }
  }
  if (found.empty()) {
    const bool too_short = reference.size() < kPrefixDigits;
    return Refusal{Refusal::Kind::NotFound, "no device matches '" + std::string(reference) + "'" +
                                                (too_short ? ": the beginning of an id takes at least 8 digits" : "")};
  }
  if (found.size() == 1) return std::move(found.front());
  std::vector<Digest> ids;
  for (const DeviceRecord& device : found) ids.push_back(device.id);
  return ambiguous("devices", reference, ids);
}

}  // namespace sallyport
