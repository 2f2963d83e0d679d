// CAs, devices and CRLs on the command line.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <iostream>

#include "admin/cli/operator.h"
#include "admin/cli/say.h"
#include "admin/cli/table.h"
#include "cache/base/file.h"
#include "cache/base/text.h"
#include "cache/x509/crl.h"

namespace sallyport {

int Operator::ca_code(const std::string& ttl) {
  const std::int64_t ttl_seconds = seconds(ttl);
  if (ttl_seconds == 0) return complain("--ttl takes a duration such as 30m, 24h or 7d"), kUsage;
  const Reply reply = send("POST", "/v1/registration-codes", Json{{"ttl_seconds", ttl_seconds}}.dump());
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << text(reply.json, "code") << '\n';
  return kDone;
}

int Operator::ca_register(const CaRegisterOptions& registration) {
  const auto certificate = certificate_text(registration.certificate);
  if (!certificate) return complain(certificate.error().what);
  const auto verification = certificate_text(registration.verification);
  if (!verification) return complain(verification.error().what);
  Json body = {{"certificate", *certificate}, {"verification_certificate", *verification}};
  if (registration.no_auto_register) body["auto_register"] = false;
  if (registration.approve) body["approve"] = true;
  const Reply reply = send("POST", "/v1/cas", dump(body));
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << text(reply.json, "id") << '\n';
  return kDone;
}

int Operator::ca_list(const CaListOptions& filter) {
  return list("/v1/cas?serial=" + percent_encoded(filter.serial) + "&status=" + percent_encoded(filter.status),
              {"ID", "STATUS", "CN", "KEY", "SERIAL", "NOT AFTER", "DEVICES"},
              [](const Json& ca) {
                std::uint64_t all = 0;
                for (const auto& [status, count] : ca["devices"].items()) all += count.get<std::uint64_t>();
                return std::vector<std::string>{text(ca, "id"),       text(ca, "status"), text(ca, "cn"),
                                                text(ca, "key_type"), text(ca, "serial"), text(ca, "not_after"),
                                                std::to_string(all)};
              },
              "id", {0});
}

int Operator::ca_show(const std::string& reference) {
  return print_one(get("/v1/cas/" + percent_encoded(reference)));
}

// What somebody who is not registered yet meets from now on; who is registered stays as it is.
int Operator::ca_set(const Target& target, const std::string& auto_register, const std::string& approve) {
  const Reply found = resolve("cas", target);
  if (!found.ok()) return found.failed;
  const std::string id = text(found.json, "id");
  Json wanted = Json::object();
  if (!auto_register.empty()) wanted["auto_register"] = auto_register == "on";
  if (!approve.empty()) wanted["approve"] = approve == "on";
  std::string what;
  if (wanted.value("auto_register", false)) what += ": new devices register themselves";
  if (auto_register == "off") what += ": devices that are not registered are refused";
  if (!approve.empty())
    what += (what.empty() ? ": " : "; ") +
            std::string(approve == "on" ? "new ones wait for approval" : "new ones do not wait for approval");
  if (!agreed("changing CA " + short_id(id) + "… (" + text(found.json, "cn") + ")" + what)) return kFailed;
  const Reply reply = send("PATCH", "/v1/cas/" + id, dump(wanted));
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << id << " auto-register " << (reply.json.value("auto_register", false) ? "on" : "off") << ", approve "
            << (reply.json.value("approve", false) ? "on" : "off") << '\n';
  return kDone;
}

int Operator::ca_change(const std::string& action, const Target& target, bool cascade) {
  const auto how = how_to_change(cascade ? "cascade=true" : "");  // before anything is said
  if (!how) return kUsage;
  const Reply found = resolve("cas", target);
  if (!found.ok()) return found.failed;
  const std::string id = text(found.json, "id");
  if (cascade && !may_be_final("deleting CA " + short_id(id) + "… with its devices")) return kUsage;
  const Json& devices = found.json["devices"];
  const auto count = [&](const char* status) { return with_thousands(devices[status].get<std::uint64_t>()); };
  const std::string cuts = " cuts " + counted(found.json.value("sessions", std::uint64_t{0}), "live session") + " of " +
                           counted(found.json.value("devices_online", std::uint64_t{0}), "device") + of_this_node();
  const auto active = devices["active"].get<std::uint64_t>();
  const std::string name = " CA " + short_id(id) + "… (" + text(found.json, "cn") + ")";
  if (action == "deactivate") {
    // Of two certificates with one name and key, one that is active suffices.
    const bool stay = !found.json.value("admitted_through", Json::array()).empty();
    const std::string what =
        stay ? ": its devices stay admitted through another certificate of its name and key"
             : cuts + "; " + counted(active, "device") + (active == 1 ? " is active" : " are active");
    if (!agreed("deactivating" + name + what)) return kFailed;
  } else if (action == "delete") {
    if (!agreed("deleting" + name + cuts + " and forgets " + count("active") + " active, " + count("inactive") +
                " inactive and " + count("pending") + " pending devices; " + count("revoked") + " stay revoked")) {
      return kFailed;
    }
  }
  const Reply reply =
      action == "delete" ? send("DELETE", "/v1/cas/" + id + *how) : send("POST", "/v1/cas/" + id + "/" + action + *how);
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << id << ' ' << (action == "delete" ? "deleted" : text(reply.json, "status")) << '\n';
  say_nodes(reply.json);
  if (action == "deactivate") {
    for (const Json& twin : reply.json.value("admitted_through", Json::array())) {
      complain("its devices are still admitted through CA " + twin.get<std::string>() +
               ", which has the same name and key: to refuse them, deactivate that CA as well");
    }
  }
  return kDone;
}

int Operator::device_list(const DeviceListOptions& filter) {
  std::string target = "/v1/devices?serial=" + percent_encoded(filter.serial) + "&ca=" + percent_encoded(filter.ca) +
                       "&status=" + percent_encoded(filter.status) + "&cn=" + percent_encoded(filter.cn);
  if (!filter.expires_within.empty()) {
    const std::int64_t within = seconds(filter.expires_within);
    if (within == 0) return complain("--expires-within takes a duration such as 12h or 30d"), kUsage;
    target += "&expires_before=" + percent_encoded(utc(std::time(nullptr) + within));
  }
  return list(target, {"ID", "STATUS", "EFFECTIVE", "CN", "KEY", "SERIAL", "NOT AFTER", "LAST SEEN", "SESSIONS"},
              [](const Json& device) {
                return std::vector<std::string>{text(device, "id"),
                                                text(device, "status"),
                                                text(device, "effective_status"),
                                                text(device, "cn"),
                                                text(device, "key_type"),
                                                text(device, "serial"),
                                                text(device, "not_after"),
                                                text(device, "last_seen").substr(0, 10),
                                                text(device, "sessions")};
              },
              "id", {0});
}

namespace {

// From the one that signed the device's upwards.
std::string chain_words(const Json& chain) {
  std::string words;
  for (const Json& each : chain) {
    const bool registered = each.value("registered", false);
    words += (words.empty() ? "" : " < ") + text(each, "subject") + " (" + (registered ? "registered" : "sent by it") +
             ", " + text(each, "standing") + ")";
  }
  return words;
}

}  // namespace

int Operator::device_show(const std::string& reference) {
  Reply reply = get("/v1/devices/" + percent_encoded(reference));
  if (reply.ok() && !options_.json && reply.json.contains("chain")) {
    reply.json["chain"] = chain_words(reply.json["chain"]);
  }
  return print_one(reply);
}

int Operator::device_change(const std::string& action, const Target& target) {
  const auto how = how_to_change("");  // before anything is said
  if (!how) return kUsage;
  const Reply found = resolve("devices", target);
  if (!found.ok()) return found.failed;
  const std::string id = text(found.json, "id");
  const std::string name = " device " + short_id(id) + "… (" + text(found.json, "cn") + ")";
  const std::string cuts =
      " cuts " + counted(found.json.value("sessions", std::uint64_t{0}), "live session") + of_this_node();
  if (action == "deactivate" && !agreed("deactivating" + name + cuts)) return kFailed;
  if (action == "revoke" && !may_be_final("revoking" + name)) return kUsage;
  if (action == "revoke" && !agreed("revoking" + name + cuts + " and is final")) return kFailed;
  if (action == "delete" && !agreed("deleting" + name + cuts + "; its next valid connection registers it anew")) {
    return kFailed;
  }
  const Reply reply = action == "delete" ? send("DELETE", "/v1/devices/" + id + *how)
                                         : send("POST", "/v1/devices/" + id + "/" + action + *how);
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  std::cout << id << ' ' << (action == "delete" ? "deleted" : text(reply.json, "status")) << '\n';
  say_nodes(reply.json);
  return kDone;
}

int Operator::download(const std::string& kind, const std::string& reference) {
  const auto where = address();
  if (!where) return complain(where.error().what);
  const auto answer = ask(*where, "GET", "/v1/" + kind + "/" + percent_encoded(reference) + "/certificate", "");
  if (!answer || answer->status >= 300) return taken_apart(answer).failed;
  std::cout << answer->body;
  return kDone;
}

namespace {

// How much of the files has been sent: a line that changes on a terminal, now and then a line elsewhere.
class Progress {
 public:
  explicit Progress(std::uint64_t total) : total_(total), on_terminal_(::isatty(STDERR_FILENO) == 1) {}
  ~Progress() {
    if (on_terminal_ && shown_) std::cerr << '\n';
  }
  void operator()(std::uint64_t sent) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < (on_terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000))) return;
    last_ = now;
    shown_ = true;
    const auto mib = [](std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
    std::cerr << (on_terminal_ ? "\r" : "sallyport: ") << mib(sent) << " of " << mib(total_) << " sent"
              << (on_terminal_ ? "\x1b[K" : "\n") << std::flush;
  }

