// `sallyport check` and what `doctor` says of the file and the machine: everything that can be found out without
// serving.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "admin/operations/doctor.h"
#include "proxy/config/config.h"

namespace sallyport {

inline constexpr std::string_view kNoListener = "there is no [[listener]]: devices cannot connect";

// Says on stderr what was found. False: it cannot be served.
bool acceptable(const ConfigReport& report, const std::string& path);

// The exit status.
int check(const std::string& config_path, bool json);
// What `check` would say and the machine itself.
MachineReport examine(const std::string& config_path);

}  // namespace sallyport
