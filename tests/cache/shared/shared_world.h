// Several nodes of one shared registry in one process: registrars over real RocksDBs, each with a follower, and one
// PostgreSQL.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cache/registry/follower.h"
#include "tests/cache/registry/registrar_world.h"
#include "tests/cache/shared/postgres.h"

namespace sallyport::test {

class Node {
 public:
  Node(const TempDir& dir, const std::string& name, const std::string& url)
      : folder_(dir.path() + "/" + name), options_{url, name, "test", std::chrono::milliseconds(0), Stale::Serve} {}
  ~Node() { close(); }

  void open(bool synced = true) {
    auto opened = RegistryStore::open(folder_);
    ASSERT_TRUE(opened) << opened.error().what;
    store_ = std::move(*opened);
    cache_ = std::make_unique<StatusCache>();
    chains_ = std::make_unique<ChainTable>();
    gate_ = std::make_unique<DeviceGate>(*cache_, *chains_, DeviceGate::AskedBy::Others);
    registrar_ = std::make_unique<Registrar>(*store_, *cache_, *chains_, shards_, RegistrarOptions{}, log_);
    const auto shared = registrar_->share(options_, log_);
    ASSERT_TRUE(shared) << shared.error().what;
    const auto warmed = registrar_->warm();
    ASSERT_TRUE(warmed) << warmed.error().what;
    registrar_->start();
    const bool follows = registrar_->follow(synced ? 20s : 10ms);
    if (synced) {
      ASSERT_TRUE(follows) << registrar_->shared_state()->why;
    }
  }
  void close() {
    if (registrar_) registrar_->stop();
    registrar_.reset();
    gate_.reset();
    store_.reset();
  }

  Registrar& operator*() { return *registrar_; }
  Registrar* operator->() { return registrar_.get(); }
  const RegistryStore& store() const { return *store_; }
  bool is_open() const { return store_ != nullptr; }
  Shards& shards() { return shards_; }

  Verdict ask(const Certificate& leaf) {
    const X509StackPtr stack(sk_X509_new_null());
    const StatusCache::Visitor visitor(cache_.get());
    return gate_->decide({leaf.x509(), stack.get()}, *registrar_->ca_set(), {}, std::time(nullptr));
  }
  bool connects(const Certificate& leaf) {
    const Verdict verdict = ask(leaf);
    if (!verdict.admitted()) return false;
    return verdict.known || registrar_->offer({verdict.leaf_der, *verdict.identity, *verdict.path, verdict.pending});
  }
  // By a ticket of a verdict of this epoch, through this chain.
  bool resume(const Certificate& leaf, std::uint64_t chain, std::uint32_t epoch) {
    const StatusCache::Visitor visitor(cache_.get());
    return gate_->resume(make_identity(leaf), chain, epoch, *registrar_->ca_set(), {}, std::time(nullptr)).reason ==
           Reason::None;
  }
  // Of what the gate reads; nothing: no slot.
  std::optional<SlotState> slot(const Certificate& leaf) const {
    const StatusCache::Visitor visitor(cache_.get());
    return cache_->find(cache_->key(issuer_serial(leaf.issuer_name(), leaf.serial()), leaf.fingerprint()));
  }

 private:
  std::string folder_;

 public:
  SharedOptions options_;

