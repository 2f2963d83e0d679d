// Whose sessions a change of the registered CAs ends: two sets and the chains between, and the cuts that follow.
#include "cache/standing/cuts.h"

#include <gtest/gtest.h>

#include <ctime>

#include "tests/cache/test_pki.h"

namespace sallyport::test {
namespace {

const std::int64_t kNow = std::time(nullptr);

struct Pki {
  Identity509 root = make_ca("Root");
  Identity509 mid = make_ca("Intermediate", &root);
  Identity509 other = make_ca("Other");
  Identity509 renewed = make_again(root, nullptr, renewed_leaf());

  static Leaf renewed_leaf() {
    Leaf leaf;
    leaf.ca = true;
    leaf.key_usage = "";
    leaf.not_after = kNow + 5000 * 86400;
    return leaf;
  }
};

const Pki& pki() {
  static const Pki made;
  return made;
}

CaEntry entry(const Identity509& ca, CaStatus status = CaStatus::Active) {
  return {ca.certificate, status, true, false};
}

class Cuts : public testing::Test {
 protected:
  CaSet set_of(std::vector<CaEntry> entries) { return {std::move(entries), {}, codes_, memo_}; }
  std::vector<Cut> between(std::vector<CaEntry> before, std::vector<CaEntry> after, std::int64_t now = kNow) {
    const CaSet was = set_of(std::move(before));
    const CaSet is = set_of(std::move(after));
    return cuts_between(was, is, chains_, now);
  }
  static Digest id(const Identity509& ca) { return ca.certificate.fingerprint(); }

  std::shared_ptr<const std::set<Digest>> codes_ = std::make_shared<const std::set<Digest>>();
  CaSet::LinkMemo memo_;
  ChainTable chains_;
};

TEST_F(Cuts, NothingChangesNothingEnds) {
  EXPECT_TRUE(between({entry(pki().root)}, {entry(pki().root)}).empty());
  EXPECT_TRUE(between({entry(pki().root)}, {entry(pki().root), entry(pki().other)}).empty());
}

TEST_F(Cuts, ADeactivatedRootTakesWhatIsBelowIt) {
  const auto cuts = between({entry(pki().root), entry(pki().mid), entry(pki().other)},
                            {entry(pki().root, CaStatus::Inactive), entry(pki().mid), entry(pki().other)});
  ASSERT_EQ(cuts.size(), 2U);
  for (const Cut& cut : cuts) {
    EXPECT_EQ(cut.scope, Cut::Scope::Ca);
    EXPECT_EQ(cut.why, Reason::CaInactive);
    EXPECT_FALSE(cut.look_again);
    EXPECT_TRUE(cut.id == id(pki().root) || cut.id == id(pki().mid));
  }
}

TEST_F(Cuts, ADeletedCaTakesItsDevices) {
  const auto cuts = between({entry(pki().root), entry(pki().other)}, {entry(pki().other)});
  ASSERT_EQ(cuts.size(), 1U);
  EXPECT_EQ(cuts[0].id, id(pki().root));
}

TEST_F(Cuts, AnInactiveCaHasNobodyToLose) {
  EXPECT_TRUE(between({entry(pki().root, CaStatus::Inactive)}, {}).empty());
}

TEST_F(Cuts, OfTwoWithOneKeyTheOtherCarriesOn) {
  EXPECT_TRUE(
      between({entry(pki().root), entry(pki().renewed)}, {entry(pki().root, CaStatus::Inactive), entry(pki().renewed)})
          .empty());
  const auto both = between({entry(pki().root), entry(pki().renewed)},
                            {entry(pki().root, CaStatus::Inactive), entry(pki().renewed, CaStatus::Inactive)});
  EXPECT_EQ(both.size(), 2U);
}

// A device came through an intermediate that it sent. Now that one is registered, and inactive.
TEST_F(Cuts, ACaThatClientsSentBeforeHasItsOwnersSessionsLookedAt) {
  ChainRecord record;
  record.cas = {id(pki().root)};
  record.intermediates = {id(pki().mid)};
  record.intermediate_names.push_back(
      {{}, {}, pki().mid.certificate.subject_name(), pki().mid.certificate.spki_hash()});
  ASSERT_TRUE(chains_.add(1, record));
  EXPECT_TRUE(between({entry(pki().root)}, {entry(pki().root), entry(pki().mid)}).empty());
  const auto cuts = between({entry(pki().root)}, {entry(pki().root), entry(pki().mid, CaStatus::Inactive)});
  ASSERT_EQ(cuts.size(), 1U);
  EXPECT_EQ(cuts[0].id, id(pki().root));
  EXPECT_TRUE(cuts[0].look_again);
}

TEST_F(Cuts, TheSameAgainCutsNobodyTwice) {
  const auto inactive = entry(pki().root, CaStatus::Inactive);
  EXPECT_TRUE(between({inactive}, {inactive}).empty());
}

}  // namespace
}  // namespace sallyport::test
