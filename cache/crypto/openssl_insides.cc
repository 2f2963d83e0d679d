#include "cache/crypto/openssl_insides.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>

#include "cache/crypto/openssl_alone.h"

namespace sallyport {

namespace {

// A row is added when all tests have passed with that version: a patch release changes none of these insides.
struct Version {
  unsigned major, minor;
  // A live connection goes on when SSL_set_session() exchanges its session as tls_session_swap.cc does. With 3.5 it can
  // read nothing afterwards.
  bool exchanges_sessions;
};
constexpr Version kKnown[] = {
    {3, 0, true},   // Debian 12
    {3, 5, false},  // Debian 13
};

// Null where it is unknown.
const Version* version() {
  const unsigned major = OPENSSL_version_major(), minor = OPENSSL_version_minor();
  const auto* found = std::find_if(std::begin(kKnown), std::end(kKnown),
                                   [&](const Version& each) { return each.major == major && each.minor == minor; });
  return found == std::end(kKnown) ? nullptr : found;
}

// Once false, never true again.
struct Standing {
  std::atomic<bool> hold;
  std::mutex mutex;
  std::string_view why;  // written once, before hold is false

  Standing() : hold(version() != nullptr), why(hold ? "" : "this version is not among those tested") {}
};
Standing& standing() {
  static Standing all;
  return all;
}

bool holds() {
  return standing().hold.load(std::memory_order_acquire);
}

}  // namespace

bool openssl_insides_hold() {
  return !openssl_alone() && holds();
}

bool openssl_exchanges_sessions() {
  static const bool exchanges = version() != nullptr && version()->exchanges_sessions;
  return exchanges && openssl_insides_hold();
}

std::string_view openssl_insides_refusal() {
  return holds() ? std::string_view() : standing().why;
}

void give_up_openssl_insides(std::string_view why) {
  Standing& all = standing();
  const std::lock_guard lock(all.mutex);
  if (!holds()) return;
  all.why = why;
  all.hold.store(false, std::memory_order_release);
}

std::string openssl_version() {
  return OpenSSL_version(OPENSSL_VERSION_STRING);
}

}  // namespace sallyport
