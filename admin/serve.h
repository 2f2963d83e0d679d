// `sallyport serve` and `sallyport check`: builds the parts of the house, passes them to each other by
// reference, and waits for signals. Reads as the architecture.
#pragma once

#include <string>

namespace sallyport {

int serve(const std::string& config_path);
int check(const std::string& config_path);

}  // namespace sallyport
