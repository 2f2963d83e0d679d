// Any certificates through the gate: length-prefixed DER, the first is the leaf. Whatever they hold there is
// a verdict, and nobody whom the registered CAs did not sign is admitted. The leaf is asked for as OpenSSL reads it and
// as read_plain_leaf() does. The issuer that issuer_line() finds is the one that OpenSSL reads.
#include <openssl/x509.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cache/crypto/openssl_ptr.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/device_gate.h"
#include "cache/standing/status_cache.h"
#include "cache/x509/issuer_line.h"
#include "cache/x509/plain_leaf.h"
#include "tests/cache/test_pki.h"

namespace {

using namespace sallyport;

struct Registry {
  test::Identity509 root = test::make_ca("Root");
  test::Identity509 mid = test::make_ca("Mid", &root);
  CaSet::LinkMemo memo;
  CaSet cas{{{root.certificate}, {mid.certificate}}, {}, nullptr, memo};
  StatusCache cache;
  ChainTable chains;
  DeviceGate gate{cache, chains};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Registry registry;
  std::vector<X509Ptr> parsed;
  std::optional<PlainLeaf> plain;
  std::vector<Bytes> behind;
  const X509StackPtr sent(sk_X509_new_null());
  while (size > 2 && parsed.size() < 12) {
    const std::size_t length = std::min<std::size_t>(static_cast<std::size_t>(data[0]) << 8 | data[1], size - 2);
    const unsigned char* at = data + 2;
    if (plain || !parsed.empty()) {
      behind.emplace_back(at, length);
    } else {
      plain = read_plain_leaf({at, length});
    }
    const std::string issuer = issuer_line({at, length});
    X509Ptr x509(d2i_X509(nullptr, &at, static_cast<long>(length)));
    // OpenSSL takes a little more than DER: there none may be found, but never another one.
    if (x509 && !issuer.empty() && issuer != short_line(X509_get_issuer_name(x509.get()))) __builtin_trap();
    data += 2 + length;
    size -= 2 + length;
    if (!x509) continue;
    sk_X509_push(sent.get(), x509.get());
    parsed.push_back(std::move(x509));
  }
  if (plain) {
    // What both read is the same. OpenSSL takes a little of what is no DER, and writes it as it should have been.
    const auto whole = Certificate::from_der(plain->der);
    if (whole && whole->key_type() == KeyType::EcP256 && whole->fingerprint() == plain->identity.fingerprint &&
        make_identity(*whole) != plain->identity) {
      __builtin_trap();
    }
    const Verdict verdict = registry.gate.decide({.plain = &*plain, .behind = behind}, registry.cas, {}, 1'800'000'000);
    if (verdict.admitted()) __builtin_trap();
  }
  if (parsed.empty()) return 0;
  const Verdict verdict = registry.gate.decide({parsed[0].get(), sent.get()}, registry.cas, {}, 1'800'000'000);
  // The keys are new in every process: nothing in a corpus can be signed by them.
  if (verdict.admitted()) __builtin_trap();
  return 0;
}