 private:
  const std::uint64_t total_;
  const bool on_terminal_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// A device with its intermediates, as it would send them: the one form of a bundle that is one device.
bool is_one_chain(const std::string& pem) {
  const auto bundle = Certificate::bundle_from_pem(pem);
  if (!bundle || bundle->front().is_ca()) return false;
  for (std::size_t i = 1; i < bundle->size(); ++i) {
    if (!(*bundle)[i].is_ca()) return false;
  }
  return true;
}

std::uint64_t lines_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::uint64_t lines = 0;
  char last = '\n';
  std::vector<char> piece(64 * 1024);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())), file.gcount() > 0) {
    const auto n = static_cast<std::size_t>(file.gcount());
    lines +=
        static_cast<std::uint64_t>(std::count(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(n), '\n'));
    last = piece[n - 1];
  }
  return lines + (last == '\n' ? 0 : 1);
}

}  // namespace

int Operator::device_register(const std::vector<std::string>& files) {
  if (files.size() == 1) {
    const auto pem = certificate_text(files.front());
    // A larger file is a bundle; one that cannot be read says so here.
    struct stat about {};
    const bool large = ::stat(files.front().c_str(), &about) == 0 && about.st_size > 1024 * 1024;
    if (!pem && !large) return complain(pem.error().what);
    if (pem && is_one_chain(*pem)) {
      const Reply reply = send("POST", "/v1/devices", dump(Json{{"certificate", *pem}}));
      if (!reply.ok()) return reply.failed;
      if (options_.json) return print_json(reply.json), kDone;
      std::cout << text(reply.json, "id") << ' ' << text(reply.json, "status") << '\n';
      return kDone;
    }
  }
  std::uint64_t total = 0;
  std::vector<std::uint64_t> first_line;  // of each file in the stream
  std::uint64_t line = 1;
  for (const std::string& path : files) {
    struct stat about {};
    if (::stat(path.c_str(), &about) != 0 || !S_ISREG(about.st_mode))
      return complain(path + ": is not a readable file");
    total += static_cast<std::uint64_t>(about.st_size);
    first_line.push_back(line);
    line += lines_of(path);
  }
  const auto where = address();
  if (!where) return complain(where.error().what);
  Reply reply;
  {
    Progress progress(total);
    reply = taken_apart(send_files(*where, "/v1/devices/import", files, std::ref(progress)));
  }
  if (!reply.ok()) return reply.failed;
  const std::uint64_t failed = reply.json.value("failed", std::uint64_t{0});
  if (options_.json) return print_json(reply.json), failed == 0 ? kDone : kFailed;
  for (const Json& failure : reply.json["failures"]) {
    const auto at = failure.value("line", std::uint64_t{0});
    std::size_t file = 0;
    while (file + 1 < files.size() && first_line[file + 1] <= at) ++file;
    complain(files[file] + ":" + std::to_string(at - first_line[file] + 1) + ": " + text(failure, "reason") + ": " +
             text(failure, "detail"));
  }
  const auto omitted = reply.json.value("failures_omitted", std::uint64_t{0});
  if (omitted > 0) complain("… and " + with_thousands(omitted) + " more that failed");
  std::cout << with_thousands(reply.json.value("registered", std::uint64_t{0})) << " registered, "
            << with_thousands(reply.json.value("already", std::uint64_t{0})) << " registered before, "
            << with_thousands(failed) << " failed\n";
  return failed == 0 ? kDone : kFailed;
}

