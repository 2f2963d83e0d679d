// What `serve` would ask beside the text of its configuration: files, names, what was chosen at run time, the folder of
// the registry, what the kernel allows. All of it in one pass. Binds nothing, and writes nothing.
#pragma once

#include "cache/base/result.h"
#include "proxy/config/config.h"

namespace sallyport {

// Certificate files and keys, trusted CAs, addresses: adds its findings at the places of the keys that name them. What
// serve would go on with is a warning. For a report with problems, too: of what could be read.
void check_files(ConfigReport& report);

// The names of brokers, which a server asks for by itself and again; the folder of the registry, the choices in it, and
// the limits of the process.
void check_surroundings(ConfigReport& report);

}  // namespace sallyport
