// THE decision, row by row: a chain, a state of the registry, a time, and the verdict cache/standing/README.md
// expects.
#include "cache/standing/device_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "cache/standing/path_builder.h"
#include "cache/standing/path_validation.h"
#include "tests/cache/standing/gate_world.h"

namespace sallyport::test {
namespace {

constexpr std::int64_t kDay = 86400;
// Primes, the last of 32 bits and the first of 33.
constexpr std::uint64_t kLongestExponent = 4'294'967'291;
constexpr std::uint64_t kTooLongExponent = 4'294'967'311;
const std::int64_t kNow = std::time(nullptr);

// What the rows are made of; made once.
struct Pki {
  Identity509 root = make_ca("Root");
  Identity509 other = make_ca("Other");
  Identity509 namesake = make_ca("Root");  // the same name, another key
  Identity509 mid = make_ca("Intermediate", &root);
  Identity509 deep = make_ca("Deep", &mid);
  Identity509 mid_by_other = make_again(mid, &other, ca_leaf());  // cross-signed
  Identity509 root_by_other = make_again(root, &other, ca_leaf());
  Identity509 root_renewed = make_again(root, nullptr, ca_leaf());
  Identity509 device = make_device("device", root);
  Identity509 below_mid = make_device("below mid", mid);
  Identity509 below_deep = make_device("below deep", deep);

