// Live sessions found by device and by CA.
#include "proxy/session/session_index.h"

#include <gtest/gtest.h>

namespace sallyport {
namespace {

Digest id(std::uint8_t n) {
  Digest digest{};
  digest.fill(n);
  return digest;
}

TEST(SessionIndex, FindsByDeviceAndByOwnerAndForgets) {
  SessionIndex index;
  IndexEntry a, b, c;
  a.session = reinterpret_cast<Session*>(1);
  b.session = reinterpret_cast<Session*>(2);
  c.session = reinterpret_cast<Session*>(3);
  a.device = b.device = id(1);
  c.device = id(2);
  const std::vector<Digest> above_a = {id(10), id(20)}, above_b = {id(10)}, above_c = {id(11), id(20)};
  a.cas = above_a;
  b.cas = above_b;
  c.cas = above_c;
  for (IndexEntry* entry : {&a, &b, &c}) index.add(*entry);
  EXPECT_EQ(index.of_device(id(1)).size(), 2U);
  EXPECT_EQ(index.owned_by(id(10)).size(), 2U);
  EXPECT_EQ(index.owned_by(id(20)).size(), 0U) << "only the nearest registered CA owns a session";
  EXPECT_EQ(index.below(id(20)).size(), 2U);
  index.remove(b);
  index.remove(b);
  EXPECT_EQ(index.of_device(id(1)), (std::vector<Session*>{a.session}));
  index.remove(a);
  index.remove(c);
  EXPECT_TRUE(index.empty());
}

}  // namespace
}  // namespace sallyport
