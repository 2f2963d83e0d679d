// The commands about CAs, devices, lists of revocations, and servers' certificates.
#pragma once

#include "admin/cli/command_line_parts.h"

namespace sallyport {

void add_ca_commands(CLI::App& app, Parsed& parsed);
void add_device_commands(CLI::App& app, Parsed& parsed);
void add_certificate_commands(CLI::App& app, Parsed& parsed);

}  // namespace sallyport
