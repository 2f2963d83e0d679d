// The table of settings: one row for each key of the configuration file. It drives the parser, what a reload changes
// at once, the reference page, `sallyport config` and the commented file. A key is added here, and nowhere else but
// in its struct in config.h: settings.cc does not compile while a member of one of those structs has no row.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"

namespace sallyport {

// What is written behind the key.
enum class Takes : std::uint8_t {
  Text,
  Flag,
  Number,
  Duration,      // "250ms" "10s" "5m" "24h" "30d"
  Size,          // "512B" "64KiB" "4MiB" "1GiB"
  Word,          // one of a closed list
  Address,       // "host:port"
  Servers,       // a list of "host:port" and "unix:/path"
  Texts,         // a list of texts
  Networks,      // a list of "10.0.0.0/8" and "2001:db8::/32"
  CaIds,         // a list of ids of CAs
  Certificates,  // a list of { chain, key }
  Template,      // a text with {fields}
  Table,         // { key = value, … }
};

enum class Applies : std::uint8_t {
  AtOnce,        // a reload changes it
  AfterRestart,  // a reload names it in the log
  NotYet,        // a key that this version does not carry out yet: only its default may be written
};

struct Setting {
  std::string_view table;  // "proxy", "listener", …; empty at the top of the file
  std::string_view key;
  Takes takes = Takes::Text;
  Applies applies = Applies::AfterRestart;
  // Numbers and bytes as they are, durations in ms, the length of a text; both 0: what the type allows.
  std::uint64_t least = 0, most = 0;
  bool may_be_zero = false;  // of a duration: "0s" stands for none
  bool is_url = false;       // it may hold a password, which is shown to nobody: without_passwords()
  std::span<const std::string_view> words = {};
  std::string_view needed = {};      // why a file must say it; empty: there is a default
  std::string_view inherits = {};    // the key that stands where it is not written
  std::string_view example = {};     // another value than the default, as the file writes it
  std::string_view only_value = {};  // NotYet: the default, as the file writes it
  std::string_view says = {};        // one or two sentences for the operator
};

// Everything of one row as text, for people.
struct SettingText {
  const Setting* setting;
  std::string name;      // "listener.auth"
  std::string type;      // "duration"
  std::string fallback;  // as the file writes it; empty: the file must say it
  std::string range;     // "1ms to 3660d"
  std::string applies;   // "at once"
};

std::vector<SettingText> setting_texts();  // in the order of admin/docs/configuration.md
// A configuration file with a comment and the default of every key; what only the operator knows is an example.
std::string default_config();

// The keys that differ between two configurations and take a restart, as the file writes them.
std::vector<std::string> needs_restart(const Config& now, const Config& next);
// A configuration and what its file has of it: which keys are written there, as ConfigReport::places names them.
struct ReadConfig {
  Config config;
  std::set<std::string> written;
};
ReadConfig read_config_of(const ConfigReport& report);

// A connection string as it may be shown: its password is `…`, and so is each parameter that is not known to be
// harmless.
std::string without_passwords(const std::string& url);

// One key as it runs; values as the file writes them, without passwords.
struct KeyInForce {
  const Setting* setting = nullptr;
  std::string name;      // "listener.auth"
  std::string of;        // of several tables of a kind: which
  std::string value;     // in force
  std::string fallback;  // the default; empty: there is none
  std::string waits;     // what the file says by now and a restart would put in force; empty: the same
  bool written = false;  // the file that `value` is from says it
};
// `begun`: what the process was started with; `read`: what was read last, which is in force but for what takes a
// restart.
std::vector<KeyInForce> keys_in_force(const ReadConfig& begun, const ReadConfig& read);

// `now`, and of `next` what changes at once. Listeners are those of `now`.
Config changed_at_once(const Config& now, const Config& next);

}  // namespace sallyport
