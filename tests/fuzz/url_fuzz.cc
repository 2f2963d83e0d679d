// A connection string that an operator writes: whatever is wrong with it, and however it is shown, its password is in
// neither.
#include <cstdlib>
#include <string>

#include "cache/shared/pg_url.h"
#include "proxy/config/settings.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using sallyport::PgUrl;
  const std::string rest(reinterpret_cast<const char*>(data), size);
  if (rest.find("9password9") != std::string::npos || rest.find('\0') != std::string::npos) return 0;
  for (const std::string& url : {"postgresql://" + rest, "postgresql://u:9password9@" + rest,
                                 "postgresql://h/d?sslmode=disable&password=9password9" + rest}) {
    const auto secret = [](const std::string& text) { return text.find("9password9") != std::string::npos; };
    if (secret(PgUrl::flaw(url)) || secret(PgUrl::weakness(url)) || secret(PgUrl::shown(url)) ||
        secret(sallyport::without_passwords(url)) || secret(sallyport::without_passwords('"' + url + '"'))) {
      std::abort();
    }
  }
  return 0;
}
