// What an operator asks for on the command line, once parsed: each call speaks to a running server, prints the
// answer and returns the exit status (0 done, 1 refused or failed, 2 wrong usage). operator.cc has what all
// share, operator_certificates.cc CAs, devices and CRLs, operator_upstreams.cc brokers, operator_doctor.cc,
// operator_tail.cc and operator_top.cc what their names say, operator_server.cc the rest.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/cli/http_client.h"
#include "admin/operations/doctor.h"
#include "admin/operations/objects.h"

namespace sallyport {

struct Candidate;
struct Wanted;

struct OperatorOptions {
  std::string socket;
  std::string url, token_file, cacert;
  bool json = false;   // -o json
  bool quiet = false;  // -q: ids alone
  bool yes = false;    // --yes: do not ask
  bool local = false;  // --local: on this node alone
  std::string wait;    // --wait: until it is in force on every node
};

// How a changing command names its object: the full id, or serial and CA.
struct Target {
  std::vector<std::string> ids;  // several: one after the other; "-": as many as standard input has lines
  std::string id;
  std::string serial;
  std::string ca;
};

struct CaListOptions {
  std::string serial, status;
};

struct DeviceListOptions {
  std::string serial, ca, status, cn, expires_within;
};

struct CaRegisterOptions {
  std::string certificate, verification;
  bool no_auto_register = false;
  bool approve = false;
};

struct ExplainOptions {
  std::string chain, listener, at;
};

struct RejectionOptions {
  std::string serial, peer, reason, issuer, listener, last;
};

struct TopOptions {
  unsigned every = 2;  // seconds
  unsigned times = 0;  // 0: until it is ended
};

struct TailOptions {
  std::string event, kind, reason, listener, device;
  bool json = false;        // as -o json
  std::uint64_t count = 0;  // ends after so many; 0: never by itself
};

struct TokenOptions {
  std::string name, role, ttl;
};

class Operator {
 public:
  explicit Operator(OperatorOptions options) : options_(std::move(options)) {}

  int ca_code(const std::string& ttl);
  int ca_register(const CaRegisterOptions& registration);
  int ca_list(const CaListOptions& filter);
  int ca_show(const std::string& reference);
  // Each of `target`'s objects; goes on where one is refused. The worst exit status.
  int change_all(const std::string& kind, const std::string& action, const Target& target, bool cascade);
  int ca_set(const Target& target, const std::string& auto_register, const std::string& approve);
  int ca_change(const std::string& action, const Target& target, bool cascade);
  int device_list(const DeviceListOptions& filter);
  int device_register(const std::vector<std::string>& files);
  int device_show(const std::string& reference);
  int device_change(const std::string& action, const Target& target);
  int download(const std::string& kind, const std::string& reference);  // kind: "cas" | "devices"
  int crl_import(const std::string& file, const std::vector<std::string>& also_under);
  int crl_list();
  int explain(const ExplainOptions& options);

  int server_cert_add(const std::string& chain, const std::string& key);
  int server_cert_list();
  int server_cert_show(const std::string& reference);
  int server_cert_delete(const std::string& id);
  int listener_list();
  int listener_use_cert(const std::string& name, const std::string& id);
  int listener_auth(const std::string& name, const std::string& mode);
  int listener_reset(const std::string& name);
  int upstream_list();
  int upstream_show(const std::string& name);
  int upstream_drain(const std::string& name, const std::string& server);
  int upstream_undrain(const std::string& name, const std::string& server);
  // `node`: of another one of the shared registry; "*": of all; empty: of this.
  int session_list(const std::string& device, const std::string& ca, bool clones, const std::string& node);
  int session_cut(const std::string& id, const std::string& node);
  int rejections(const RejectionOptions& filter, const std::string& node);
  int token_create(const TokenOptions& token);
  int token_list();
  int token_revoke(const std::string& name);
  int audit(const std::string& last);
  int backup(const std::string& dir);
  int status();
  std::vector<Candidate> names_there(const Wanted& wanted) const;  // for completion; says nothing of what fails
  int drain();
  // What was found on this machine, and what the server says of itself. 1 where there is a problem. It is asked at the
  // configuration's socket, unless the operator has named one.
  int doctor(MachineReport examined, bool socket_named);
  int top(const TopOptions& options);
  int tail(const TailOptions& filter);
  int reload();
  int log_level(const std::string& level);
  int ticket_keys_rotate();
  int node_list();
  int node_forget(const std::string& name);

 private:
  struct Reply {
    Json json;
    int failed = 0;  // an exit status after the complaint was printed
    bool ok() const { return failed == 0; }
  };
  Reply send(std::string_view method, const std::string& target, const std::string& body = "",
             const std::string& content_type = "application/json");
  Reply get(const std::string& target) { return send("GET", target); }
  Reply all_pages(const std::string& target);
  // Page by page; an exit status. `page` gets a JSON array and prints it.
  int each_page(const std::string& target, const std::function<void(const Json&)>& page);
  // What every list does: JSON, ids alone, or a table with a row for each item. `key`: the member that is its id;
  // `ids`: the columns that have some.
  int list(const std::string& target, std::vector<std::string> header,
           const std::function<std::vector<std::string>(const Json&)>& row, const char* key = "id",
           std::initializer_list<std::size_t> ids = {});
  Answer<std::string> chain_to_explain(const std::string& named);
  Reply resolve(const std::string& kind, const Target& target);
  // Says what will be hit; asks where a person can answer.
  bool agreed(const std::string& what);
  // Of what is final: where nobody can answer it must have been said with --yes. Says so, and is false otherwise.
  bool may_be_final(const std::string& what);
  Reply taken_apart(const Answer<ApiAnswer>& answer);
  // What a change is asked for with, behind `first`, a parameter of its own or nothing. Nothing: a duration is wrong.
  std::optional<std::string> how_to_change(const std::string& first) const;
  void say_nodes(const Json& changed) const;
  // Behind a number of sessions: that they are this node's alone, where others share the registry.
  std::string of_this_node();
  int change_server(const std::string& name, const std::string& server, const std::string& action);
  int print_one(const Reply& reply);  // an object, as the output asks for it
  Answer<ApiAddress> address() const;
  // What a command is about to do is said to nobody whose server cannot be asked. Complains where it cannot.
  bool reaches_server();

  OperatorOptions options_;
  bool reached_ = false;  // the server has answered this command before
};

}  // namespace sallyport