namespace {

// What the answer to an import says of devices that the list names under other keys of its issuer's name, as after a
// CA's key rollover. `ids`: of the CAs it can be asked for.
struct OtherKeys {
  std::uint64_t devices = 0;
  std::vector<std::string> ids;
};

OtherKeys say_other_keys(const Json& outcome) {
  OtherKeys found;
  for (const Json& each : outcome.value("under_other_keys", Json::array())) {
    const std::uint64_t devices = each.value("devices", std::uint64_t{0});
    const std::string id = text(each, "ca_id");
    found.devices += devices;
    if (id == "-") {
      complain(
          with_thousands(devices) +
          " devices hold numbers of this list under a key of its issuer's name that no registered CA has, and stay "
          "admitted: register that CA and import the list with --also-under its id, or revoke them one by one");
      continue;
    }
    if (devices > 0) {
      found.ids.push_back(id);
      complain(with_thousands(devices) + (devices == 1 ? " device of CA " : " devices of CA ") + id +
               (devices == 1 ? " has a serial number that is on this list, and stays"
                             : " have serial numbers that are on this list, and stay") +
               " admitted, because that CA has another key: if the list is meant for it, too, import it again with "
               "--also-under " +
               id);
    } else {
      complain("CA " + id +
               " has the same name and another key: numbers that nobody has shown yet are refused under the list's own "
               "key alone; --also-under " +
               id + " takes them under both");
    }
  }
  return found;
}

}  // namespace

