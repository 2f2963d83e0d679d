// What the API's handlers share: answers, refusals as problem documents, and how requests name CAs and devices
// (admin/docs/README.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "admin/http/http_server.h"
#include "admin/operations/objects.h"
#include "cache/registry/registrar.h"

namespace sallyport {

inline constexpr std::size_t kPrefixDigits = 8;
inline constexpr std::size_t kMatchesShown = 5;

HttpResponse ok(const Json& json, unsigned status = 200);
HttpResponse refused(const Refusal& refusal);
HttpResponse invalid(std::string_view what);
// One page of a list that is short and whole in memory, in its order; page_token is the `key` of the last one shown.
HttpResponse page_of(Json all, const char* key, const HttpRequest& request);

std::string lower(std::string_view text);
// How a person names a certificate: by its id, by the beginning of its id, or by its serial number. A text may be
// several of these. Nothing where it is none.
struct Reference {
  std::optional<Digest> id;
  std::string prefix;                 // lower case; empty: too short for one
  std::optional<std::string> serial;  // as Certificate::serial()
  bool names(const Digest& its_id, const std::string& its_serial) const;
};
std::optional<Reference> reference_of(std::string_view text);
Refusal needs_full_id();
Refusal bad_reference(std::string_view what);
Refusal ambiguous(std::string_view what, std::string_view reference, const std::vector<Digest>& ids);

// The request's body as an object; a refusal says what is wrong with it.
Answer<Json> json_object(const HttpRequest& request);
// A member that must be text where it is there; empty where it is not.
Answer<std::string> text_member(const Json& body, const char* key);

// PEM certificates in a member that is text, or an array of texts.
Answer<std::vector<Certificate>> certificates_of(const Json& body, const char* key);

// `limit` of a list: 1 to 1000, 100 where it is not given.
Answer<std::size_t> limit_of(const HttpRequest& request);

// `since`; 0 where it is not given.
Answer<std::int64_t> since_of(const HttpRequest& request);

Answer<CaRecord> find_ca(const Registrar& registrar, std::string_view text);
Answer<DeviceRecord> find_device(const Registrar& registrar, std::string_view text);

}  // namespace sallyport
