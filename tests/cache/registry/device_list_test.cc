// What one page of a list looks at, whatever was asked for: bounded, and the pages together look at everything. And
// what stands above one device.
#include <algorithm>
#include <set>

#include "cache/crypto/sha2.h"
#include "tests/cache/registry/life_cycle_world.h"

namespace sallyport::test {
namespace {

// registrar_device_list.cc: 40,000 units, of which a row in order takes 1, with its texts 4, by an index 5 and 13.
constexpr std::uint64_t kMostInOrder = 40'000, kMostWithText = 10'000, kMostByIndexWithText = 40'000 / 13 + 1;
constexpr std::uint64_t kMany = 25'000;

struct Walk {
  std::uint64_t pages = 0, looked_at = 0, most = 0;  // of one page
  std::set<Digest> found;
};

class DeviceListTest : public RegistrarTest {
 protected:
  // One device that is real, and as many rows of its kind as `count` says, written as the registrar
  // writes them. Their serials are 00000001, 00000002, …; every 1,000th has a common name of its own.
  void fill(std::uint64_t count) {
    open();
    ASSERT_TRUE(registrar_->trust({root_.certificate}));
    const Certificate real = make_device("real", root_).certificate;
    ASSERT_TRUE(connects(real));
    ASSERT_TRUE(eventually([&] { return registered(real); }));
    const auto row = store_->device(real.fingerprint());
    ASSERT_TRUE(row && row->has_value());
    for (std::uint64_t n = 1; n <= count;) {
      RegistryStore::Batch batch;
      for (const std::uint64_t end = std::min(count, n + 4'999); n <= end; ++n) {
        DeviceRow one = **row;
        const std::string serial = {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
                                    static_cast<char>(n)};
        one.name = issuer_serial(real.issuer_name(), serial);
        const Digest id = Sha256::of(std::string_view(serial));
        store_->put_device(batch, id, one);
        store_->put_device_text(
            batch, id, root_.certificate.fingerprint(),
            {serial, "CN=meter", n % 1'000 == 0 ? "Odd-One" : "meter", "ec-p256", "no certificate"});
      }
      ASSERT_TRUE(store_->commit(batch, Durable::Later));
    }
  }
  Walk walk(DeviceQuery query) {
    Walk walk;
    do {
      const auto page = registrar_->devices(query);
      EXPECT_TRUE(page) << page.error().what;
      if (!page) return walk;
      ++walk.pages;
      walk.looked_at += page->looked_at;
      walk.most = std::max(walk.most, page->looked_at);
      for (const DeviceRecord& device : page->items) EXPECT_TRUE(walk.found.insert(device.id).second);
      EXPECT_LE(page->items.size(), query.limit);
      query.page_token = page->next_page_token;
    } while (!query.page_token.empty() && walk.pages < 1'000);
    return walk;
  }
};

TEST_F(DeviceListTest, AFilterThatNothingPassesEndsAPageBeforeTheStore) {
  fill(kMany);
  const Walk none = walk({.cn_part = "nobody"});
  EXPECT_EQ(none.found.size(), 0U);
  EXPECT_EQ(none.looked_at, kMany + 1);
  EXPECT_EQ(none.most, kMostWithText);
  EXPECT_EQ(none.pages, (kMany + 1) / kMostWithText + 1);
}

TEST_F(DeviceListTest, WhatIsRareIsFoundOnWhicheverPageItIs) {
  fill(kMany);
  const Walk odd = walk({.cn_part = "odd-", .limit = 1'000});
  EXPECT_EQ(odd.found.size(), kMany / 1'000);
  EXPECT_EQ(odd.looked_at, kMany + 1);
  EXPECT_LE(odd.most, kMostWithText);
  const Walk by_ca = walk({.ca = root_.certificate.fingerprint(), .cn_glob = "Odd*", .limit = 1'000});
  EXPECT_EQ(by_ca.found, odd.found);
  EXPECT_LE(by_ca.most, kMostByIndexWithText) << "a row that an index leads to is dearer";
}

TEST_F(DeviceListTest, APageOfAllLooksAtItsOwn) {
  fill(kMany);
  const auto first = registrar_->devices({.limit = 100});
  ASSERT_TRUE(first);
  EXPECT_EQ(first->items.size(), 100U);
  EXPECT_LE(first->looked_at, 101U);
  const auto revoked = registrar_->devices({.status = DeviceStatus::Revoked});
  ASSERT_TRUE(revoked);
  EXPECT_LE(revoked->looked_at, kMostInOrder);
  EXPECT_TRUE(revoked->next_page_token.empty());
}

TEST_F(DeviceListTest, ASerialIsFoundByItsIndex) {
  fill(kMany);
  const auto one = registrar_->devices({.serial = std::string("\0\0\x10\x01", 4)});
  ASSERT_TRUE(one);
  EXPECT_EQ(one->items.size(), 1U);
  EXPECT_EQ(one->looked_at, 1U);
}

using ChainShown = LifeCycle;

TEST_F(ChainShown, NamesWhatWasSentAndWhatIsRegisteredAndWhatStandsAgainstThem) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 mid = make_ca("Mid", &root_);
  const Certificate device = make_device("below", mid).certificate;
  ASSERT_TRUE(offer(ask(device, {mid.certificate})));
  ASSERT_TRUE(eventually([&] { return registered(device); }));
  const auto standings = [&] {
    const auto chain = registrar_->chain_of(device.fingerprint());
    EXPECT_TRUE(chain) << chain.error().what;
    EXPECT_EQ(chain->size(), 2U);
    EXPECT_EQ(chain->front().id, mid.certificate.fingerprint());
    EXPECT_EQ(chain->front().subject, mid.certificate.subject());
    EXPECT_FALSE(chain->front().registered);
    EXPECT_EQ(chain->back().id, root_.certificate.fingerprint());
    EXPECT_TRUE(chain->back().registered);
    return std::pair(chain->front().standing, chain->back().standing);
  };
  EXPECT_EQ(standings(), std::pair(Reason::None, Reason::None));
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Inactive, by_));
  EXPECT_EQ(standings(), std::pair(Reason::None, Reason::CaInactive));
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Active, by_));
  ASSERT_TRUE(import(crl(root_, {{&mid.certificate}})));
  EXPECT_EQ(standings(), std::pair(Reason::CaInactive, Reason::None));
  EXPECT_TRUE(registrar_->chain_of(root_.certificate.fingerprint())->empty()) << "no device";
}

}  // namespace
}  // namespace sallyport::test
