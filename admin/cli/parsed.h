// What a command line said, before the command that it chose runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "admin/cli/operator.h"

namespace sallyport {

inline constexpr const char* kDefaultConfig = "/etc/sallyport/sallyport.toml";

// The one command that was chosen; CLI11's callbacks set it, so that nothing runs before all is parsed.
using Chosen = std::function<int()>;

struct Parsed {
  OperatorOptions options;
  std::string output = "table";
  std::string config = kDefaultConfig;
  bool default_config = false;
  std::string ttl = "24h";
  std::string reference;
  CaRegisterOptions registration;
  std::string auto_register, approve;  // "on", "off", or as it is
  CaListOptions ca_filter;
  DeviceListOptions device_filter;
  Target target;
  bool cascade = false;
  bool clones = false;
  std::string node;  // of a shared registry; "*": all of them; empty: the one that is asked
  std::vector<std::string> files;
  std::vector<std::string> also_under;
  std::string first, second;  // the plain arguments of commands that have no more to say
  ExplainOptions explain;
  RejectionOptions rejections;
  TokenOptions token;
  TopOptions top;
  TailOptions tail;
  std::string last;
  std::string state_dir;
  bool accept_loss = false, take_over = false;
  bool keep = false, discard = false;
  Chosen chosen;
};

}  // namespace sallyport
