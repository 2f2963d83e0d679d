// `sallyport serve` and `sallyport check`: builds the parts of the house, passes them to each other by
// reference, and waits for signals. Reads as the architecture.
#pragma once

#include <string>
#include <vector>

#include "admin/operations/doctor.h"

namespace sallyport {

// `accept_loss`: also with a registry that lost changes that were answered (RegistryStore::open, OnLoss).
// `take_over`: the listeners of the process that runs with the same admin.socket, which then drains.
int serve(const std::string& config_path, bool accept_loss, bool take_over);
int check(const std::string& config_path);
// What `check` would say and the machine itself, for `doctor`.
std::vector<Finding> examine(const std::string& config_path);

}  // namespace sallyport
