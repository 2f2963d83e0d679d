#include "cache/crypto/openssl_insides.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>

namespace sallyport {

namespace {

// A row is added when all tests have passed with that version: a patch release changes none of these insides.
struct Version {
  unsigned major, minor;
};
constexpr Version kKnown[] = {
    {3, 0},  // Debian 12
    {3, 5},  // Debian 13
};

bool version_is_known() {
  const unsigned major = OPENSSL_version_major(), minor = OPENSSL_version_minor();
  return std::any_of(std::begin(kKnown), std::end(kKnown),
                     [&](const Version& each) { return each.major == major && each.minor == minor; });
}

// Once false, never true again.
struct Standing {
  std::atomic<bool> hold;
  std::mutex mutex;
  std::string_view why;  // written once, before hold is false

  Standing() : hold(version_is_known()), why(hold ? "" : "this version is not among those tested") {}
};
Standing& standing() {
  static Standing all;
  return all;
}

}  // namespace

bool openssl_insides_hold() {
  return standing().hold.load(std::memory_order_acquire);
}

std::string_view openssl_insides_refusal() {
  return openssl_insides_hold() ? std::string_view() : standing().why;
}

void give_up_openssl_insides(std::string_view why) {
  Standing& all = standing();
  const std::lock_guard lock(all.mutex);
  if (!openssl_insides_hold()) return;
  all.why = why;
  all.hold.store(false, std::memory_order_release);
}

std::string openssl_version() {
  return OpenSSL_version(OPENSSL_VERSION_STRING);
}

}  // namespace sallyport
