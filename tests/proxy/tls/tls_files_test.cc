// Which of a listener's certificates are presented, by their dates.
#include "proxy/tls/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "tests/cache/test_pki.h"

namespace sallyport::test {
namespace {

class PresentedOf : public testing::Test {
 protected:
  // Of a host's names, from `begins` to `ends` days from now.
  static ServerCertificate certificate(const std::string& names, std::int64_t begins, std::int64_t ends) {
    Leaf leaf{.cn = "server"};
    leaf.not_before = kNow + begins * 86400;
    leaf.not_after = kNow + ends * 86400;
    leaf.subject_alt_name = names;
    Identity509 made = make(leaf, nullptr);
    std::vector<std::string> dns = server_names(made.certificate);
    return {{std::move(made.certificate)}, ServerKey(std::move(made.key)), std::move(dns)};
  }
  template <class... Certificates>
  static std::vector<ServerCertificate> all(Certificates&&... each) {
    std::vector<ServerCertificate> list;
    (list.push_back(std::forward<Certificates>(each)), ...);
    return list;
  }
  static std::vector<Digest> ids(const std::vector<ServerCertificate>& of, std::initializer_list<std::size_t> which) {
    std::vector<Digest> wanted;
    for (const std::size_t i : which) wanted.push_back(of[i].leaf().fingerprint());
    return wanted;
  }
  static std::vector<Digest> presented(const std::vector<ServerCertificate>& of, std::int64_t now = kNow) {
    std::vector<Digest> found;
    for (const ServerCertificate& each : presented_of(of, now)) found.push_back(each.leaf().fingerprint());
    return found;
  }

  static const std::int64_t kNow;
};
const std::int64_t PresentedOf::kNow = std::time(nullptr);

TEST_F(PresentedOf, InDateTheyKeepTheirOrder) {
  const auto both = all(certificate("DNS:a", -1, 9), certificate("DNS:a", -1, 99));
  EXPECT_EQ(presented(both), ids(both, {0, 1}));
}

TEST_F(PresentedOf, OneThatHasEndedGivesWay) {
  const auto both = all(certificate("DNS:a", -9, -1), certificate("DNS:a,DNS:b", -1, 99));
  EXPECT_EQ(presented(both), ids(both, {1}));
  EXPECT_EQ(presented(both, kNow - 5 * 86400), ids(both, {0, 1})) << "the other one has a name that the first lacks";
}

TEST_F(PresentedOf, OneWhoseNamesNobodyElseHasIsServed) {
  const auto both = all(certificate("DNS:a", -9, -1), certificate("DNS:b", -1, 99));
  EXPECT_EQ(presented(both), ids(both, {1, 0})) << "behind those in date: the first is for who names nothing";
  const auto alone = all(certificate("DNS:a", 2, 9));
  EXPECT_EQ(presented(alone), ids(alone, {0}));
}

TEST_F(PresentedOf, AFlawIsNamed) {
  const auto one = certificate("DNS:a", -1, 1);
  EXPECT_EQ(date_flaw(one.leaf(), kNow), "");
  EXPECT_EQ(date_flaw(one.leaf(), kNow + 2 * 86400), "has expired");
  EXPECT_EQ(date_flaw(one.leaf(), kNow - 2 * 86400), "is not valid yet");
}

TEST(PurposeFlaw, IsThatOfWhatIsNoServers) {
  const auto flaw = [](Leaf leaf) { return purpose_flaw(make(leaf, nullptr).certificate); };
  EXPECT_EQ(flaw({}), "") << "no purpose is any";
  EXPECT_EQ(flaw({.extended_key_usage = "serverAuth"}), "");
  EXPECT_EQ(flaw({.extended_key_usage = "clientAuth,serverAuth"}), "");
  EXPECT_EQ(flaw({.extended_key_usage = "anyExtendedKeyUsage"}), "");
  EXPECT_THAT(std::string(flaw({.extended_key_usage = "clientAuth"})), testing::HasSubstr("serverAuth"));
  EXPECT_THAT(std::string(flaw({.ca = true, .key_usage = ""})), testing::HasSubstr("is a CA's"));
  EXPECT_EQ(flaw({.ca = true, .key_usage = "", .subject_alt_name = "DNS:broker.example"}), "")
      << "as openssl req -x509 makes a server's own";
}

}  // namespace
}  // namespace sallyport::test
