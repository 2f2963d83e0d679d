// The configuration as it runs, for GET /v1/config: each key with its value, where that comes from, and what waits for
// a restart. Paths are shown, what the files hold never. The main thread tells it of reloads; any thread asks.
#pragma once

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "admin/operations/objects.h"
#include "proxy/config/settings.h"

namespace sallyport {

class RunningConfig {
 public:
  RunningConfig(std::string path, const ConfigReport& report)
      : path_(std::move(path)), begun_(read_config_of(report)), read_(begun_) {}

  void reloaded(const ConfigReport& report);  // it is in force, but for what takes a restart

  // A choice that was made while it runs and stands before the file.
  struct Override {
    std::string key, of;  // "listener.auth" of "mqtts"
    Json value;
  };
  Json object(const std::vector<Override>& overrides) const;

 private:
  const std::string path_;
  const ReadConfig begun_;
  mutable std::mutex mutex_;
  ReadConfig read_;
};

// What the file writes as JSON: "10s" stays text, a number is one, { chain = "…" } becomes an object.
Json json_of_setting(std::string_view written);

}  // namespace sallyport
