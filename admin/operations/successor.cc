#include "admin/operations/successor.h"

#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>

namespace sallyport {

std::string own_program() {
  std::error_code unknown;
  return std::filesystem::read_symlink("/proc/self/exe", unknown).string();
}

Answer<pid_t> start_successor(const std::string& program, const std::string& config_path) {
  ::signal(SIGCHLD, SIG_IGN);  // one that does not start leaves no zombie
  std::array<std::string, 5> words{program, "serve", "--config", config_path, "--take-over"};
  std::array<char*, words.size() + 1> arguments{};
  for (std::size_t i = 0; i < words.size(); ++i) arguments[i] = words[i].data();
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none;  // ours are blocked, for signalfd(2)
  sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  // Sockets of Boost.Asio's are not closed by themselves: the successor would keep the addresses that it needs.
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program.c_str(), &files, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return Refusal{Refusal::Kind::Unavailable, program + ": " + std::strerror(error)};
  return pid;
}

}  // namespace sallyport
