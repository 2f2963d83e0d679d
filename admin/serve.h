// `sallyport serve`: builds the parts of the house, passes them to each other by reference, and waits for signals.
// Reads as the architecture.
#pragma once

#include <string>

namespace sallyport {

// `accept_loss`: also with a registry that lost changes that were answered (RegistryStore::open, OnLoss).
// `take_over`: the listeners of the process that runs with the same admin.socket, which then drains.
int serve(const std::string& config_path, bool accept_loss, bool take_over);

}  // namespace sallyport
