#include "tests/bogo/shim_flags.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string_view>

namespace sallyport::bogo {
namespace {

constexpr int kUnimplemented = 89;  // PORTING.md

// Those that change nothing here, ask for what this server always does, or check what no one can see of an engine.
constexpr std::string_view kIgnored[] = {"-implicit-handshake",
                                         "-use-custom-verify-callback",
                                         "-expect-verify-result",
                                         "-expect-no-peer-cert",
                                         "-expect-extended-master-secret",
                                         "-expect-secure-renegotiation",
                                         "-expect-no-secure-renegotiation",
                                         "-expect-session-id",
                                         "-expect-no-session-id",
                                         "-server-preference",
                                         "-no-tls1",
                                         "-no-tls11",
                                         "-expect-hrr",
                                         "-expect-no-hrr",
                                         "-retain-only-sha256-client-cert",
                                         "-expect-sha256-client-cert",
                                         "-expect-no-server-name",
                                         "-partial-write",
                                         "-expect-no-session",
                                         "-enable-grease",
                                         "-permute-extensions",
                                         "-expect-no-offer-early-data",
                                         "-enable-early-data",
                                         "-expect-reject-early-data",
                                         "-use-ticket-callback",
                                         "-use-ticket-aead-callback"};
constexpr std::string_view kIgnoredWithValue[] = {"-trust-cert",
                                                  "-expect-peer-signature-algorithm",
                                                  "-expect-curve-id",
                                                  "-expect-server-name",
                                                  "-expect-cipher",
                                                  "-expect-cipher-aes",
                                                  "-expect-cipher-no-aes",
                                                  "-expect-peer-cert-file",
                                                  "-expect-msg-callback",
                                                  "-read-size",
                                                  "-verify-prefs",
                                                  "-signing-prefs",
                                                  "-expect-peer-verify-pref",
                                                  "-expect-early-data-reason",
                                                  "-expect-selected-credential"};

struct Switch {
  std::string_view name;
  bool Flags::*field;
  bool to = true;
};
constexpr Switch kSwitches[] = {{"-ipv6", &Flags::ipv6},
                                {"-server", &Flags::server},
                                {"-verify-peer", &Flags::mutual},
                                {"-require-any-client-certificate", &Flags::mutual},
                                {"-verify-fail", &Flags::verify_fail},
                                {"-reverify-on-resume", &Flags::reverify_on_resume},
                                {"-no-ticket", &Flags::tickets, false},
                                {"-async", &Flags::async},
                                {"-shim-writes-first", &Flags::shim_writes_first},
                                {"-read-with-unfinished-write", &Flags::unfinished_write},
                                {"-shim-shuts-down", &Flags::shim_shuts_down},
                                {"-check-close-notify", &Flags::check_close_notify},
                                {"-write-different-record-sizes", &Flags::write_different_record_sizes},
                                {"-expect-session-miss", &Flags::expect_session_miss},
                                {"-handshake-twice", &Flags::twice},
                                {"-no-op-extra-handshake", &Flags::twice}};

struct Number {
  std::string_view name;
  int Flags::*field;
};
constexpr Number kNumbers[] = {{"-port", &Flags::port},
                               {"-resume-count", &Flags::resume_count},
                               {"-min-version", &Flags::min_version},
                               {"-expect-version", &Flags::expect_version},
                               {"-repeat-shim-initial-write", &Flags::repeat_initial_write}};

template <typename Table>
auto row_of(const Table& table, std::string_view name) {
  return std::find_if(std::begin(table), std::end(table), [&](const auto& each) { return each.name == name; });
}
template <std::size_t N>
bool one_of(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}
bool one_of(std::initializer_list<std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The folder of the transcripts, the side, the name and a dash.
std::string test_of(std::string_view transcript) {
  transcript.remove_prefix(transcript.rfind('/') + 1);
  if (transcript.ends_with('-')) transcript.remove_suffix(1);
  return std::string(transcript);
}

// One flag that has a value; false where there is no such.
bool set_value(Flags& flags, std::string_view name, const std::string& value) {
  if (const auto number = row_of(kNumbers, name); number != std::end(kNumbers)) {
    flags.*(number->field) = std::atoi(value.c_str());
  } else if (name == "-shim-id") {
    flags.shim_id = std::strtoull(value.c_str(), nullptr, 10);
  } else if (name == "-key-file") {
    flags.certificate.key = value;
  } else if (name == "-cert-file") {
    flags.certificate.chain = value;
  } else if (name == "-max-version") {
    if (value != "772") not_here("-max-version " + value);
  } else if (name == "-curves") {
    if (!one_of({"29", "23", "24", "25"}, value)) not_here("-curves " + value);
  } else if (name == "-shim-initial-write") {
    flags.initial_write = value;
  } else if (name == "-resumption-delay") {
    flags.resumption_delay = std::atol(value.c_str());
  } else if (name == "-write-settings") {
    flags.test = test_of(value);
  } else {
    return one_of(kIgnoredWithValue, name);
  }
  return true;
}

bool set_switch(Flags& flags, std::string_view name) {
  if (const auto found = row_of(kSwitches, name); found != std::end(kSwitches)) {
    flags.*(found->field) = found->to;
  } else if (name == "-no-tls12") {
    flags.min_version = 772;
  } else {
    return one_of(kIgnored, name);
  }
  return true;
}

}  // namespace

void not_here(const std::string& what) {
  std::fprintf(stderr, "unimplemented: %s\n", what.c_str());
  std::exit(kUnimplemented);
}

AllFlags read_flags(int argc, char** argv) {
  AllFlags flags;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    bool first = true, later = true;
    if (name.starts_with("-on-initial-")) {
      name.erase(0, std::strlen("-on-initial"));
      later = false;
    } else if (name.starts_with("-on-resume-")) {
      name.erase(0, std::strlen("-on-resume"));
      first = false;
    }
    Flags unused;
    if (set_switch(unused, name)) {
      if (first) set_switch(flags.initial, name);
      if (later) set_switch(flags.resumed, name);
      continue;
    }
    if (i + 1 == argc || !set_value(unused, name, argv[i + 1])) not_here(argv[i]);
    ++i;
    if (first) set_value(flags.initial, name, argv[i]);
    if (later) set_value(flags.resumed, name, argv[i]);
  }
  return flags;
}

}  // namespace sallyport::bogo
