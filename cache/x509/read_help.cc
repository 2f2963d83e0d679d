#include "cache/x509/read_help.h"

#include <openssl/err.h>

#include <ctime>
#include <utility>

namespace sallyport {

Refusal no(std::string what) {
  ERR_clear_error();
  return {Refusal::Kind::Invalid, std::move(what)};
}

bool unix_time(const ASN1_TIME* time, std::int64_t& out) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return false;
  out = ::timegm(&parts);
  return true;
}

}  // namespace sallyport
