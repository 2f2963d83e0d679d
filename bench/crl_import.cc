// What does an imported revocation list cost an entry, of serials that nobody has shown?
//
// Expected, from the pieces: parsing an entry below 1 us; three rows (device, text, index) of 200 bytes in a batch of
// 4096, some 18 us with RocksDB's log and tables, and a slot of the cache, below 1 us: 20 us an entry, two seconds for
// a hundred thousand. A deactivation waits for one part of 4096 at most.
#include <openssl/x509.h>

#include <ctime>
#include <memory>
#include <string>

#include "bench/scale.h"
#include "cache/crypto/openssl_ptr.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/status_cache.h"
#include "tests/cache/test_pki.h"

namespace sallyport::bench {
namespace {

class NoShards final : public ChangeSink {
 public:
  void put_in_force(const Notice&) override {}
};

class NoLog final : public Logger {
 public:
  void write(Level, std::string_view, std::initializer_list<Field>) override {}
};

struct FreeCrl {
  void operator()(X509_CRL* crl) const { X509_CRL_free(crl); }
};

// A list of `entries` serials, in DER, signed by `ca`.
std::string list_of(const test::Identity509& ca, std::int64_t entries) {
  const std::unique_ptr<X509_CRL, FreeCrl> list(X509_CRL_new());
  const std::unique_ptr<ASN1_TIME, void (*)(ASN1_TIME*)> now(ASN1_TIME_set(nullptr, std::time(nullptr) - 60),
                                                             &ASN1_TIME_free);
  X509_CRL_set_version(list.get(), 1);
  X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(ca.certificate.x509()));
  X509_CRL_set1_lastUpdate(list.get(), now.get());
  X509_CRL_set1_nextUpdate(list.get(), now.get());
  for (std::int64_t i = 0; i < entries; ++i) {
    X509_REVOKED* revoked = X509_REVOKED_new();
    ASN1_INTEGER* serial = ASN1_INTEGER_new();
    ASN1_INTEGER_set_uint64(serial, (std::uint64_t{1} << 62) + static_cast<std::uint64_t>(i));
    X509_REVOKED_set_serialNumber(revoked, serial);
    X509_REVOKED_set_revocationDate(revoked, now.get());
    ASN1_INTEGER_free(serial);
    X509_CRL_add0_revoked(list.get(), revoked);
  }
  X509_CRL_sign(list.get(), ca.key.get(), EVP_sha256());
  unsigned char* der = nullptr;
  const int length = i2d_X509_CRL(list.get(), &der);
  std::string bytes(reinterpret_cast<const char*>(der), static_cast<std::size_t>(length));
  OPENSSL_free(der);
  return bytes;
}

void import(benchmark::State& state) {
  const test::Identity509 ca = test::make_ca("CA");
  const std::string bytes = list_of(ca, state.range(0));
  for (auto _ : state) {
    state.PauseTiming();
    const test::TempDir folder;
    NoLog log;
    NoShards shards;
    StatusCache cache;
    ChainTable chains;
    auto store = RegistryStore::open(folder.path() + "/state");
    if (!store) return state.SkipWithError("the registry cannot be opened");
    Registrar registrar(**store, cache, chains, shards, RegistrarOptions{}, log);
    if (!registrar.warm() || !registrar.trust({ca.certificate})) return state.SkipWithError("the CA is not taken");
    registrar.start();
    state.ResumeTiming();
    const auto list = Crl::parse(bytes, std::time(nullptr));
    if (!list) return state.SkipWithError("the list cannot be read");
    const auto outcome = registrar.import_crl(*list);
    if (!outcome || outcome->unseen != static_cast<std::uint64_t>(state.range(0))) {
      return state.SkipWithError("not every entry was taken");
    }
    state.PauseTiming();
    registrar.stop();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void sizes(benchmark::internal::Benchmark* each) {
  each->ArgName("entries")->Arg(small() ? 1'000 : 10'000);
  if (!small()) each->Arg(100'000);
}
BENCHMARK(import)->Apply(sizes)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
}  // namespace sallyport::bench

BENCHMARK_MAIN();