int Operator::crl_list() {
  const Reply reply = all_pages("/v1/crls");
  if (!reply.ok()) return reply.failed;
  if (options_.json) return print_json(reply.json), kDone;
  Table table({"CA", "SCOPE", "NUMBER", "THIS UPDATE", "NEXT UPDATE", "ENTRIES", "IMPORTED", "OVERDUE"});
  table.ids(0);
  for (const Json& crl : reply.json) {
    const std::string scope = text(crl, "scope");
    table.add({text(crl, "ca_id"), scope == "-" ? "all" : scope, text(crl, "number"), text(crl, "this_update"),
               text(crl, "next_update"), text(crl, "entries"), text(crl, "imported_at"),
               crl.value("overdue", false) ? "overdue" : "-"});
  }
  table.print(std::cout);
  return kDone;
}

int Operator::crl_import(const std::string& file, const std::vector<std::string>& also_under) {
  const auto bytes = read_file(file, Crl::kLargest);
  if (!bytes) return complain(bytes.error().what);
  const auto crls = Crl::parse_all(*bytes, std::time(nullptr));
  if (!crls) return complain(file + ": " + crls.error().what);
  std::string lists;
  for (const Crl& crl : *crls) {
    lists += (lists.empty() ? "" : ", ") + std::string("the CRL of ") + utc(crl.this_update()) + " with " +
             counted(crl.entries().size(), "entry", "entries");
  }
  if (!how_to_change("")) return kUsage;  // before anything is asked
  if (!agreed("importing " + lists + ": each certificate that it names is revoked for ever, one on hold deactivated")) {
    return kFailed;
  }
  std::string ids;
  for (const std::string& id : also_under) ids += (ids.empty() ? "" : ",") + id;
  const auto import = [&] {
    return send("POST", "/v1/crls" + *how_to_change(ids.empty() ? "" : "also_under=" + percent_encoded(ids)), *bytes,
                "application/pkix-crl");
  };
  Reply reply = import();
  if (!reply.ok()) return reply.failed;
  OtherKeys left = say_other_keys(reply.json);
  // --yes is no answer to a question that it did not know of.
  if (!left.ids.empty() && ::isatty(STDIN_FILENO) == 1 && !options_.yes &&
      sallyport::agreed("importing it under them, too", false, "it was taken for the key that signed it alone")) {
    for (const std::string& id : left.ids) ids += (ids.empty() ? "" : ",") + id;
    reply = import();
    if (!reply.ok()) return reply.failed;
    left = say_other_keys(reply.json);
  }
  if (!options_.json) {
    say_nodes(reply.json);
    reply.json.erase("nodes");
  }
  const int printed = print_object(reply.json, options_.json);
  return left.devices == 0 ? printed : kFailed;
}

