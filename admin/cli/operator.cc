#include "admin/cli/operator.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <iostream>

#include "admin/cli/say.h"
#include "admin/cli/table.h"
#include "cache/base/file.h"
#include "cache/base/text.h"

namespace sallyport {

Answer<ApiAddress> Operator::address() const {
  ApiAddress address{options_.socket, options_.url, "", options_.cacert};
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
  reached_ = true;
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

int Operator::each_page(const std::string& target, const std::function<void(const Json&)>& page) {
  std::string page_token;
  do {
    std::string one = target + (target.find('?') == std::string::npos ? "?" : "&") + "limit=1000";
    if (!page_token.empty()) one += "&page_token=" + percent_encoded(page_token);
    const Reply reply = get(one);
    if (!reply.ok()) return reply.failed;
    page(reply.json["items"]);
    for (const Json& node : reply.json.value("silent", Json::array())) {
      std::cerr << "node " << escaped(node.get<std::string>()) << " did not answer: what it has is not here\n";
    }
    const std::string next = reply.json.value("next_page_token", "");
    if (!next.empty() && next == page_token) return complain("the server gives the same page again and again");
    page_token = next;
  } while (!page_token.empty() && std::cout);
  return kDone;
}

Operator::Reply Operator::all_pages(const std::string& target) {
  Json items = Json::array();
  const int failed = each_page(target, [&](const Json& page) {
    for (const Json& item : page) items.push_back(item);
  });
  return {std::move(items), failed};
}

int Operator::list(const std::string& target, std::vector<std::string> header,
                   const std::function<std::vector<std::string>(const Json&)>& row, const char* key,
                   std::initializer_list<std::size_t> ids) {
  if (options_.quiet && !options_.json) {
    // Two nodes may give one id: what is printed is what `session cut` or `explain` takes.
    const bool elsewhere = target.find("node=") != std::string::npos;
    return each_page(target, [&](const Json& page) {
      for (const Json& item : page) {
        std::cout << text(item, key);
        if (elsewhere && item.contains("node")) std::cout << " --node " << escaped(text(item, "node"));
        std::cout << '\n';
      }
      std::cout.flush();
    });
  }
  if (options_.json) {
    const Reply reply = all_pages(target);
    if (!reply.ok()) return reply.failed;
    if (!options_.quiet) return print_json(reply.json), kDone;
    Json ids = Json::array();
    for (const Json& item : reply.json) ids.push_back(item[key]);
    return print_json(ids), kDone;
  }
  Table table(std::move(header));
  for (const std::size_t column : ids) table.ids(column);
  bool printed = false;
  const int failed = each_page(target, [&](const Json& page) {
    for (const Json& item : page) table.add(row(item));
    table.print_page(std::cout);
    printed = true;
  });
  if (!printed && failed == kDone) table.print_page(std::cout);
  return failed;
}

// The object a changing command names. By serial and CA there must be exactly one.
Operator::Reply Operator::resolve(const std::string& kind, const Target& target) {
  if (!target.id.empty()) {
    if (!parse_digest(target.id)) {
      return {{}, complain("changing commands take the full id of 64 hex digits, or --serial SN --ca ID")};
    }
    // A new device waits on its node while the shared registry is away, and is in no list yet.
    if (options_.local && kind == "devices") {
      const auto where = address();
      const auto found = where ? ask(*where, "GET", "/v1/devices/" + percent_encoded(target.id), "")
                               : Answer<ApiAnswer>(where.error());
      if (found && found->status == 404) return {{{"id", target.id}, {"cn", "not registered yet"}}, kDone};
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

bool Operator::may_be_final(const std::string& what) {
  if (options_.yes || ::isatty(STDIN_FILENO) == 1) return true;
  complain(what + " is final: where nobody can be asked it needs --yes");
  return false;
}

int Operator::change_all(const std::string& kind, const std::string& action, const Target& target, bool cascade) {
  const auto one = [&](const Target& each) {
    return kind == "devices" ? device_change(action, each) : ca_change(action, each, cascade);
  };
  if (target.ids.empty()) return one(target);
  int worst = kDone;
  const auto change = [&](const std::string& id) {
    Target each;
    each.id = id;
    worst = std::max(worst, one(each));
  };
  for (const std::string& id : target.ids) {
    if (id != "-") {
      change(id);
      continue;
    }
    std::size_t named = 0;
    for (std::string line; std::getline(std::cin, line);) {
      while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())) != 0) line.pop_back();
      if (line.empty()) continue;
      ++named;
      change(line);
    }
    // A list that is empty is no failure, and may be a slip in the filter before it.
    if (named == 0) std::cerr << "sallyport: standard input names none: nothing was done\n";
  }
  return worst;
}

bool Operator::reaches_server() {
  return reached_ || get("/v1/listeners?limit=1").ok();
}

bool Operator::agreed(const std::string& what) {
  if (!reaches_server()) return false;
  return sallyport::agreed(what, options_.yes);
}

int Operator::print_one(const Reply& reply) {
  return reply.ok() ? print_object(reply.json, options_.json) : reply.failed;
}

}  // namespace sallyport
