// What the console reads of a request's header: the cookie, Accept-Encoding, If-None-Match, an address to count by.
// Nothing is found that is not in the text, and nothing is read beyond it.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "admin/console_server/header_fields.h"
#include "admin/operations/console_sessions.h"

using namespace sallyport;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of its exact size: what is read behind it is seen.
  const std::string copy(reinterpret_cast<const char*>(data), size);
  const std::string_view text = copy;
  for (const bool tls : {false, true}) {
    const auto cookies = ConsoleSessions::cookies_of(text, tls);
    if (cookies.size() > ConsoleSessions::kMostCookies) std::abort();
    for (const std::string& cookie : cookies) {
      const std::string pair = std::string(ConsoleSessions::name_of_cookie(tls)) + "=" + cookie;
      if (cookie.empty() || text.find(pair) == std::string_view::npos) std::abort();
      if (cookie.find(';') != std::string::npos) std::abort();
    }
  }
  if (has_it(text, "\"0123456789abcdef\"") && text.find("\"0123456789abcdef\"") == std::string_view::npos &&
      text.find('*') == std::string_view::npos) {
    std::abort();
  }
  const auto letter_of_gzip = [](char c) { return c == 'g' || c == 'G'; };
  bool any = false;
  for (const char c : text) any = any || letter_of_gzip(c);
  if (takes_gzip(text) && !any) std::abort();
  if (trimmed(text).size() > text.size()) std::abort();
  if (SignInLimits::address_of(copy).size() > copy.size() + 8) std::abort();
  (void)is_foreign_host(text);
  return 0;
}
