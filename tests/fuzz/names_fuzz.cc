// A name from anybody: ours and OpenSSL's form of it are the same, or neither reads it. OpenSSL shows the first bytes
// of its form's SHA-1 (X509_NAME_hash_ex(3)). A name and its tail are also compared with each other.
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "cache/crypto/openssl_ptr.h"
#include "cache/x509/canonical_name.h"

namespace {

using namespace sallyport;
using NamePtr = std::unique_ptr<X509_NAME, OpensslFree<&X509_NAME_free>>;

struct Read {
  std::optional<std::string> ours;
  NamePtr theirs;
};

Read read(std::span<const std::uint8_t> der) {
  Read both{canonical_name(der), nullptr};
  const unsigned char* at = der.data();
  both.theirs.reset(d2i_X509_NAME(nullptr, &at, static_cast<long>(der.size())));
  if (at != der.data() + der.size()) both.theirs.reset();
  ERR_clear_error();
  if (both.ours.has_value() != (both.theirs != nullptr)) __builtin_trap();
  if (!both.ours) return both;
  unsigned char sha1[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(both.ours->data()), both.ours->size(), sha1);
  const unsigned long hash = sha1[0] | static_cast<unsigned long>(sha1[1]) << 8 |
                             static_cast<unsigned long>(sha1[2]) << 16 | static_cast<unsigned long>(sha1[3]) << 24;
  if (X509_NAME_hash_ex(both.theirs.get(), nullptr, nullptr, nullptr) != hash) __builtin_trap();
  if (canonical_name_of(both.theirs.get()) != *both.ours) __builtin_trap();
  return both;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t first = std::min<std::size_t>(data[0], size - 1);
  const Read one = read({data + 1, first}), other = read({data + 1 + first, size - 1 - first});
  read({data + 1, size - 1});
  if (!one.ours || !other.ours) return 0;
  if ((X509_NAME_cmp(one.theirs.get(), other.theirs.get()) == 0) != (*one.ours == *other.ours)) __builtin_trap();
  return 0;
}