// A file or standard input, or else a registered device, by what the lists show of it.
Answer<std::string> Operator::chain_to_explain(const std::string& named) {
  struct stat about {};
  const bool is_file = named == "-" || ::stat(named.c_str(), &about) == 0;
  if (is_file || (!parse_digest(named) && !parse_serial(named))) return certificate_text(named);
  const auto where = address();
  if (!where) return where.error();
  const auto answer = ask(*where, "GET", "/v1/devices/" + percent_encoded(named) + "/certificate", "");
  if (!answer) return answer.error();
  if (answer->status >= 300) {
    const Json problem = Json::parse(answer->body, nullptr, false);
    return Refusal{Refusal::Kind::NotFound, problem.is_object() ? text(problem, "detail") : "no such device: " + named};
  }
  return answer->body;
}

int Operator::explain(const ExplainOptions& options) {
  const auto chain = chain_to_explain(options.chain);
  if (!chain) return complain(chain.error().what);
  Json body = {{"chain", *chain}};
  if (!options.listener.empty()) body["listener"] = options.listener;
  if (!options.at.empty()) body["at"] = options.at;
  const Reply reply = send("POST", "/v1/explain", dump(body));
  if (!reply.ok()) return reply.failed;
  const bool admitted = reply.json.value("admitted", false);
  if (options_.json) return print_json(reply.json), admitted ? kDone : kFailed;
  for (const Json& step : reply.json["steps"]) {
    std::cout << text(step, "step") << "  " << escaped(text(step, "what")) << ": " << escaped(text(step, "found"))
              << '\n';
  }
  std::cout << (admitted ? "admitted" : "refused: " + text(reply.json, "reason")) << '\n';
  if (!admitted) std::cout << "to do: " << text(reply.json, "what_to_do") << '\n';
  return admitted ? kDone : kFailed;
}

}  // namespace sallyport
