// A registrar over a real RocksDB in a folder of its own, a file system that fails on demand, and shards that only
// remember what they were told.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/status_cache.h"
#include "tests/cache/registry/fault_env.h"
#include "tests/cache/test_pki.h"
#include "tests/eventually.h"

namespace sallyport::test {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

// Stands for the data plane: remembers what was put in force, and may look at the world meanwhile.
class Shards final : public ChangeSink {
 public:
  void put_in_force(const Notice& notice) override {
    const std::lock_guard lock(mutex_);
    for (const Cut& cut : notice.cuts) cuts_.push_back(cut);
    ++notices;
    if (when_asked) when_asked(notice);
  }
  std::vector<Cut> cuts() const {
    const std::lock_guard lock(mutex_);
    return cuts_;
  }
  Cut last_cut() const {
    const std::vector<Cut> all = cuts();
    EXPECT_FALSE(all.empty()) << "nothing was cut";
    return all.empty() ? Cut{} : all.back();
  }
  std::function<void(const Notice&)> when_asked;
  std::atomic<int> notices{0};

 private:
  mutable std::mutex mutex_;
  std::vector<Cut> cuts_;
};

class RegistrarTest : public testing::Test {
 protected:
  void open(RegistrarOptions options = {}, bool start = true, const StandingEpochs& last = {}) {
    auto opened = RegistryStore::open(dir_.path() + "/state", &env_);
    ASSERT_TRUE(opened) << opened.error().what;
    store_ = std::move(*opened);
    cache_ = std::make_unique<StatusCache>();
    chains_ = std::make_unique<ChainTable>();
    gate_ = std::make_unique<DeviceGate>(*cache_, *chains_, DeviceGate::AskedBy::Others);
    registrar_ = std::make_unique<Registrar>(*store_, *cache_, *chains_, shards_, options, log_);
    const auto warmed = registrar_->warm(last);
    ASSERT_TRUE(warmed) << warmed.error().what;
    if (start) registrar_->start();
  }
  void close() {
    if (registrar_) registrar_->stop();
    registrar_.reset();
    gate_.reset();
    store_.reset();
  }
  void TearDown() override {
    env_.thaw();
    close();
  }

  Verdict ask(const Certificate& leaf, const std::vector<Certificate>& sent = {}) {
    const X509StackPtr stack(sk_X509_new_null());
    for (const Certificate& certificate : sent) sk_X509_push(stack.get(), certificate.x509());
    return gate_->decide({leaf.x509(), stack.get()}, *registrar_->ca_set(), {}, std::time(nullptr));
  }
  bool offer(const Verdict& verdict) {
    return registrar_->offer({verdict.leaf_der, *verdict.identity, *verdict.path, verdict.pending});
  }
  bool connects(const Certificate& leaf) {
    const Verdict verdict = ask(leaf);
    return verdict.admitted() && (verdict.known || offer(verdict));
  }
  bool registered(const Certificate& leaf) const { return static_cast<bool>(registrar_->device(leaf.fingerprint())); }
  bool in_cache(const Certificate& leaf) const {
    return cache_->find(cache_->key(issuer_serial(leaf.issuer_name(), leaf.serial()), leaf.fingerprint())).has_value();
  }
  Identity509 verification(const Identity509& ca, const std::string& code) {
    Leaf leaf;
    leaf.cn = code;
    leaf.version1 = true;  // as the guides' commands make it
    return make(leaf, &ca);
  }
  Answer<CaRecord> enroll(const Identity509& ca, std::optional<bool> auto_register = {}, bool approve = false) {
    const auto code = registrar_->issue_code(600);
    if (!code) return code.error();
    return registrar_->register_ca({ca.certificate, verification(ca, code->code).certificate, auto_register, approve});
  }

  TempDir dir_;
  FaultEnv env_;
  NullLogger log_;
  Shards shards_;
  std::unique_ptr<RegistryStore> store_;
  std::unique_ptr<StatusCache> cache_;
  std::unique_ptr<ChainTable> chains_;
  std::unique_ptr<DeviceGate> gate_;
  std::unique_ptr<Registrar> registrar_;
  Identity509 root_ = make_ca("Root");
};

}  // namespace sallyport::test