 private:
  NullLogger log_;
  Shards shards_;
  std::unique_ptr<RegistryStore> store_;
  std::unique_ptr<StatusCache> cache_;
  std::unique_ptr<ChainTable> chains_;
  std::unique_ptr<DeviceGate> gate_;
  std::unique_ptr<Registrar> registrar_;
};

using Entries = std::map<std::pair<SharedFamily, std::string>, std::string>;

inline Entries entries_of(const RegistryStore& store) {
  Entries all;
  const auto cursor = store.cursor();
  while (auto entry = cursor->next()) all[{entry->family, entry->key}] = *entry->value;
  EXPECT_TRUE(cursor->read());
  return all;
}

inline Entries entries_of(const Postgres& postgres) {
  Entries all;
  const auto session = SharedSession::open(postgres.url(), "test");
  EXPECT_TRUE(session) << session.error().what;
  const auto read = (*session)->snapshot([&](SharedEntry&& entry) {
    all[{entry.family, entry.key}] = *entry.value;
    return true;
  });
  EXPECT_TRUE(read) << read.error().what;
  return all;
}

class SharedTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(Postgres::installed()) << "deploy/packages.sh names PostgreSQL"; }
  void add(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      prepare().open();
    }
  }
  // One that is not open yet.
  Node& prepare(const std::string& url = {}) {
    const std::string name = "node-" + std::to_string(nodes_.size());
    nodes_.push_back(std::make_unique<Node>(dir_, name, url.empty() ? postgres_.url() : url));
    return *nodes_.back();
  }
  Node& node(std::size_t i) { return *nodes_.at(i); }
  Identity509 enroll(std::size_t at, const std::string& cn) {
    Identity509 ca = make_ca(cn);
    enroll(at, ca);
    return ca;
  }
  void enroll(std::size_t at, const Identity509& ca) {
    const auto code = node(at)->issue_code(600);
    ASSERT_TRUE(code) << code.error().what;
    Leaf leaf;
    leaf.cn = code->code;
    leaf.version1 = true;
    const auto done = node(at)->register_ca({ca.certificate, make(leaf, &ca).certificate, {}, false});
    EXPECT_TRUE(done) << done.error().what;
  }
  std::uint64_t revision() const {
    const auto session = SharedSession::open(postgres_.url(), "test");
    EXPECT_TRUE(session) << session.error().what;
    const auto position = (*session)->position();
    return position ? position->revision : 0;
  }
  // Nothing waits anywhere, and every node has what PostgreSQL has.
  bool settled() {
    const std::uint64_t at = revision();
    for (const auto& each : nodes_) {
      const auto state = (*each)->shared_state();
      if (!state->connected || state->revision != at || (*each)->stats().queued != 0) return false;
      bool waits = false;
      const auto read = each->store().each_outbox("", [&](std::string_view, std::string_view) { return waits = true; });
      if (!read || waits) return false;
    }
    return revision() == at;
  }
  // Each entry of each node is PostgreSQL's, and each slot of each cache says what its row says.
  void compare(const std::vector<Certificate>& devices) {
    const Entries there = entries_of(postgres_);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const Entries here = entries_of(node(i).store());
      EXPECT_EQ(here.size(), there.size()) << "node " << i;
      for (const auto& [key, value] : there) {
        const auto found = here.find(key);
        ASSERT_TRUE(found != here.end()) << "node " << i << " lacks an entry of family " << int(key.first);
        ASSERT_EQ(to_hex(std::span(reinterpret_cast<const std::uint8_t*>(found->second.data()), found->second.size())),
                  to_hex(std::span(reinterpret_cast<const std::uint8_t*>(value.data()), value.size())))
            << "node " << i << ", family " << int(key.first);
      }
      DeviceCounts counts;
      for (const Certificate& leaf : devices) {
        const auto row = node(i).store().device(leaf.fingerprint());
        ASSERT_TRUE(row);
        const auto slot = node(i).slot(leaf);
        ASSERT_EQ(slot.has_value(), row->has_value()) << "node " << i;
        if (!slot) continue;
        EXPECT_EQ(slot->status, static_cast<std::uint8_t>((*row)->status)) << "node " << i;
        EXPECT_EQ(slot->chain, (*row)->chain) << "node " << i;
        ++((*row)->status == DeviceStatus::Active     ? counts.active
           : (*row)->status == DeviceStatus::Inactive ? counts.inactive
           : (*row)->status == DeviceStatus::Pending  ? counts.pending
                                                      : counts.revoked);
      }
      const DeviceCounts counted = node(i)->stats().devices;
      EXPECT_EQ(counted.active, counts.active) << "node " << i;
      EXPECT_EQ(counted.inactive, counts.inactive) << "node " << i;
      EXPECT_EQ(counted.revoked, counts.revoked) << "node " << i;
    }
  }

  TempDir dir_;
  Postgres postgres_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace sallyport::test
