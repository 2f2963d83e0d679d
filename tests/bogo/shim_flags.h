// What BoringSSL's test runner asks of a shim on its command line (ssl/test/PORTING.md), as much of it as a server of
// TLS 1.2 and 1.3 needs. What is not here ends the process as "unimplemented", which the runner counts as skipped.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "proxy/config/config.h"

namespace sallyport::bogo {

struct Flags {
  int port = 0, resume_count = 0;
  std::optional<std::uint64_t> shim_id;  // the runner of 2022 gives none
  bool ipv6 = false, server = false;
  CertificateFiles certificate;
  int min_version = 0, expect_version = 0;
  bool mutual = false, verify_fail = false, reverify_on_resume = false;
  bool tickets = true, expect_session_miss = false;
  bool async = false;  // one byte at a time
  bool shim_writes_first = false, unfinished_write = false, write_different_record_sizes = false;
  std::string initial_write = "hello";
  int repeat_initial_write = 1;
  bool shim_shuts_down = false, check_close_notify = false, twice = false;
  long resumption_delay = 0;
  std::string test;  // its name, from where the runner keeps the test's transcript
};

// Of the first connection, and of those that resume it.
struct AllFlags {
  Flags initial, resumed;
};
AllFlags read_flags(int argc, char** argv);

// Ends the process as one that has no such thing.
[[noreturn]] void not_here(const std::string& what);

}  // namespace sallyport::bogo
