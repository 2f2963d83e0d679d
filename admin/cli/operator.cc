#include "admin/cli/operator.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "admin/cli/say.h"
#include "cache/base/file.h"
#include "cache/base/text.h"

namespace sallyport {

Answer<ApiAddress> Operator::address() const {
  ApiAddress address{options_.socket, options_.url, ""};
  if (options_.url.empty()) return address;
  if (!options_.token_file.empty()) {
    const auto text = read_file(options_.token_file, 4096);
    if (!text) return Refusal{Refusal::Kind::Invalid, "--token-file: " + text.error().what};
    address.token = *text;
  } else if (const char* token = std::getenv("SALLYPORT_TOKEN")) {
    address.token = token;
  }
  while (!address.token.empty() && std::isspace(static_cast<unsigned char>(address.token.back())) != 0) {
    address.token.pop_back();
  }
  if (address.token.find_first_of("\r\n") != std::string::npos) {
    return Refusal{Refusal::Kind::Invalid, "the token has several lines: the file must hold the token alone"};
  }
  return address;
}

Operator::Reply Operator::taken_apart(const Answer<ApiAnswer>& answer) {
  if (!answer) return {{}, complain(answer.error().what)};
  Json json = Json::parse(answer->body, nullptr, false);
  if (answer->status >= 300) {
    return {
        {},
        complain(json.is_object() ? text(json, "detail") : "the server answered " + std::to_string(answer->status))};
  }
  return {std::move(json), kDone};
}

Operator::Reply Operator::send(std::string_view method, const std::string& target, const std::string& body,
                               const std::string& content_type) {
  const auto where = address();
  if (!where) return {{}, complain(where.error().what)};
  return taken_apart(ask(*where, method, target, body, content_type));
}

Operator::Reply Operator::all_pages(const std::string& target) {
  Json items = Json::array();
  std::string page_token;
  do {
    std::string page = target + (target.find('?') == std::string::npos ? "?" : "&") + "limit=1000";
    if (!page_token.empty()) page += "&page_token=" + percent_encoded(page_token);
    Reply reply = get(page);
    if (!reply.ok()) return reply;
    for (Json& item : reply.json["items"]) items.push_back(std::move(item));
    page_token = reply.json.value("next_page_token", "");
  } while (!page_token.empty());
  return {std::move(items), kDone};
}

// The object a changing command names. By serial and CA there must be exactly one.
Operator::Reply Operator::resolve(const std::string& kind, const Target& target) {
  if (!target.id.empty()) {
    if (!parse_digest(target.id)) {
      return {{}, complain("changing commands take the full id of 64 hex digits, or --serial SN --ca ID")};
    }
    return get("/v1/" + kind + "/" + percent_encoded(target.id));
  }
  std::string query = "/v1/" + kind + "?serial=" + percent_encoded(target.serial);
  if (kind == "devices") query += "&ca=" + percent_encoded(target.ca);
  Reply found = all_pages(query);
  if (!found.ok()) return found;
  if (found.json.size() != 1) {
    return {{},
            complain(found.json.empty() ? "nothing has the serial " + target.serial
                                        : "several have the serial " + target.serial + ": name one by its id")};
  }
  const std::string id = text(found.json[0], "id");
  return get("/v1/" + kind + "/" + id);
}

bool Operator::agreed(const std::string& what) {
  return sallyport::agreed(what, options_.yes);
}

int Operator::print_one(const Reply& reply) {
  return reply.ok() ? print_object(reply.json, options_.json) : reply.failed;
}

}  // namespace sallyport
