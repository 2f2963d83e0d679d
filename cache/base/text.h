// Text from outside made safe to print: names in certificates, client ids and paths reach log lines,
// tables and JSON only through here, so that none of them can forge a line or steer a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sallyport {

// How many bytes are kept of a text that a peer chose: of a name in its certificate, its client id.
inline constexpr std::size_t kPeerText = 256;

// `raw`, or its beginning with "…" behind it: `most` bytes at most, 8 of them at least, and no half character. For what
// is only shown.
std::string shortened(std::string_view raw, std::size_t most = kPeerText);
// The same for what is compared as well: what has more than kPeerText bytes has more than that still, some bytes more
// at most, so that nothing which was cut passes for a whole text.
std::string kept_of(std::string_view raw);

// Appends `raw` with control characters (C0, DEL, C1), line separators, bidirectional overrides and bytes
// that are not UTF-8 written as \xNN; also backslash and, where `quote` is set, the double quote.
void append_escaped(std::string& out, std::string_view raw, bool quote);
std::string escaped(std::string_view raw);

// Appends `raw` as the inside of a JSON string (RFC 8259, section 7); invalid UTF-8 becomes U+FFFD.
void append_json_escaped(std::string& out, std::string_view raw);
// JSON that says the same, and may be shown: what would steer a terminal or reorder text is written as \uNNNN. What is
// not ASCII stands only in strings there.
std::string steering_escaped(std::string_view json);

// The length of the well-formed UTF-8 sequence at the start of `text` (RFC 3629), 0 if there is none.
std::size_t utf8_sequence(std::string_view text);

}  // namespace sallyport
