// What `sallyport doctor` looks at on the machine itself: the kernel, its limits, the clock, the disk. Each finding
// with its remedy. Reads only, from /proc and system calls; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"

namespace sallyport {

struct Finding {
  enum class Grade : std::uint8_t { Fine, Warning, Problem };
  Grade grade = Grade::Fine;
  std::string about;   // two or three words
  std::string what;    // what was found
  std::string remedy;  // what to do; empty where it is fine
};
std::string_view to_string(Finding::Grade grade);  // "ok" | "warning" | "problem"

// This machine and its configuration, and where to ask on. Empty: the configuration does not say, or was not read.
struct MachineReport {
  std::vector<Finding> found;
  std::string socket;  // admin.socket
  std::string shared;  // registry.shared, which may hold a password
};

// `known`: the configuration was read; else the disk of its state_dir is not known either.
std::vector<Finding> examine_machine(const Config& config, bool known);

inline constexpr const char* kNoStandby =
    "PostgreSQL has no synchronous standby: a failover can lose a revocation that was acknowledged";

// Whether a server that starts now could follow the registry there. Connects; takes PgConnection::kConnect at most.
std::vector<Finding> examine_shared(const std::string& url);

// What is judged, apart from where it comes from.
Finding judge_kernel(std::string_view release);                      // as uname(2) has it
Finding judge_open_files(std::uint64_t most, std::uint64_t wanted);  // RLIMIT_NOFILE; connections of all listeners
Finding judge_listen_queue(std::uint64_t somaxconn);                 // net.core.somaxconn
Finding judge_source_ports(std::uint64_t low, std::uint64_t high, std::uint64_t wanted, std::size_t sources);
Finding judge_disk(double free_bytes, double all_bytes, const std::string& dir);
Finding judge_clock(bool synchronized);  // adjtimex(2)

}  // namespace sallyport