  static Leaf ca_leaf() {
    Leaf leaf;
    leaf.ca = true;
    leaf.key_usage = "";
    leaf.not_after = kNow + 5000 * kDay;
    return leaf;
  }
};

Pki& pki() {
  static Pki made;
  return made;
}

Identity509 leaf_of(const Identity509& issuer, const std::function<void(Leaf&)>& change, Kind kind = Kind::P256) {
  Leaf leaf;
  change(leaf);
  return make(leaf, &issuer, make_key(kind));
}

Certificate device() {
  return pki().device.certificate;
}
Certificate below_mid() {
  return pki().below_mid.certificate;
}
void root_only(GateWorld& w) {
  w.trust(pki().root.certificate);
}

// What is registered, who comes with what beside its certificate, and when; a row says what differs from a good device
// of an active root.
struct Row {
  const char* name;
  std::function<void(GateWorld&)> state = root_only;
  std::function<Certificate()> leaf = device;
  std::vector<const Certificate*> sent = {};
  Reason expected = Reason::None;
  std::int64_t now = kNow;
};

void PrintTo(const Row& row, std::ostream* out) {
  *out << row.name;
}

std::vector<Row> rows() {
  static Pki& p = pki();
  // Static: the rows' functions refer to them after this returns.
  static const Certificate *const mid = &pki().mid.certificate, *const deep = &pki().deep.certificate,
                                  *const root = &pki().root.certificate;
  const auto with = [](std::function<void(Leaf&)> change) {
    return [change] { return leaf_of(p.root, change).certificate; };
  };
  std::vector<Row> all = {
      {.name = "AValidDevice"},
      {.name = "ItsChainSentAlong", .sent = {root}},
      {.name = "AnUnregisteredCa", .state = [](GateWorld&) {}, .sent = {root}, .expected = Reason::CaUnknown},
      {.name = "AnotherCaRegistered",
       .state = [&](GateWorld& w) { w.trust(p.other.certificate); },
       .sent = {root},
       .expected = Reason::CaUnknown},
      {.name = "ANamesakeOfItsCa",
       .state = [&](GateWorld& w) { w.trust(p.namesake.certificate); },
       .expected = Reason::BadSignature},
      {.name = "BothNamesakes",
       .state =
           [&](GateWorld& w) {
             w.trust(p.namesake.certificate);
             w.trust(p.root.certificate);
           }},
      {.name = "AnInactiveCa",
       .state = [&](GateWorld& w) { w.trust(p.root.certificate, CaStatus::Inactive); },
       .expected = Reason::CaInactive},
      {.name = "AnIntermediateSent", .leaf = below_mid, .sent = {mid}},
      {.name = "AnIntermediateNotSent", .leaf = below_mid, .expected = Reason::CaUnknown},
      {.name = "TwoIntermediatesSentInAnyOrder", .leaf = [&] { return p.below_deep.certificate; }, .sent = {mid, deep}},
      {.name = "ARegisteredIntermediateIsAnAnchor",
       .state = [&](GateWorld& w) { w.trust(p.mid.certificate); },
       .leaf = below_mid},
      {.name = "AnInactiveIntermediateUnderAnActiveRoot",
       .state =
           [&](GateWorld& w) {
             w.trust(p.root.certificate);
             w.trust(p.mid.certificate, CaStatus::Inactive);
           },
       .leaf = below_mid,
       .sent = {mid},
       .expected = Reason::CaInactive},
      {.name = "AnInactiveRootAboveAnActiveIntermediateLeftOut",
       .state =
           [&](GateWorld& w) {
             w.trust(p.root.certificate, CaStatus::Inactive);
             w.trust(p.mid.certificate);
           },
       .leaf = below_mid,
       .expected = Reason::CaInactive},
      {.name = "AnInactiveRootAndACrossSignedCopyOfIt",
       .state =
           [&](GateWorld& w) {
             w.trust(p.root.certificate, CaStatus::Inactive);
             w.trust(p.other.certificate);
           },
       .sent = {&p.root_by_other.certificate},
       .expected = Reason::CaInactive},
      {.name = "AnInactiveIntermediateAndACrossSignedCopyOfIt",
       .state =
           [&](GateWorld& w) {
             w.trust(p.root.certificate);
             w.trust(p.mid.certificate, CaStatus::Inactive);
             w.trust(p.other.certificate);
           },
       .leaf = below_mid,
       .sent = {&p.mid_by_other.certificate},
       .expected = Reason::CaInactive},
      {.name = "OfTwoCertificatesWithOneKeyOneActiveSuffices",
       .state =
           [&](GateWorld& w) {
             w.trust(p.root.certificate, CaStatus::Inactive);
             w.trust(p.root_renewed.certificate);
           }},
      {.name = "ACrossSignedIntermediateThroughItsLivingRoot",
       .state =
           [&](GateWorld& w) {
             w.trust(p.root.certificate, CaStatus::Inactive);
             w.trust(p.other.certificate);
             w.trust(p.mid.certificate);
             w.trust(p.mid_by_other.certificate);
           },
       .leaf = below_mid},
      {.name = "AnExpiredDevice", .expected = Reason::Expired, .now = kNow + 400 * kDay},
      {.name = "AnExpiredCa", .expected = Reason::Expired, .now = kNow + 4000 * kDay},
      {.name = "ADeviceOfTomorrow",
       .leaf = with([](Leaf& leaf) { leaf.not_before = kNow + kDay; }),
       .expected = Reason::NotYetValid},
      {.name = "NothingIsValidYet", .expected = Reason::NotYetValid, .now = kNow - 10 * kDay},
      {.name = "ForServersOnly",
       .leaf = with([](Leaf& leaf) { leaf.extended_key_usage = "serverAuth"; }),
       .expected = Reason::BadPurpose},
      {.name = "ThatMayNotSign",
       .leaf = with([](Leaf& leaf) { leaf.key_usage = "keyEncipherment"; }),
       .expected = Reason::BadPurpose},
      {.name = "ThatMayAgreeOnAKey", .leaf = with([](Leaf& leaf) { leaf.key_usage = "keyAgreement"; })},
      {.name = "ForServersAndClients",
       .leaf = with([](Leaf& leaf) { leaf.extended_key_usage = "serverAuth,clientAuth"; })},
      {.name = "TheGuidesKeyUsage",
       .leaf = with([](Leaf& leaf) {
         leaf.key_usage = "digitalSignature,nonRepudiation,keyEncipherment,dataEncipherment,keyCertSign";
       })},
      {.name = "NoExtensionsAtAll", .leaf = with([](Leaf& leaf) { leaf.version1 = true; })},
      {.name = "ACaAsADevice", .leaf = with([](Leaf& leaf) { leaf.ca = true; }), .expected = Reason::NotADevice},
      {.name = "ACaThatMaySignCertificatesAlone",
       .leaf = with([](Leaf& leaf) {
         leaf.ca = true;
         leaf.key_usage = "keyCertSign,cRLSign";
       }),
       .expected = Reason::NotADevice},
      {.name = "TheRegisteredCaItself", .leaf = [&] { return p.root.certificate; }, .expected = Reason::NotADevice},
      {.name = "TheServersKey",
       .state = [&](GateWorld& w) { root_only(w), w.server_key(p.device.certificate); },
       .expected = Reason::NotADevice},
      {.name = "AVerificationCertificate",
       .state = [](GateWorld& w) { root_only(w), w.issued_code("c0de"); },
       .leaf = with([](Leaf& leaf) {
         leaf.version1 = true;
         leaf.cn = "c0de";
       }),
       .expected = Reason::NotADevice},
      {.name = "ACodeAmongSeveralNames",
       .state = [](GateWorld& w) { root_only(w), w.issued_code("c0de"); },
       .leaf = with([](Leaf& leaf) { leaf.more_cns = {"c0de"}; }),
       .expected = Reason::NotADevice},
      {.name = "SignedWithSha1", .leaf = with([](Leaf& leaf) { leaf.sha1 = true; }), .expected = Reason::BadChain},
      {.name = "NotRegisteredAutomatically",
       .state = [&](GateWorld& w) { w.trust(p.root.certificate, CaStatus::Active, false); },
       .expected = Reason::NotRegistered},
      {.name = "RegisteredByHandWhereNoneRegisterThemselves",
       .state =
           [&](GateWorld& w) {
             w.trust(p.root.certificate, CaStatus::Active, false);
             w.enroll(p.device.certificate, p.root.certificate);
           }},
      {.name = "ADeactivatedDevice",
       .state = [&](GateWorld& w) { root_only(w), w.enroll(device(), *root, DeviceStatus::Inactive); },
       .expected = Reason::DeviceInactive},
      {.name = "APendingDevice",
       .state = [&](GateWorld& w) { root_only(w), w.enroll(device(), *root, DeviceStatus::Pending); },
       .expected = Reason::DevicePending},
      {.name = "ARevokedDevice",
       .state = [&](GateWorld& w) { root_only(w), w.enroll(device(), *root, DeviceStatus::Revoked); },
       .expected = Reason::DeviceRevoked},
      {.name = "ItsOwnStatusComesBeforeItsCa",
       .state =
           [&](GateWorld& w) {
             w.trust(p.root.certificate, CaStatus::Inactive);
             w.enroll(device(), *root, DeviceStatus::Inactive);
           },
       .expected = Reason::DeviceInactive},
      {.name = "AKnownDeviceOfAnInactiveCa",
       .state =
           [&](GateWorld& w) {
             w.trust(p.root.certificate, CaStatus::Inactive);
             w.enroll(device(), *root);
           },
       .expected = Reason::CaInactive},
      {.name = "AKnownDeviceThatExpired",
       .state = [&](GateWorld& w) { root_only(w), w.enroll(device(), *root); },
       .expected = Reason::Expired,
       .now = kNow + 400 * kDay},
      {.name = "OtherBytesWithTheSerialOfARegisteredDevice",
       .state = [&](GateWorld& w) { root_only(w), w.enroll(device(), *root); },
       .leaf = [&] { return rewrite_signature(p.device.certificate); },
       .expected = Reason::SerialConflict},
      {.name = "OtherBytesWithTheSerialOfARevokedDevice",
       .state = [&](GateWorld& w) { root_only(w), w.enroll(device(), *root, DeviceStatus::Revoked); },
       .leaf = [&] { return rewrite_signature(p.device.certificate); },
       .expected = Reason::DeviceRevoked},
      {.name = "OtherBytesWithTheSerialOfADeactivatedDevice",
       .state = [&](GateWorld& w) { root_only(w), w.enroll(device(), *root, DeviceStatus::Inactive); },
       .leaf = [&] { return rewrite_signature(p.device.certificate); },
       .expected = Reason::SerialConflict},
      {.name = "TheRewrittenSignatureAloneIsValid", .leaf = [&] { return rewrite_signature(p.device.certificate); }},
  };
  return all;
}

class Table : public testing::TestWithParam<Row> {};
INSTANTIATE_TEST_SUITE_P(Gate, Table, testing::ValuesIn(rows()), [](const auto& tested) { return tested.param.name; });

TEST_P(Table, Decides) {
  const Row& row = GetParam();
  GateWorld world;
  row.state(world);
  std::vector<Certificate> sent;
  for (const Certificate* certificate : row.sent) sent.push_back(*certificate);
  const Verdict verdict = world.ask(row.leaf(), sent, row.now);
  EXPECT_EQ(verdict.reason, row.expected) << to_string(verdict.reason) << " detail " << verdict.detail;
  EXPECT_EQ(verdict.admitted(), row.expected == Reason::None);
  if (verdict.admitted()) {
    EXPECT_TRUE(verdict.identity.has_value());
    EXPECT_FALSE(verdict.chain_cas.empty());
    EXPECT_NE(verdict.known, verdict.path != nullptr);
    EXPECT_EQ(world.again(verdict, row.now), Reason::None);
  }
}

TEST(Gate, NoCertificateIsItsOwnReason) {
  StatusCache cache;
  ChainTable chains;
  CaSet::LinkMemo memo;
  const CaSet empty({}, {}, nullptr, memo);
  EXPECT_EQ(DeviceGate(cache, chains).decide({}, empty, {}, kNow).reason, Reason::NoCertificate);
}

TEST(Gate, AKnownDeviceIsAdmittedWithoutBuildingAPath) {
  GateWorld world;
  root_only(world);
  world.enroll(device(), pki().root.certificate);
  const Verdict verdict = world.ask(device());
  EXPECT_TRUE(verdict.admitted());
  EXPECT_TRUE(verdict.known);
  EXPECT_FALSE(verdict.path != nullptr);
  EXPECT_EQ(verdict.identity->ca_cn, "Root");
}

TEST(Gate, ApprovalAdmitsToTlsOnly) {
  GateWorld world;
  world.trust(pki().root.certificate, CaStatus::Active, true, true);
  const Verdict verdict = world.ask(device());
  EXPECT_TRUE(verdict.admitted());
  EXPECT_TRUE(verdict.pending);
}

TEST(Gate, ADeviceIsSeenOnceADay) {
  GateWorld world;
  world.trust(pki().root.certificate);
  world.enroll(device(), pki().root.certificate);
  EXPECT_FALSE(world.ask(device()).seen_today) << "never";
  const std::uint16_t today = unix_day(std::time(nullptr));
  world.set_seen(device(), static_cast<std::uint16_t>(today - 1));
  EXPECT_FALSE(world.ask(device()).seen_today) << "yesterday";
  world.set_seen(device(), today);
  EXPECT_TRUE(world.ask(device()).seen_today || unix_day(std::time(nullptr)) != today);
}

TEST(Gate, ARenewedCaTakesItsFleetAlong) {
  GateWorld world;
  Pki& p = pki();
  world.trust(p.root.certificate);
  world.trust(p.root_renewed.certificate);
  world.enroll(device(), p.root.certificate);
  EXPECT_TRUE(world.ask(device()).known);
  world.set(p.root.certificate, CaStatus::Inactive);
  const Verdict moved = world.ask(device());
  EXPECT_TRUE(moved.admitted());
  ASSERT_TRUE(moved.path != nullptr);
  EXPECT_EQ(moved.path->cas.front(), p.root_renewed.certificate.fingerprint());
}

TEST(Gate, ARootRegisteredLaterCountsForDevicesRegisteredBefore) {
  GateWorld world;
  Pki& p = pki();
  world.trust(p.mid.certificate);
  world.enroll(below_mid(), p.mid.certificate);
  EXPECT_TRUE(world.ask(below_mid()).known);
  world.trust(p.root.certificate, CaStatus::Inactive);
  world.set(p.root.certificate, CaStatus::Inactive);
  EXPECT_EQ(world.ask(below_mid()).reason, Reason::CaInactive);
}

TEST(Gate, TwoCasWithOneNameMayIssueTheSameSerial) {
  GateWorld world;
  Pki& p = pki();
  world.trust(p.root.certificate);
  world.trust(p.namesake.certificate);
  const auto twin = [](Leaf& leaf) { leaf.serial = {0x12, 0x34, 0x56, 0x78}; };
  const Identity509 one = leaf_of(p.root, twin), two = leaf_of(p.namesake, twin);
  world.enroll(one.certificate, p.root.certificate);
  EXPECT_TRUE(world.ask(one.certificate).known);
  EXPECT_EQ(world.ask(two.certificate).reason, Reason::None);
  world.enroll(two.certificate, p.namesake.certificate);
  EXPECT_TRUE(world.ask(two.certificate).known);
  const Identity509 third = leaf_of(p.root, twin);
  EXPECT_EQ(world.ask(third.certificate).reason, Reason::SerialConflict);
}

TEST(Gate, AListenerMayAdmitSomeCasOnly) {
  GateWorld world;
  Pki& p = pki();
  world.trust(p.root.certificate);
  world.trust(p.mid.certificate);
  world.trust(p.other.certificate);
  world.enroll(device(), p.root.certificate);
  world.admits.cas = {p.other.certificate.fingerprint()};
  EXPECT_EQ(world.ask(device()).reason, Reason::CaUnknown) << "also a known device";
  EXPECT_EQ(world.ask(device()).why, kNotInCas) << "to register its CA would not help";
  EXPECT_EQ(world.ask(below_mid()).reason, Reason::CaUnknown);
  world.admits.cas = {p.root.certificate.fingerprint()};
  EXPECT_EQ(world.ask(device()).reason, Reason::None);
  EXPECT_EQ(world.ask(below_mid()).reason, Reason::None) << "one CA of its chain is listed";
}

// OpenSSL has one error for all of these.
TEST(Gate, WhichExtensionMakesItNoClientIsSaid) {
  GateWorld world;
  world.trust(pki().root.certificate);
  const Identity509 silent = leaf_of(pki().root, [](Leaf& leaf) { leaf.key_usage = "keyEncipherment"; });
  EXPECT_EQ(world.ask(silent.certificate).reason, Reason::BadPurpose);
  EXPECT_THAT(std::string(world.ask(silent.certificate).why), testing::HasSubstr("key usage allows neither"));
  const Identity509 serves = leaf_of(pki().root, [](Leaf& leaf) { leaf.extended_key_usage = "serverAuth"; });
  EXPECT_EQ(world.ask(serves.certificate).reason, Reason::BadPurpose);
  EXPECT_THAT(std::string(world.ask(serves.certificate).why), testing::HasSubstr("purpose"));
}

// Inactive by an operator's hand, it may be made active again; revoked by the CA above it, it may not.
TEST(Gate, WhetherACrlRevokedTheCaIsSaid) {
  GateWorld world;
  Pki& p = pki();
  world.trust(p.root.certificate);
  world.trust(p.mid.certificate, CaStatus::Inactive);
  EXPECT_EQ(world.ask(below_mid()).reason, Reason::CaInactive);
  EXPECT_EQ(world.ask(below_mid()).why, "");
  world.enroll(p.mid.certificate, p.root.certificate, DeviceStatus::Revoked);
  EXPECT_EQ(world.ask(below_mid()).reason, Reason::CaInactive);
  EXPECT_EQ(world.ask(below_mid()).why, kCaRevoked);
  GateWorld sent;
  sent.trust(p.root.certificate);
  sent.enroll(p.mid.certificate, p.root.certificate, DeviceStatus::Revoked);
  EXPECT_EQ(sent.ask(below_mid(), {p.mid.certificate}).why, kCaRevoked);
  EXPECT_EQ(sent.ask(leaf_of(make_ca("Unknown"), [](Leaf&) {}).certificate).why, "");
}

TEST(Gate, PathsAreBounded) {
  GateWorld world;
  std::vector<Identity509> chain;
  chain.push_back(make_ca("Level 0"));
  for (int i = 1; i <= 9; ++i) chain.push_back(make_ca("Level " + std::to_string(i), &chain.back()));
  world.trust(chain[0].certificate);
  const Identity509 leaf8 = make_device("at 8", chain[8]), leaf9 = make_device("at 9", chain[9]);
  std::vector<Certificate> eight, nine;
  for (int i = 1; i <= 8; ++i) eight.push_back(chain[static_cast<std::size_t>(i)].certificate);
  nine = eight;
  nine.push_back(chain[9].certificate);
  EXPECT_EQ(world.ask(leaf8.certificate, eight).reason, Reason::None);
  EXPECT_EQ(world.ask(leaf9.certificate, nine).reason, Reason::BadChain);
  EXPECT_EQ(world.ask(leaf8.certificate, nine).reason, Reason::BadChain) << "in certificates as in checks";
}

TEST(Gate, ADeviceCannotIssueDevices) {
  GateWorld world;
  Pki& p = pki();
  world.trust(p.root.certificate);
  const Identity509 issued = make_device("issued by a device", p.device);
  EXPECT_EQ(world.ask(issued.certificate, {p.device.certificate}).reason, Reason::BadChain);
}

// Each signature of a path is checked, whoever holds the certificate it names: names and certificates are public.
TEST(Gate, ANamesakesSignatureIsWorthNothing) {
  GateWorld world;
  Pki& p = pki();
  world.trust(p.root.certificate);
  // The real intermediate's name, and anybody's key.
  const Identity509 impostor = make_ca("Intermediate");
  const Identity509 forged = make_device("forged", impostor);
  EXPECT_EQ(world.ask(forged.certificate, {p.mid.certificate}).reason, Reason::BadSignature);
  EXPECT_EQ(world.ask(forged.certificate, {impostor.certificate, p.mid.certificate}).reason, Reason::BadSignature);
  // One level up: an intermediate that a namesake of the intermediate issued, and its device.
  const Identity509 deep = make_ca("Deep", &impostor);
  const Identity509 deeper = make_device("deeper", deep);
  EXPECT_EQ(world.ask(deeper.certificate, {deep.certificate, p.mid.certificate}).reason, Reason::BadSignature);
  // And what the real ones issued is admitted beside the impostor's certificate, in any order.
  EXPECT_EQ(world.ask(below_mid(), {impostor.certificate, p.mid.certificate}).reason, Reason::None);
  EXPECT_EQ(world.ask(p.below_deep.certificate, {p.mid.certificate, impostor.certificate, p.deep.certificate}).reason,
            Reason::None);
}

// OpenSSL may put the same certificates together in another way than the path builder: then it checks the signatures.
TEST(Gate, CrossSignedAndRegisteredCopiesMaySitBesideThePath) {
  GateWorld world;
  Pki& p = pki();
  world.trust(p.root.certificate);
  EXPECT_EQ(world.ask(below_mid(), {p.mid_by_other.certificate, p.mid.certificate, p.root_by_other.certificate}).reason,
            Reason::None);
  EXPECT_EQ(world.ask(below_mid(), {p.mid.certificate, p.root.certificate, p.root_renewed.certificate}).reason,
            Reason::None);
  world.trust(p.mid.certificate);
  EXPECT_EQ(world.ask(below_mid(), {p.mid.certificate, p.root.certificate}).reason, Reason::None);
  EXPECT_EQ(world.ask(p.below_deep.certificate, {p.deep.certificate, p.mid.certificate}).reason, Reason::None);
}

// OpenSSL looks at this beside the signature, in the step that is not taken, and with the purpose of each CA.
TEST(Gate, AnIntermediateThatMayNotSignCertificatesIssuesNone) {
  GateWorld world;
  Pki& p = pki();
  world.trust(p.root.certificate);
  Leaf leaf = Pki::ca_leaf();
  leaf.cn = "Signs lists only";
  leaf.key_usage = "cRLSign";
  const Identity509 lists_only = make(leaf, &p.root);
  const Identity509 issued = make_device("issued all the same", lists_only);
  EXPECT_EQ(world.ask(issued.certificate, {lists_only.certificate}).reason, Reason::BadChain);
}

TEST(Gate, APathLengthIsKept) {
  GateWorld world;
  Leaf leaf = Pki::ca_leaf();
  leaf.cn = "Ends here";
  leaf.path_length = 0;
  const Identity509 top = make(leaf, nullptr);
  const Identity509 below = make_ca("Too deep", &top);
  world.trust(top.certificate);
  const Identity509 device_below = make_device("d", below);
  EXPECT_EQ(world.ask(device_below.certificate, {below.certificate}).reason, Reason::BadChain);
}

TEST(Gate, AnExpiredIntermediateEndsAKnownDeviceToo) {
  GateWorld world;
  Pki& p = pki();
  world.trust(p.root.certificate);
  Leaf leaf = Pki::ca_leaf();
  leaf.cn = "Short-lived";
  leaf.not_after = kNow + 2 * kDay;
  const Identity509 shortlived = make(leaf, &p.root);
  const Identity509 below = make_device("d", shortlived);
  world.enroll(below.certificate, p.root.certificate, DeviceStatus::Active, {shortlived.certificate});
  EXPECT_TRUE(world.ask(below.certificate, {shortlived.certificate}).known);
  EXPECT_EQ(world.ask(below.certificate, {shortlived.certificate}, kNow + 3 * kDay).reason, Reason::Expired);
}

TEST(Gate, OversizedKeysAreRefusedBeforeTheyCost) {
  GateWorld world;
  Pki& p = pki();
  world.trust(p.root.certificate);
  const Identity509 fine = leaf_of(
      p.root, [](Leaf&) {}, Kind::Rsa2048);
  EXPECT_EQ(world.ask(fine.certificate).reason, Reason::None);
  const Identity509 weak = leaf_of(
      p.root, [](Leaf&) {}, Kind::Rsa1024);
  EXPECT_EQ(world.ask(weak.certificate).reason, Reason::BadChain) << "security level 2";
  const auto below_root = [&](KeyPtr key) { return world.ask(make({.cn = "d"}, &p.root, std::move(key)).certificate); };
  EXPECT_EQ(below_root(make_rsa(4096, 3)).reason, Reason::None);
  EXPECT_EQ(below_root(make_rsa(8192)).reason, Reason::None);
  EXPECT_EQ(below_root(make_rsa(8193)).reason, Reason::BadChain);
  EXPECT_EQ(below_root(make_rsa(2048, kLongestExponent)).reason, Reason::None);
  EXPECT_EQ(below_root(make_rsa(2048, kTooLongExponent)).reason, Reason::BadChain);
  EXPECT_EQ(below_root(make_rsa(2048, 0)).reason, Reason::BadChain);
  EXPECT_EQ(below_root(make_rsa(2048, 65537, "RSA-PSS")).reason, Reason::None);
  EXPECT_EQ(below_root(make_rsa(2048, 0, "RSA-PSS")).reason, Reason::BadChain);
}

Identity509 mid_with(KeyPtr key) {
  Leaf leaf = Pki::ca_leaf();
  leaf.cn = "Sent";
  return make(leaf, &pki().root, std::move(key));
}

TEST(Gate, WhatAClientSendsIsCheckedWithOrdinaryKeys) {
  GateWorld world;
  world.trust(pki().root.certificate);
  std::vector<KeyPtr> keys;
  for (const int bits : {2048, 3072, 4096}) {
    keys.push_back(make_rsa(bits));
    keys.push_back(make_rsa(bits, 3));
  }
  keys.push_back(make_rsa(2048, kLongestExponent));
  for (const Kind kind : {Kind::P256, Kind::P384, Kind::P521, Kind::Ed25519}) keys.push_back(make_key(kind));
  for (KeyPtr& key : keys) {
    const Identity509 mid = mid_with(std::move(key));
    EXPECT_EQ(world.ask(make_device("d", mid).certificate, {mid.certificate}).reason, Reason::None)
        << mid.certificate.key_type_name();
  }
}

// Each of these paths is a good one: it is refused only because nothing is checked with such a key. Eight certificates
// with exponents as long as their moduli would cost 190 ms.
TEST(Gate, ACostlyKeyThatAClientSendsIsNeverUsed) {
  Pki& p = pki();
  std::vector<KeyPtr> keys;
  keys.push_back(make_rsa(2048, 0));
  keys.push_back(make_rsa(2048, kTooLongExponent));
  keys.push_back(make_rsa(4097));
  keys.push_back(make_rsa(2048, 65537, "RSA-PSS"));
  keys.push_back(make_key(Kind::Ed448));
  for (KeyPtr& key : keys) {
    GateWorld world;
    world.trust(p.root.certificate);
    const Identity509 mid = mid_with(std::move(key));
    const Identity509 device = make_device("d", mid);
    EXPECT_EQ(world.ask(device.certificate, {mid.certificate}).reason, Reason::BadChain)
        << mid.certificate.key_type_name();
    // It may lie beside a path.
    const Identity509 beside = mid_with(make_key());
    EXPECT_EQ(world.ask(make_device("d", beside).certificate, {mid.certificate, beside.certificate}).reason,
              Reason::None);
    world.enroll(device.certificate, p.root.certificate);
    EXPECT_TRUE(world.ask(device.certificate, {mid.certificate}).known) << "nobody reads what a known device sends";
  }
}

// Certificates that fit each other in every order are tried in every order, a dead end each.
TEST(Gate, ChecksWithKeysThatAClientSendsAreCounted) {
  GateWorld world;
  world.trust(pki().root.certificate);
  Leaf leaf = Pki::ca_leaf();
  leaf.cn = "Round";
  const Identity509 round = make(leaf, nullptr);
  const Identity509 good = mid_with(make_key());
  const Identity509 astray = make_again(good, &round, Pki::ca_leaf());
  const Identity509 below = make_device("d", good);
  std::vector<Certificate> sent = {astray.certificate, round.certificate, make_again(round, nullptr, leaf).certificate};
  sent.push_back(good.certificate);
  EXPECT_EQ(world.ask(below.certificate, sent).reason, Reason::None) << "6 checks";
  sent.insert(sent.begin(), make_again(round, nullptr, leaf).certificate);
  EXPECT_EQ(world.ask(below.certificate, sent).reason, Reason::BadChain) << "17 checks";
}

// What the guides' `keyid,issuer` says of its issuer under a v1 root: the issuer's name and serial number, which
// another certificate of that CA does not have.
Identity509 names_its_issuer(const Identity509& issuer, const std::string& authority_key_id) {
  return leaf_of(issuer, [&](Leaf& leaf) { leaf.authority_key_id = authority_key_id; });
}

TEST(Gate, AuthorityKeyIdsBindNothing) {
  Leaf v1 = Pki::ca_leaf();
  v1.cn = "Old style";
  v1.version1 = true;
  const Identity509 first = make(v1, nullptr);
  const Identity509 again = make_again(first, nullptr, v1);              // another serial
  const Identity509 as_v3 = make_again(first, nullptr, Pki::ca_leaf());  // and a key id
  const Identity509 by_serial = names_its_issuer(first, "keyid,issuer");
  const Identity509 by_both = names_its_issuer(as_v3, "keyid:always,issuer:always");
  ASSERT_TRUE(by_serial.certificate.authority_key_id().empty());
  for (const Identity509* ca : {&first, &again, &as_v3}) {
    for (const Identity509* device : {&by_serial, &by_both}) {
      GateWorld world;
      world.trust(ca->certificate);
      const Verdict verdict = world.ask(device->certificate);
      EXPECT_EQ(verdict.reason, Reason::None) << words_of({verdict.detail});
      EXPECT_EQ(world.again(verdict), Reason::None);
    }
  }
  // The same one level up: the intermediate names the root's serial number.
  Leaf middle = Pki::ca_leaf();
  middle.cn = "Middle";
  middle.authority_key_id = "keyid,issuer";
  const Identity509 mid = make(middle, &first);
  const Identity509 mid_again = make_again(mid, &first, middle);
  const Identity509 below = names_its_issuer(mid, "keyid:always,issuer:always");
  GateWorld world;
  world.trust(again.certificate);
  EXPECT_EQ(world.ask(below.certificate, {mid_again.certificate}).reason, Reason::None);
  world.trust(mid_again.certificate);
  EXPECT_EQ(world.ask(below.certificate).reason, Reason::None);
}

TEST(Gate, ARenewedCaKeepsItsFleetWhenTheOldOneEnds) {
  Leaf v1;
  v1.cn = "Old style";
  v1.version1 = true;
  v1.not_after = kNow + 30 * kDay;
  const Identity509 first = make(v1, nullptr);
  const Identity509 renewed = make_again(first, nullptr, Pki::ca_leaf());
  const Identity509 device = names_its_issuer(first, "keyid,issuer");
  GateWorld world;
  world.trust(first.certificate);
  world.enroll(device.certificate, first.certificate);
  EXPECT_TRUE(world.ask(device.certificate).known);
  world.trust(renewed.certificate);
  const Verdict moved = world.ask(device.certificate, {}, kNow + 31 * kDay);
  EXPECT_EQ(moved.reason, Reason::None) << words_of({moved.detail});
  ASSERT_TRUE(moved.path != nullptr);
  EXPECT_EQ(moved.path->cas.front(), renewed.certificate.fingerprint());
}

// The names and the key fit, and an authority key id that says otherwise is passed by. Nothing else is.
TEST(Gate, AnAuthorityKeyIdExcusesNothingElse) {
  Pki& p = pki();
  const auto with = [](const char* cn, const std::function<void(Leaf&)>& change) {
    Leaf leaf = Pki::ca_leaf();
    leaf.cn = cn;
    change(leaf);
    return leaf;
  };
  const std::string other = "keyid:always,issuer:always";
  struct Case {
    const char* what;
    Leaf ca;
    std::function<void(Leaf&)> device;
    Reason expected;
  };
  const std::vector<Case> cases = {
      {"no CA", with("C1", [](Leaf& leaf) { leaf.ca = false; }), [](Leaf&) {}, Reason::BadChain},
      {"key usage", with("C2", [](Leaf& leaf) { leaf.key_usage = "cRLSign"; }), [](Leaf&) {}, Reason::BadChain},
      {"expired", with("C3", [](Leaf& leaf) { leaf.not_before = kNow - 9 * kDay, leaf.not_after = kNow - kDay; }),
       [](Leaf&) {}, Reason::Expired},
      {"the device's purpose", with("C4", [](Leaf&) {}), [](Leaf& leaf) { leaf.extended_key_usage = "serverAuth"; },
       Reason::BadPurpose},
      {"the CA's purpose", with("C5", [](Leaf& leaf) { leaf.extended_key_usage = "serverAuth"; }), [](Leaf&) {},
       Reason::BadChain},
      {"a weak hash", with("C6", [](Leaf&) {}), [](Leaf& leaf) { leaf.sha1 = true; }, Reason::BadChain},
      {"names", with("C7", [](Leaf& leaf) { leaf.name_constraints = "critical,permitted;DNS:inside.example"; }),
       [](Leaf& leaf) { leaf.subject_alt_name = "DNS:outside.example"; }, Reason::BadChain},
  };
  for (const Case& each : cases) {
    // The device names the first certificate of its CA by serial number, and comes with the second.
    const Identity509 first = make(each.ca, &p.root);
    const Identity509 second = make_again(first, &p.root, each.ca);
    const Identity509 device = leaf_of(first, [&](Leaf& leaf) { leaf.authority_key_id = other, each.device(leaf); });
    GateWorld world;
    world.trust(p.root.certificate);
    EXPECT_EQ(world.ask(device.certificate, {second.certificate}).reason, each.expected) << each.what;
  }
  Leaf top = with("Top", [](Leaf& leaf) { leaf.path_length = 0; });
  const Identity509 first = make(top, nullptr);
  const Identity509 second = make_again(first, nullptr, top);
  const Identity509 mid = make(with("Below", [&](Leaf& leaf) { leaf.authority_key_id = other; }), &first);
  GateWorld world;
  world.trust(second.certificate);
  EXPECT_EQ(world.ask(make_device("d", mid).certificate, {mid.certificate}).reason, Reason::BadChain) << "path length";
  // The name alone: signed by another key.
  world.trust(p.namesake.certificate);
  EXPECT_EQ(world.ask(names_its_issuer(p.root, other).certificate).reason, Reason::BadSignature);
}

TEST(Gate, TheSearchGoesBackFromAPathThatIsNotValid) {
  Pki& p = pki();
  const auto mid_as = [&](const std::function<void(Leaf&)>& change) {
    Leaf leaf = Pki::ca_leaf();
    change(leaf);
    return make_again(p.mid, &p.root, leaf).certificate;
  };
  const Certificate ended = mid_as([](Leaf& leaf) { leaf.not_before = kNow - 9 * kDay, leaf.not_after = kNow - kDay; });
  const Certificate lists_only = mid_as([](Leaf& leaf) { leaf.key_usage = "cRLSign"; });
  const Certificate too_short = mid_as([](Leaf& leaf) { leaf.path_length = 0; });
  const Certificate& good = p.mid.certificate;
  GateWorld world;
  world.trust(p.root.certificate);
  for (const Certificate& bad : {ended, lists_only}) {
    EXPECT_EQ(world.ask(below_mid(), {bad, good}).reason, Reason::None);
    EXPECT_EQ(world.ask(below_mid(), {good, bad}).reason, Reason::None);
    const Verdict verdict = world.ask(below_mid(), {lists_only, bad, good});
    EXPECT_EQ(verdict.reason, Reason::None);
    ASSERT_TRUE(verdict.path && verdict.path->intermediates.size() == 1);
    EXPECT_EQ(verdict.path->intermediates.front().fingerprint(), good.fingerprint());
  }
  EXPECT_EQ(world.ask(p.below_deep.certificate, {too_short, p.deep.certificate, good}).reason, Reason::None);
  EXPECT_EQ(world.ask(below_mid(), {ended}).reason, Reason::Expired);
  EXPECT_EQ(world.ask(below_mid(), {lists_only, ended}).reason, Reason::Expired) << "the further one names the reason";
  EXPECT_EQ(world.ask(below_mid(), {lists_only}).reason, Reason::BadChain);
}

// A chain of three levels of which the client sends each twice, what has ended in front: as many checks as levels.
TEST(Gate, TheSearchGoesBackWithinItsLimits) {
  GateWorld world;
  world.trust(pki().root.certificate);
  std::vector<Identity509> levels;
  std::vector<Certificate> sent;
  for (const char* cn : {"One", "Two", "Three", "Four"}) {
    Leaf leaf = Pki::ca_leaf();
    leaf.cn = cn;
    levels.push_back(make(leaf, levels.empty() ? &pki().root : &levels.back()));
    leaf.not_before = kNow - 9 * kDay;
    leaf.not_after = kNow - kDay;
    sent.push_back(
        make_again(levels.back(), levels.size() == 1 ? &pki().root : &levels[levels.size() - 2], leaf).certificate);
  }
  for (const Identity509& level : levels) sent.push_back(level.certificate);
  EXPECT_EQ(world.ask(make_device("d", levels.back()).certificate, sent).reason, Reason::None);
}

class Against : public PathJudge {
 public:
  PathFlaw judge(const Certificate&, const std::vector<Certificate>&, const Certificate&) const override {
    ++asked;
    return {Reason::BadChain, 0};
  }
  mutable std::size_t asked = 0;
};

// However the certificates that a client sends fit together, and whatever stands against each path of them.
TEST(Gate, PathsThatAreJudgedAreCounted) {
  Pki& p = pki();
  GateWorld world;
  world.trust(p.root.certificate);
  Leaf leaf = Pki::ca_leaf();
  leaf.cn = "Round";
  const Identity509 round = make(leaf, &p.root);
  std::vector<Certificate> sent;
  for (int i = 0; i < 4; ++i) sent.push_back(make_again(round, &p.root, leaf).certificate);
  for (int i = 0; i < 4; ++i) sent.push_back(make_again(round, &round, leaf).certificate);
  const Against against;
  const Admits admits;
  const PathSearch search =
      PathBuilder(world.cas(), admits, against, sent, kNow).find(make_device("d", round).certificate);
  EXPECT_EQ(search.reason, Reason::BadChain);
  EXPECT_GE(against.asked, 4U);
  EXPECT_LE(against.asked, PathBuilder::kMostPaths);
  EXPECT_EQ(search.tried.size(), against.asked);
}

TEST(GateRecheck, SeesWhatChangedSinceTheHandshake) {
  Pki& p = pki();
  {
    GateWorld world;
    root_only(world);
    const Verdict verdict = world.ask(device());
    world.set(p.root.certificate, CaStatus::Inactive);
    EXPECT_EQ(world.again(verdict), Reason::CaInactive) << "a first connection";
  }
  {
    GateWorld world;
    root_only(world);
    world.enroll(device(), p.root.certificate);
    const Verdict verdict = world.ask(device());
    world.set(p.root.certificate, CaStatus::Inactive);
    EXPECT_EQ(world.again(verdict), Reason::CaInactive) << "a known device";
    world.set(p.root.certificate, CaStatus::Active);
    EXPECT_EQ(world.again(verdict), Reason::None);
    world.set(device(), DeviceStatus::Inactive);
    EXPECT_EQ(world.again(verdict), Reason::DeviceInactive);
    world.set(device(), DeviceStatus::Revoked);
    EXPECT_EQ(world.again(verdict), Reason::DeviceRevoked);
  }
  {
    GateWorld world;
    root_only(world);
    const Verdict verdict = world.ask(rewrite_signature(device()));
    ASSERT_TRUE(verdict.admitted());
    world.enroll(device(), p.root.certificate);
    EXPECT_EQ(world.again(verdict), Reason::SerialConflict) << "the serial was taken in between";
    EXPECT_EQ(world.again(verdict, kNow + 400 * kDay), Reason::Expired);
  }
}

// An intermediate of the client's that ends in two days, and a device below it that does not.
struct ShortLived {
  Identity509 intermediate = make(short_leaf(), &pki().root);
  Identity509 device = make_device("below a short-lived one", intermediate);
  std::vector<Certificate> sent{intermediate.certificate};

