// Small things the command line says and reads the same way everywhere.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "admin/operations/objects.h"
#include "cache/base/result.h"

namespace sallyport {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

inline constexpr std::string_view kRed = "\x1b[31m", kGreen = "\x1b[32m", kYellow = "\x1b[33m", kBold = "\x1b[1m",
                                  kPlain = "\x1b[0m";
// Standard output is a terminal that takes colours, and nobody has asked for none (NO_COLOR, no-color.org).
bool may_colour();
std::size_t terminal_columns();  // 0: standard output is none

int complain(std::string_view what);  // one line on stderr; returns kFailed
// After a command: `status`, or kFailed where standard output did not take what was printed. An answer that nobody
// could read is no success, and a script that asked for it must stop.
int written(int status);
// Says what is about to happen, and asks where a person is there to answer. True: go on.
// `otherwise`: what is said where the answer is no.
bool agreed(const std::string& what, bool yes, std::string_view otherwise = "nothing was changed");
std::string text(const Json& json, const char* key);
std::string with_thousands(std::uint64_t n);
// "1 device", "2 devices"; with a plural of its own where an s will not do.
std::string counted(std::uint64_t n, const std::string& one, const std::string& many = "");
std::string short_id(const std::string& id);
std::int64_t seconds(std::string_view written);  // "24h"; 0 where it is not a duration
void print_json(const Json& json);
int print_object(const Json& json, bool as_json);
// A certificate file as PEM; DER is the same certificate. A file with a private key is never sent.
Answer<std::string> certificate_text(const std::string& path);

}  // namespace sallyport
