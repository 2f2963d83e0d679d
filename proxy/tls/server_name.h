// Which certificate a server name (SNI) asks for: exact names first, then wildcards, which stand for one
// whole left-most label (RFC 6125, section 6.4.3). Pure; names are ASCII, compared without case.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace sallyport {

class ServerNames {
 public:
  // The first certificate that claims a name keeps it.
  void add(std::string_view name, std::size_t certificate);
  std::optional<std::size_t> find(std::string_view server_name) const;

 private:
  std::map<std::string, std::size_t> exact_;
  std::map<std::string, std::size_t> wildcard_;  // by what follows "*."
};

}  // namespace sallyport
