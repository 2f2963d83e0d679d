// Text from outside made safe to print: names in certificates, client ids and paths reach log lines,
// tables and JSON only through here, so that none of them can forge a line or steer a terminal.
#pragma once

#include <string>
#include <string_view>

namespace sallyport {

// Appends `raw` with control characters (C0, DEL, C1), line separators, bidirectional overrides and bytes
// that are not UTF-8 written as \xNN; also backslash and, where `quote` is set, the double quote.
void append_escaped(std::string& out, std::string_view raw, bool quote);
std::string escaped(std::string_view raw);

// Appends `raw` as the inside of a JSON string (RFC 8259, section 7); invalid UTF-8 becomes U+FFFD.
void append_json_escaped(std::string& out, std::string_view raw);

// The length of the well-formed UTF-8 sequence at the start of `text` (RFC 3629), 0 if there is none.
std::size_t utf8_sequence(std::string_view text);

}  // namespace sallyport
