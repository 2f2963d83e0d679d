// What the gate reads, filled by hand for the gate's and the engine's benchmarks: CAs, devices and chains in memory.
// Unlike the tests' world it keeps one CA set, as a shard does between two changes. No disk, no thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <ctime>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cache/crypto/openssl_ptr.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/device_gate.h"
#include "cache/standing/status_cache.h"
#include "tests/cache/test_pki.h"

namespace sallyport::bench {

// Certificates as a handshake has just received them: parsed anew, so that nothing OpenSSL keeps inside an X509 was
// computed by an earlier verdict.
class Received {
 public:
  explicit Received(const Certificate& leaf, const std::vector<Certificate>& above = {}) : stack_(sk_X509_new_null()) {
    parse(leaf);
    for (const Certificate& certificate : above) parse(certificate);
  }
  PeerChain peer() const { return {parsed_.front().get(), stack_.get()}; }

 private:
  void parse(const Certificate& certificate) {
    const auto* der = reinterpret_cast<const unsigned char*>(certificate.der().data());
    parsed_.emplace_back(d2i_X509(nullptr, &der, static_cast<long>(certificate.der().size())));
    sk_X509_push(stack_.get(), parsed_.back().get());
  }
  struct FreeStack {
    void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
  };
  std::vector<X509Ptr> parsed_;
  std::unique_ptr<STACK_OF(X509), FreeStack> stack_;
};

class GateRegistry {
 public:
  explicit GateRegistry(const std::vector<Certificate>& cas) {
    std::vector<CaEntry> entries;
    for (const Certificate& ca : cas) entries.push_back({ca});
    CaSet::LinkMemo memo;
    cas_ = std::make_unique<CaSet>(std::move(entries), std::set<Digest>(), std::make_shared<const std::set<Digest>>(),
                                   memo);
  }

  Verdict decide(const PeerChain& peer) const { return gate_.decide(peer, *cas_, admits_, std::time(nullptr)); }
  Verdict resume(const Identity& identity, std::uint64_t chain, std::uint32_t epoch) const {
    return gate_.resume(identity, chain, epoch, *cas_, admits_, std::time(nullptr));
  }
  Reason recheck(const Verdict& verdict) const { return gate_.recheck(verdict, *cas_, std::time(nullptr)); }

  // What the registrar does with a device that the gate admitted. False: it was not.
  bool enroll(const Verdict& verdict) {
    if (!verdict.admitted() || !verdict.path) return false;
    const PathFound& path = *verdict.path;
    std::vector<Digest> way = {path.cas.front()};
    for (const Certificate& certificate : path.intermediates) way.push_back(certificate.fingerprint());
    const auto [at, first] = chain_ids_.try_emplace(way, chain_ids_.size() + 1);
    if (first) add_chain(at->second, path);
    cache_.put(verdict.key, {static_cast<std::uint32_t>(at->second), static_cast<std::uint8_t>(DeviceStatus::Active)});
    return true;
  }
  bool enroll(const Certificate& leaf, const std::vector<Certificate>& above = {}) {
    return enroll(decide(Received(leaf, above).peer()));
  }

 private:
  void add_chain(std::uint64_t id, const PathFound& path) {
    ChainRecord record;
    record.cas = path.cas;
    const Digest& owner_key = cas_->entry(*cas_->find(path.cas.front())).certificate.spki_hash();
    record.issuing_key = issuing_key_of(path.intermediates, owner_key);
    for (const Certificate& certificate : path.intermediates) {
      record.intermediates.push_back(certificate.fingerprint());
      record.intermediate_dates.not_after = std::min(record.intermediate_dates.not_after, certificate.not_after());
    }
    chains_.add(id, std::move(record));
    chains_.set(id, Window{path.not_before, path.not_after}, 0);
  }

  std::unique_ptr<CaSet> cas_;
  StatusCache cache_;
  ChainTable chains_;
  DeviceGate gate_{cache_, chains_};
  Admits admits_;
  std::map<std::vector<Digest>, std::uint64_t> chain_ids_;
};

// `wanted` CAs of different names, as many customers would register them; the first is ours.
inline std::vector<test::Identity509> make_cas(std::size_t wanted) {
  std::vector<test::Identity509> cas;
  for (std::size_t i = 0; i < wanted; ++i) cas.push_back(test::make_ca("CA " + std::to_string(i)));
  return cas;
}
inline std::vector<Certificate> certificates_of(const std::vector<test::Identity509>& identities) {
  std::vector<Certificate> certificates;
  for (const test::Identity509& identity : identities) certificates.push_back(identity.certificate);
  return certificates;
}

}  // namespace sallyport::bench
