// What the program says about itself without asking a server: its version and the reference of its configuration.
#pragma once

namespace sallyport {

// Each prints and returns the exit status.
int print_version(bool as_json);
int print_config_reference(bool as_json);
int print_default_config();

}  // namespace sallyport
