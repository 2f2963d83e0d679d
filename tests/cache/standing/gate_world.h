// A registry in memory for the gate's tests: CAs, devices and chains put together by hand, and the verdict
// asked of the real gate. No disk, no thread.
#pragma once

#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <algorithm>
#include <ctime>
#include <set>

#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/device_gate.h"
#include "cache/standing/status_cache.h"
#include "cache/x509/plain_leaf.h"
#include "tests/cache/test_pki.h"

namespace sallyport::test {

class GateWorld {
 public:
  void trust(const Certificate& ca, CaStatus status = CaStatus::Active, bool auto_register = true,
             bool approve = false) {
    entries_.push_back({ca, status, auto_register, approve});
  }
  void set(const Certificate& ca, CaStatus status) {
    for (CaEntry& entry : entries_) {
      if (entry.certificate.fingerprint() == ca.fingerprint()) entry.status = status;
    }
    refresh();
  }
  void server_key(const Certificate& certificate) { server_keys_.insert(certificate.spki_hash()); }
  void issued_code(const std::string& code) {
    auto codes = std::make_shared<std::set<Digest>>(*codes_);
    Digest digest{};
    SHA256(reinterpret_cast<const unsigned char*>(code.data()), code.size(), digest.data());
    codes->insert(digest);
    codes_ = codes;
  }
  const CaSet& cas() {
    set_ = std::make_unique<CaSet>(entries_, server_keys_, codes_, memo_);
    return *set_;
  }

  // Registered as a device under `owner`, through client-sent `intermediates`.
  void enroll(const Certificate& device, const Certificate& owner, DeviceStatus status = DeviceStatus::Active,
              const std::vector<Certificate>& intermediates = {}) {
    ChainRecord record;
    record.cas = {owner.fingerprint()};
    record.issuing_key = issuing_key_of(intermediates, owner.spki_hash());
    for (std::size_t i = 0; i < intermediates.size(); ++i) {
      const Certificate& at = intermediates[i];
      record.intermediates.push_back(at.fingerprint());
      record.intermediate_dates.not_after = std::min(record.intermediate_dates.not_after, at.not_after());
      const bool topmost = i + 1 == intermediates.size();
      record.intermediate_names.push_back({issuer_serial(at.issuer_name(), at.serial()),
                                           topmost ? owner.spki_hash() : intermediates[i + 1].spki_hash(),
                                           at.subject_name(), at.spki_hash(), at.serial()});
    }
    chains_.add(next_chain_, record);
    cache_.put(key(device), {static_cast<std::uint32_t>(next_chain_), static_cast<std::uint8_t>(status), 0});
    ++next_chain_;
    refresh();
  }
  void set(const Certificate& device, DeviceStatus status) {
    auto slot = cache_.find(key(device));
    slot->status = static_cast<std::uint8_t>(status);
    cache_.put(key(device), *slot);
  }
  void set_seen(const Certificate& device, std::uint16_t day) {
    auto slot = cache_.find(key(device));
    slot->seen_day = day;
    cache_.put(key(device), *slot);
  }
  DeviceKey key(const Certificate& device) const {
    return cache_.key(issuer_serial(device.issuer_name(), device.serial()), device.fingerprint());
  }

  Verdict ask(const Certificate& leaf, const std::vector<Certificate>& sent = {},
              std::int64_t now = std::time(nullptr)) {
    const X509StackPtr stack(sk_X509_new_null());
    for (const Certificate& certificate : sent) sk_X509_push(stack.get(), certificate.x509());
    const Verdict verdict = gate_.decide({leaf.x509(), stack.get()}, cas(), admits, now);
    expect_alike_when_plain(verdict, leaf, sent, now);
    return verdict;
  }
  Verdict ask_plainly(const PlainLeaf& leaf, const std::vector<Bytes>& behind = {}) {
    return gate_.decide({.plain = &leaf, .behind = behind}, cas(), admits, std::time(nullptr));
  }
  static Bytes der_of(const Certificate& certificate) {
    return {reinterpret_cast<const std::uint8_t*>(certificate.der().data()), certificate.der().size()};
  }
  Reason again(const Verdict& verdict, std::int64_t now = std::time(nullptr)) {
    return gate_.recheck(verdict, cas(), now);
  }

  Admits admits;

 private:
  // Our TLS 1.3 handshake reads a leaf by itself where it can: nothing may come of that.
  void expect_alike_when_plain(const Verdict& verdict, const Certificate& leaf, const std::vector<Certificate>& sent,
                               std::int64_t now) {
    const auto plain = read_plain_leaf(der_of(leaf));
    if (!plain) return;
    std::vector<Bytes> behind;
    for (const Certificate& certificate : sent) behind.push_back(der_of(certificate));
    const Verdict alike = gate_.decide({.plain = &*plain, .behind = behind}, cas(), admits, now);
    EXPECT_EQ(alike.reason, verdict.reason);
    EXPECT_EQ(alike.detail, verdict.detail);
    EXPECT_EQ(alike.known, verdict.known);
    EXPECT_EQ(alike.chain_id, verdict.chain_id);
    EXPECT_EQ(alike.leaf_der, verdict.leaf_der);
    EXPECT_EQ(alike.chain_cas, verdict.chain_cas);
    EXPECT_EQ(alike.identity, verdict.identity);
  }

  void refresh() {
    const CaSet& now_registered = cas();
    for (const std::uint64_t id : chains_.ids()) {
      const ChainRecord* record = chains_.record(id);
      const auto owner = now_registered.find(record->cas.front());
      auto window = owner ? now_registered.window(*owner, std::time(nullptr)) : std::nullopt;
      if (window) window->not_after = std::min(window->not_after, record->intermediate_dates.not_after);
      chains_.set(id, window, window ? 0 : cache_.lose());
    }
    cache_.raise_epoch();
  }

  std::vector<CaEntry> entries_;
  std::set<Digest> server_keys_;
  std::shared_ptr<const std::set<Digest>> codes_ = std::make_shared<const std::set<Digest>>();
  CaSet::LinkMemo memo_;
  std::unique_ptr<CaSet> set_;
  StatusCache cache_;
  ChainTable chains_;
  DeviceGate gate_{cache_, chains_};
  std::uint64_t next_chain_ = 1;
};

}  // namespace sallyport::test
