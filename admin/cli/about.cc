#include "admin/cli/about.h"

#include <openssl/crypto.h>

#include <iostream>
#include <sstream>

#include "admin/cli/say.h"
#include "admin/cli/table.h"
#include "admin/operations/build_info.h"
#include "cache/registry/registry_store_version.h"
#include "proxy/config/settings.h"
#include "proxy/io/ring_version.h"

namespace sallyport {

namespace {

constexpr std::size_t kWidth = 100;

std::string_view word_of(Applies applies) {
  switch (applies) {
    case Applies::AtOnce: return "at_once";
    case Applies::AfterRestart: return "after_restart";
    case Applies::NotYet: return "not_yet";
  }
  return "";
}

// Indented, in lines of at most kWidth.
void print_sentences(std::string_view sentences) {
  std::istringstream words{std::string(sentences)};
  std::string line = "   ";
  for (std::string word; words >> word;) {
    if (line.size() + 1 + word.size() > kWidth) {
      std::cout << line << '\n';
      line = "   ";
    }
    line += " " + word;
  }
  std::cout << line << '\n';
}

}  // namespace

int print_version(bool as_json) {
  const std::vector<std::pair<std::string, std::string>> all = {
      {"version", kBuildInfo.version},
      {"commit", kBuildInfo.commit},
      {"build_date", kBuildInfo.date},
      {"compiler", kBuildInfo.compiler},
      {"openssl", OpenSSL_version(OPENSSL_FULL_VERSION_STRING)},
      {"rocksdb", store_library_version()},
      {"liburing", ring_library_version()}};
  if (as_json) {
    Json json;
    for (const auto& [key, value] : all) json[key] = value;
    print_json(json);
    return kDone;
  }
  std::cout << "sallyport " << kBuildInfo.version << '\n';
  print_pairs(std::cout, {all.begin() + 1, all.end()});
  return kDone;
}

int print_config_reference(bool as_json) {
  const auto settings = setting_texts();
  if (as_json) {
    Json all = Json::array();
    for (const SettingText& each : settings) {
      const bool required = !each.setting->needed.empty();
      all.push_back({{"key", each.name},
                     {"type", each.type},
                     {"default", required ? Json(nullptr) : Json(each.fallback)},
                     {"range", each.range},
                     {"required", required},
                     {"applies", word_of(each.setting->applies)},
                     {"example", each.setting->example},
                     {"description", each.setting->says}});
    }
    print_json(all);
    return kDone;
  }
  Table table({"KEY", "TYPE", "DEFAULT", "CHANGED"});
  for (const SettingText& each : settings) {
    const char* changed = each.setting->applies == Applies::AtOnce ? "reload" : "restart";
    table.add({each.name, each.type, each.setting->needed.empty() ? each.fallback : "-",
               each.setting->applies == Applies::NotYet ? "not yet" : changed});
  }
  std::stringstream lines;
  table.print(lines);
  std::string line;
  std::getline(lines, line);
  std::cout << line << '\n';
  for (const SettingText& each : settings) {
    std::getline(lines, line);
    std::cout << line << '\n';
    print_sentences(std::string(each.setting->says) + (each.range.empty() ? "" : " Range: " + each.range + "."));
  }
  std::cout << "\nCHANGED: reload, SIGHUP changes it at once; restart, SIGHUP names it in the log; not yet, this "
               "version accepts\nonly the default. DEFAULT -: the file must say it.\n";
  return kDone;
}

int print_default_config() {
  std::cout << default_config();
  return kDone;
}

}  // namespace sallyport
