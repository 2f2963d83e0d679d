#include "admin/cli/say.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <iostream>

#include "admin/cli/table.h"
#include "cache/base/file.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

constexpr std::size_t kFileLimit = 1024 * 1024;

Answer<std::string> standard_input() {
  std::string content(kFileLimit + 1, '\0');
  std::cin.read(content.data(), static_cast<std::streamsize>(content.size()));
  content.resize(static_cast<std::size_t>(std::cin.gcount()));
  if (content.size() > kFileLimit) return Refusal{Refusal::Kind::Invalid, "standard input: more than 1 MiB"};
  return content;
}

}  // namespace

bool may_colour() {
  const char* const none = std::getenv("NO_COLOR");
  const char* const kind = std::getenv("TERM");
  if ((none != nullptr && *none != '\0') || (kind != nullptr && std::string_view(kind) == "dumb")) return false;
  return ::isatty(STDOUT_FILENO) == 1;
}

std::size_t terminal_columns() {
  winsize size{};
  if (::isatty(STDOUT_FILENO) != 1 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

int complain(std::string_view what) {
  std::cerr << "sallyport: " << escaped(what) << '\n';
  return kFailed;
}

std::string text(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return "-";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

std::string with_thousands(std::uint64_t n) {
  std::string digits = std::to_string(n);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::string counted(std::uint64_t n, const std::string& one, const std::string& many) {
  return with_thousands(n) + " " + (n == 1 ? one : many.empty() ? one + "s" : many);
}

std::string short_id(const std::string& id) {
  return id.substr(0, 12);
}

std::int64_t seconds(std::string_view written) {
  std::int64_t count = 0;
  const auto [end, failure] = std::from_chars(written.data(), written.data() + written.size(), count);
  if (failure != std::errc() || count <= 0 || count > 100'000'000) return 0;
  const std::string_view unit = written.substr(static_cast<std::size_t>(end - written.data()));
  if (unit == "s") return count;
  if (unit == "m") return count * 60;
  if (unit == "h") return count * 3600;
  if (unit == "d") return count * 86400;
  return 0;
}

void print_json(const Json& json) {
  std::cout << steering_escaped(json.dump(2, ' ', false, Json::error_handler_t::replace)) << '\n';
}

int print_object(const Json& json, bool as_json) {
  if (as_json) return print_json(json), kDone;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [key, value] : json.items()) {
    if (value.is_object()) {
      for (const auto& [inner, number] : value.items())
        pairs.emplace_back(key + "." + inner, text(value, inner.c_str()));
    } else if (value.is_array()) {
      std::string list;
      for (const Json& each : value)
        list += (list.empty() ? "" : " ") + (each.is_string() ? each.get<std::string>() : each.dump());
      pairs.emplace_back(key, list);
    } else {
      pairs.emplace_back(key, text(json, key.c_str()));
    }
  }
  print_pairs(std::cout, pairs);
  return kDone;
}

bool agreed(const std::string& what, bool yes, std::string_view otherwise) {
  std::cerr << escaped(what) << '\n';
  if (yes || ::isatty(STDIN_FILENO) == 0) return true;
  std::cerr << "go on? [y/N] " << std::flush;
  std::string line;
  std::getline(std::cin, line);
  if (line == "y" || line == "Y" || line == "yes") return true;
  complain(otherwise);
  return false;
}

Answer<std::string> certificate_text(const std::string& path) {
  auto read = path == "-" ? standard_input() : read_file(path, kFileLimit);
  if (!read) return read.error();
  const std::string& content = *read;
  if (content.find("PRIVATE KEY-----") != std::string::npos) {
    return Refusal{Refusal::Kind::Invalid, path + " holds a private key; only certificates are sent"};
  }
  // The managed clouds' guides work with PEM; DER is the same certificate.
  if (content.find("-----BEGIN") == std::string::npos) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(content.data());
    const auto certificate = Certificate::from_der(Bytes(bytes, content.size()));
    if (!certificate) return Refusal{Refusal::Kind::Invalid, path + ": " + certificate.error().what};
    return certificate->pem();
  }
  return read;
}

int written(int status) {
  std::cout.flush();
  if (std::cout || status != kDone) return status;
  return complain("the output could not be written: it is lost, or cut off");
}

}  // namespace sallyport
