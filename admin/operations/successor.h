// SIGUSR2: this process starts the program that lies where its own did, with `serve --take-over`. Under systemd that is
// the only way for a new version to come without a refused connection: whoever is started by hand stands outside of the
// unit. The main thread.
#pragma once

#include <sys/types.h>

#include <string>

#include "cache/base/result.h"

namespace sallyport {

// Where this program lies. Asked at the start: later another file may have that name.
std::string own_program();

// Its pid. It inherits the environment, stdout and stderr; nobody waits for its end.
Answer<pid_t> start_successor(const std::string& program, const std::string& config_path);

}  // namespace sallyport
