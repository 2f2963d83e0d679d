// The API's JSON objects (admin/docs/api.md), made from what the lower floors return. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cache/registry/registrar.h"
#include "proxy/data_plane.h"

namespace sallyport {

using Json = nlohmann::ordered_json;

std::optional<DeviceStatus> device_status(std::string_view name);
std::optional<CaStatus> ca_status(std::string_view name);

std::string utc(std::int64_t unix_seconds);  // RFC 3339, "2026-11-21T04:13:00Z"
std::optional<std::int64_t> parse_utc(const std::string& text);
// What somebody sent. Discarded (is_discarded()) where it is no JSON, or nested deeper than anything that is asked for:
// nlohmann copies a value by recursion, and a deep one would end the process.
inline constexpr int kDeepestJson = 32;
Json parse_json(std::string_view text);
Json to_json(const CaRecord& ca);
Json to_json(const DeviceRecord& device, std::uint64_t sessions);
Json to_json(const ChainMember& member);
Json to_json(const ListenerInfo& listener);
Json to_json(const UpstreamInfo& upstream);
Json to_json(const DeviceCounts& counts);
// Text of certificates need not be UTF-8: what is not becomes U+FFFD.
std::string dump(const Json& json);

}  // namespace sallyport
