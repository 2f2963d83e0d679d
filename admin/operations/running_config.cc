#include "admin/operations/running_config.h"

#include <algorithm>
#include <cctype>

#include "cache/base/text.h"

namespace sallyport {

namespace {

std::string_view applies_of(const Setting& setting) {
  switch (setting.applies) {
    case Applies::AtOnce: return "reload";
    case Applies::AfterRestart: return "restart";
    case Applies::NotYet: return "not-built";
  }
  return "";
}

bool of_a_bare_key(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
}

}  // namespace

Json json_of_setting(std::string_view written) {
  std::string json;
  bool in_text = false;
  for (std::size_t i = 0; i < written.size(); ++i) {
    const char c = written[i];
    if (in_text) {
      if (c == '\\' && i + 1 < written.size()) {
        json += c;
        json += written[++i];
      } else if (static_cast<unsigned char>(c) < 0x20) {
        append_json_escaped(json, {&c, 1});
      } else {
        json += c;
        in_text = c != '"';
      }
    } else if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      std::size_t end = i;
      while (end < written.size() && of_a_bare_key(written[end])) ++end;
      const std::string_view word = written.substr(i, end - i);
      const bool is_value = word == "true" || word == "false";
      json += is_value ? std::string(word) : '"' + std::string(word) + '"';
      i = end - 1;
    } else {
      json += c == '=' ? ':' : c;
      in_text = c == '"';
    }
  }
  Json made = Json::parse(json, nullptr, false);
  return made.is_discarded() ? Json(std::string(written)) : made;
}

void RunningConfig::reloaded(const ConfigReport& report) {
  ReadConfig read = read_config_of(report);
  const std::lock_guard lock(mutex_);
  read_ = std::move(read);
}

Json RunningConfig::object(const std::vector<Override>& overrides) const {
  std::vector<KeyInForce> keys;
  std::vector<std::string> waits;
  {
    const std::lock_guard lock(mutex_);
    keys = keys_in_force(begun_, read_);
    waits = needs_restart(begun_.config, read_.config);
  }
  Json settings = Json::array();
  for (const KeyInForce& key : keys) {
    const auto chosen = std::find_if(overrides.begin(), overrides.end(),
                                     [&](const Override& each) { return each.key == key.name && each.of == key.of; });
    const bool overridden = chosen != overrides.end();
    Json file = json_of_setting(key.value);
    settings.push_back({{"key", key.name},
                        {"of", key.of.empty() ? Json(nullptr) : Json(key.of)},
                        {"value", overridden ? chosen->value : file},
                        {"source", overridden    ? "run-time"
                                   : key.written ? "file"
                                                 : "default"},
                        {"file_value", overridden ? std::move(file) : Json(nullptr)},
                        {"default", key.fallback.empty() ? Json(nullptr) : json_of_setting(key.fallback)},
                        {"changes_by", std::string(applies_of(*key.setting))},
                        {"waits", key.waits.empty() ? Json(nullptr) : json_of_setting(key.waits)}});
  }
  return {{"file", path_}, {"needs_restart", waits}, {"settings", std::move(settings)}};
}

}  // namespace sallyport
