// What the console reads of a request's header beside its cookie: strangers write it, so it is pure, bounded by the
// header's own limit, and fuzzed (tests/fuzz/console_headers_fuzz.cc).
#pragma once

#include <string_view>

namespace sallyport {

bool same_word(std::string_view a, std::string_view b);  // whatever its case
std::string_view trimmed(std::string_view text);
// Accept-Encoding, RFC 9110, section 12.5.3: "gzip", "gzip;q=0.5"; with q=0 it does not.
bool takes_gzip(std::string_view accept_encoding);
// If-None-Match, RFC 9110, section 13.1.2, by weak comparison.
bool has_it(std::string_view if_none_match, std::string_view etag);

}  // namespace sallyport
