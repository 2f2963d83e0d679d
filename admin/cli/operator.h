// What an operator asks for on the command line, once parsed: each call speaks to a running server over
// its admin socket, prints the answer and returns the exit status (0 done, 1 refused or failed).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sallyport {

struct OperatorOptions {
  std::string socket;
  bool json = false;  // -o json
  bool yes = false;   // --yes: do not ask
};

// How a changing command names its object: the full id, or serial and CA.
struct Target {
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

class Operator {
 public:
  explicit Operator(OperatorOptions options) : options_(std::move(options)) {}

  int ca_code(const std::string& ttl);
  int ca_register(const CaRegisterOptions& registration);
  int ca_list(const CaListOptions& filter);
  int ca_show(const std::string& reference);
  int ca_change(const std::string& action, const Target& target);
  int device_list(const DeviceListOptions& filter);
  int device_show(const std::string& reference);
  int device_change(const std::string& action, const Target& target);
  int download(const std::string& kind, const std::string& reference);  // kind: "cas" | "devices"
  int listener_list();
  int status();

 private:
  struct Reply;
  Reply get(const std::string& target);
  Reply post(const std::string& target, const std::string& body);
  Reply all_pages(const std::string& target);
  Reply resolve(const std::string& kind, const Target& target);
  bool agreed(const std::string& what);

  OperatorOptions options_;
};

}  // namespace sallyport