  static Leaf short_leaf() {
    Leaf leaf = Pki::ca_leaf();
    leaf.cn = "Short-lived";
    leaf.not_after = kNow + 2 * kDay;
    return leaf;
  }
};

TEST(GateRecheck, ANewDeviceEndsWithTheIntermediateThatItSent) {
  GateWorld world;
  root_only(world);
  const ShortLived made;
  const Verdict verdict = world.ask(made.device.certificate, made.sent);
  EXPECT_EQ(world.again(verdict), Reason::None);
  EXPECT_EQ(world.again(verdict, kNow + 3 * kDay), Reason::Expired);
  world.enroll(made.device.certificate, pki().root.certificate, DeviceStatus::Active, made.sent);
  EXPECT_EQ(world.again(verdict), Reason::None) << "registered in between";
  EXPECT_EQ(world.again(verdict, kNow + 3 * kDay), Reason::CaInactive) << "its chain is dead";
}

TEST(GateRecheck, ARevokedIntermediateEndsANewDeviceAndAKnownOne) {
  Pki& p = pki();
  GateWorld world;
  root_only(world);
  world.trust(p.root_renewed.certificate);
  const Verdict fresh = world.ask(below_mid(), {p.mid.certificate});
  world.enroll(p.mid.certificate, p.root.certificate, DeviceStatus::Revoked);
  EXPECT_EQ(world.again(fresh), Reason::CaInactive);

  GateWorld other;
  root_only(other);
  other.trust(p.root_renewed.certificate);
  other.enroll(below_mid(), p.root.certificate, DeviceStatus::Active, {p.mid.certificate});
  const Verdict known = other.ask(below_mid(), {p.mid.certificate});
  ASSERT_TRUE(known.known);
  other.set(p.root.certificate, CaStatus::Inactive);
  EXPECT_EQ(other.again(known), Reason::None) << "the renewed CA carries it on";
  other.enroll(p.mid.certificate, p.root.certificate, DeviceStatus::Revoked);
  EXPECT_EQ(other.again(known), Reason::CaInactive);
}

TEST(GateRecheck, ARenewedCaDoesNotOutliveTheIntermediateBelowIt) {
  Pki& p = pki();
  GateWorld world;
  root_only(world);
  world.trust(p.root_renewed.certificate);
  const ShortLived made;
  world.enroll(made.device.certificate, p.root.certificate, DeviceStatus::Active, made.sent);
  const Verdict known = world.ask(made.device.certificate, made.sent);
  ASSERT_TRUE(known.known);
  world.set(p.root.certificate, CaStatus::Inactive);
  EXPECT_EQ(world.again(known), Reason::None);
  EXPECT_EQ(world.again(known, kNow + 3 * kDay), Reason::Expired);
}

}  // namespace
}  // namespace sallyport::test
