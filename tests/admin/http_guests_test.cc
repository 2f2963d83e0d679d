// Who gives up his place when all places of the HTTP server are taken.
#include "admin/http/http_guests.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>

namespace sallyport::http_detail {
namespace {

using Stage = Guest::Stage;

struct Someone final : Guest {
  void give_up() override {}
};

class GuestsTest : public testing::Test {
 protected:
  static constexpr std::size_t kPlaces = 8;  // more than two are too many for one

  Guest& come(const std::string& holder, bool known = false, Stage stage = Stage::Served, bool local = false) {
    Someone& made = all_.emplace_back();
    made.holder = holder;
    made.known = known;
    made.stage = stage;
    made.local = local;
    places_.push_back(guests_.enter(made));
    return made;
  }
  Guest* leaves() const { return guests_.who_leaves(kPlaces); }

  Guests guests_;
  std::deque<Someone> all_;
  std::deque<Guests::Place> places_;
};

TEST_F(GuestsTest, TheOneThatBeganFirst) {
  Guest& first = come("a");
  Guest& second = come("b");
  EXPECT_EQ(leaves(), &first);
  guests_.renew(places_[0]);
  EXPECT_EQ(leaves(), &second) << "the first waits for another request since";
}

TEST_F(GuestsTest, AStrangerBeforeWhoShowedAToken) {
  come("token operator", true);
  Guest& stranger = come("a");
  EXPECT_EQ(leaves(), &stranger) << "though he came later";
}

TEST_F(GuestsTest, WhoeverHasMoreThanAQuarterFirstOfAll) {
  come("a");
  Guest& greedy = come("token viewer", true);
  come("token viewer", true);
  come("token operator", true);
  EXPECT_NE(leaves(), &greedy) << "a quarter is not too much";
  come("token viewer", true);
  EXPECT_EQ(leaves(), &greedy) << "a token's, too, and before the stranger who came first";
}

TEST_F(GuestsTest, NobodyWhomAWorkerHas) {
  for (int i = 0; i < 3; ++i) come("token operator", true, Stage::Worked);
  come("b", true, Stage::Streamed);
  EXPECT_EQ(leaves(), nullptr);
  Guest& stranger = come("a", false, Stage::Worked);
  EXPECT_EQ(leaves(), &stranger) << "for many of them may wait for a worker";
}

TEST_F(GuestsTest, OnTheSocketOnlyWhoWaits) {
  for (int i = 0; i < 4; ++i) come("uid 0", false, Stage::Served, true);
  EXPECT_EQ(leaves(), nullptr) << "there are no strangers there, and a command is not cut off";
  Guest& idle = come("uid 0", false, Stage::Waiting, true);
  EXPECT_EQ(leaves(), &idle);
}

}  // namespace
}  // namespace sallyport::http_detail
