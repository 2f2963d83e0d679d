// Certificates parsed once: keys, versions, odd serials, names that try to forge a line; the CA set's links;
// and rows on disk that were cut short.
#include "cache/x509/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <memory>

#include "cache/base/text.h"
#include "cache/registry/registry_records.h"
#include "cache/standing/ca_set.h"
#include "cache/x509/ca_rules.h"
#include "cache/x509/identity.h"
#include "cache/x509/pem.h"
#include "tests/cache/test_pki.h"

namespace sallyport::test {
namespace {

using ::testing::HasSubstr;

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

TEST(Certificate, KnowsEveryKindOfKey) {
  const std::pair<Kind, const char*> rows[] = {{Kind::Rsa2048, "RSA-2048"},
                                               {Kind::P256, "EC-P256"},
                                               {Kind::P384, "EC-P384"},
                                               {Kind::P521, "EC-P521"},
                                               {Kind::Ed25519, "Ed25519"}};
  for (const auto& [kind, name] : rows) {
    const Identity509 ca = make_ca("CA", nullptr, kind);
    EXPECT_EQ(ca.certificate.key_type_name(), name);
    EXPECT_TRUE(ca.certificate.is_ca());
    EXPECT_TRUE(ca.certificate.self_issued());
    EXPECT_TRUE(ca.certificate.signed_by(ca.key.get()));
    EXPECT_TRUE(check_ca(ca.certificate, std::time(nullptr)));
    const Identity509 leaf = make_device("d", ca, kind);
    EXPECT_FALSE(leaf.certificate.is_ca());
    EXPECT_TRUE(leaf.certificate.signed_by(ca.key.get()));
    EXPECT_FALSE(leaf.certificate.signed_by(leaf.key.get()));
    EXPECT_EQ(leaf.certificate.issuer_name(), ca.certificate.subject_name());
    EXPECT_EQ(leaf.certificate.authority_key_id(), ca.certificate.subject_key_id());
  }
}

TEST(Certificate, SurvivesPemAndCopies) {
  const Identity509 ca = make_ca("CA");
  const Certificate copy = ca.certificate;
  Certificate moved = Certificate(copy);
  moved = ca.certificate;
  EXPECT_EQ(moved.fingerprint(), copy.fingerprint());
  const auto again = Certificate::from_pem("text before\n" + copy.pem());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->fingerprint(), copy.fingerprint());
  const auto bundle = Certificate::bundle_from_pem(copy.pem() + make_ca("Other").certificate.pem());
  ASSERT_TRUE(bundle);
  EXPECT_EQ(bundle->size(), 2U);
  EXPECT_FALSE(Certificate::bundle_from_pem(""));
  EXPECT_FALSE(
      Certificate::bundle_from_pem(copy.pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
}

std::string printed(const std::string& serial) {
  return serial_hex({reinterpret_cast<const std::uint8_t*>(serial.data()), serial.size()});
}

TEST(Serial, IsReadAsItIsPrinted) {
  Leaf leaf;
  for (const bool negative : {false, true}) {
    leaf.negative_serial = negative;
    for (const std::vector<std::uint8_t>& magnitude : {std::vector<std::uint8_t>{0x5A, 0xFE, 0xFD, 0xFD},
                                                       {1},
                                                       {0xFF},
                                                       {0x80, 0, 0},
                                                       std::vector<std::uint8_t>(32, 0xAB)}) {
      leaf.serial = magnitude;
      const std::string serial = make(leaf, nullptr).certificate.serial();
      EXPECT_EQ(parse_serial(printed(serial)), serial) << printed(serial);
    }
  }
  EXPECT_EQ(printed(*parse_serial("-5afe:fd:fd")), "-5AFEFDFD");
  EXPECT_EQ(printed(*parse_serial("-1")), "-01");
  EXPECT_EQ(printed(*parse_serial("0001")), "01");
  EXPECT_EQ(printed(*parse_serial("0")), "00");
  EXPECT_NE(parse_serial("5AFEFDFD"), parse_serial("-5AFEFDFD"));
  EXPECT_TRUE(parse_serial(std::string(256, 'F')));
  for (const std::string& wrong : {std::string(), std::string("-"), std::string("--5A"), std::string("5A-"),
                                   std::string("-0"), std::string("-00"), std::string("xyz"), std::string(258, 'F')}) {
    EXPECT_FALSE(parse_serial(wrong)) << wrong;
  }
}

TEST(Digests, AreReadInEveryFormTheyArePrintedIn) {
  const Digest id = make_ca("CA").certificate.fingerprint();
  std::string colons;
  for (const std::uint8_t byte : id) colons += (colons.empty() ? "" : ":") + serial_hex({&byte, 1});
  EXPECT_EQ(parse_digest(to_hex(id)), id);
  EXPECT_EQ(parse_digest(colons), id) << "as openssl x509 -fingerprint";
  EXPECT_FALSE(parse_digest(to_hex(id).substr(2)));
  EXPECT_FALSE(parse_digest("-" + to_hex(id)));
}

// A text with several objects is taken whole or refused whole.
TEST(Pem, NothingInATextIsPassedOverInSilence) {
  const Identity509 ca = make_ca("CA");
  const std::string one = ca.certificate.pem(), other = make_ca("Other").certificate.pem();
  const auto why = [](const std::string& text) {
    const auto bundle = Certificate::bundle_from_pem(text);
    return bundle ? std::to_string(bundle->size()) + " taken" : bundle.error().what;
  };
  EXPECT_EQ(why("Subject: CA\n" + one + "Subject: Other\n" + other), "2 taken");
  EXPECT_EQ(why(one + key_pem(ca.key.get()) + other), "2 taken") << "a server's key may lie in the same file";
  EXPECT_THAT(why(one + pem_of("X509 CRL", "any") + other),
              HasSubstr("object 2 of 3 in it is no certificate but 'X509 CRL'"));
  EXPECT_THAT(why(one + pem_of("TRUSTED CERTIFICATE", ca.certificate.der())), HasSubstr("'TRUSTED CERTIFICATE'"));
  EXPECT_EQ(why(pem_of("X509 CERTIFICATE", ca.certificate.der())), "1 taken");
  EXPECT_THAT(why(one + "-----BEGIN CERTIFICATE-----\nMIIB\n"), HasSubstr("object 2 of 2 in it is damaged"));
  EXPECT_THAT(why(one + other.substr(1)), HasSubstr("damaged")) << "a dash is missing: OpenSSL takes it for text";
  EXPECT_THAT(why(one + " " + other), HasSubstr("damaged"));
  EXPECT_THAT(why(one + pem_of("CERTIFICATE", "any")), HasSubstr("certificate 2 in it cannot be read"));
  EXPECT_THAT(why("none"), HasSubstr("no PEM certificate"));
  const auto single = Certificate::from_pem(one + other);
  ASSERT_FALSE(single);
  EXPECT_THAT(single.error().what, HasSubstr("2 certificates"));
  EXPECT_FALSE(pem_objects(one + other, PemKind::Certificate, 1)) << "more than wanted";
  EXPECT_TRUE(pem_objects(one + other, PemKind::Certificate, 2));
}

TEST(Certificate, SaysWhetherTlsHasASignatureForItsKey) {
  const Identity509 ca = make_ca("CA");
  for (const Kind kind : {Kind::P256, Kind::P384, Kind::P521, Kind::Ed25519, Kind::Ed448, Kind::Rsa2048}) {
    EXPECT_TRUE(make_device("d", ca, kind).certificate.provable_in_tls());
  }
  EXPECT_TRUE(make({}, &ca, make_rsa(2048, 65537, "RSA-PSS")).certificate.provable_in_tls());
  EXPECT_FALSE(make_device("d", ca, Kind::K256).certificate.provable_in_tls());
}

TEST(Certificate, RefusesWhatIsNotOne) {
  const std::string der = make_ca("CA").certificate.der();
  EXPECT_FALSE(Certificate::from_der({}));
  EXPECT_FALSE(Certificate::from_der(bytes_of("garbage")));
  EXPECT_FALSE(Certificate::from_der(bytes_of(der + "x"))) << "bytes behind it";
  for (std::size_t n = 0; n < der.size(); n += 7) EXPECT_FALSE(Certificate::from_der(bytes_of(der.substr(0, n))));
  EXPECT_FALSE(Certificate::from_der(bytes_of(std::string(100'000, 'x'))));
}

TEST(Certificate, NoTwoSerialsAreEqual) {
  struct Row {
    std::vector<std::uint8_t> magnitude;
    bool negative;
    const char* printed;
  };
  const Row rows[] = {{{0}, false, "00"},
                      {{1}, false, "01"},
                      {{1}, true, "-01"},
                      {{0x80}, false, "80"},
                      {{0x80}, true, "-80"},
                      {{0x01, 0x00}, false, "0100"},
                      {std::vector<std::uint8_t>(20, 0xAB), false, "ABABABABABABABABABABABABABABABABABABABAB"}};
  std::set<std::string> seen;
  for (const Row& row : rows) {
    Leaf leaf;
    leaf.serial = row.magnitude;
    leaf.negative_serial = row.negative;
    const Certificate certificate = make(leaf, nullptr).certificate;
    EXPECT_EQ(serial_hex(bytes_of(certificate.serial())), row.printed);
    EXPECT_TRUE(seen.insert(certificate.serial()).second) << row.printed;
  }
  Leaf longest;
  longest.serial.assign(128, 0x7F);
  EXPECT_EQ(make(longest, nullptr).certificate.serial().size(), 128U);
}

TEST(Certificate, AVersion1RootIsACa) {
  Leaf v1;
  v1.version1 = true;
  const Identity509 root = make(v1, nullptr);
  EXPECT_TRUE(root.certificate.is_ca());
  EXPECT_TRUE(check_ca(root.certificate, std::time(nullptr)));
  const Identity509 below = make(v1, &root);
  EXPECT_FALSE(check_ca(below.certificate, std::time(nullptr)) &&
               below.certificate.subject_name() != root.certificate.subject_name());
}

TEST(Certificate, NamesCannotForgeALine) {
  Leaf leaf;
  leaf.cn = "device\nrejected reason=none";
  leaf.organization = std::string("a\0b", 3) + "\x1b[31m";
  const Certificate certificate = make(leaf, nullptr).certificate;
  for (const char c : escaped(certificate.subject())) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  EXPECT_EQ(certificate.cn(), leaf.cn) << "the data itself is kept as it is";
  const Identity identity = make_identity(certificate);
  ASSERT_EQ(identity.cns.size(), 1U);
  EXPECT_EQ(identity.cns[0], leaf.cn);
}

TEST(Identity, CollectsNamesOfEveryKind) {
  Leaf leaf;
  leaf.cn = "one";
  leaf.more_cns = {"two"};
  leaf.subject_alt_name = "DNS:a.example,DNS:b.example,URI:urn:device:1,IP:10.0.0.1";
  const Identity identity = make_identity(make(leaf, nullptr).certificate);
  EXPECT_EQ(identity.cns, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(identity.san_dns, (std::vector<std::string>{"a.example", "b.example"}));
  EXPECT_EQ(identity.san_uri, (std::vector<std::string>{"urn:device:1"}));
}

// Of two common names the one that can be read must not pass for the only one. The first is a BIT STRING, which OpenSSL
// takes in a name and cannot make text of.
TEST(Identity, ANameThatCannotBeReadIsThere) {
  constexpr unsigned char kNames[] = {0x30, 0x20, 0x31, 0x0E, 0x30, 0x0C, 6,    3,    0x55, 4,    3, 3,
                                      5,    0,    'e',  't',  'e',  'r',  0x31, 0x0E, 0x30, 0x0C, 6, 3,
                                      0x55, 4,    3,    12,   5,    'm',  'e',  't',  'e',  'r'};
  const unsigned char* at = kNames;
  const std::unique_ptr<X509_NAME, decltype(&X509_NAME_free)> name(d2i_X509_NAME(nullptr, &at, sizeof kNames),
                                                                   &X509_NAME_free);
  ASSERT_TRUE(name);
  Identity identity;
  add_common_names(name.get(), identity);
  EXPECT_EQ(identity.cns, (std::vector<std::string>{"", "meter"}));
}

// A stranger's certificate of 15 KB: what is kept of it everywhere is little, and says that it was cut.
TEST(Identity, IsSmallWhateverTheCertificateSays) {
  Leaf leaf;
  leaf.cn = "one";
  leaf.subject_alt_name = "URI:urn:" + std::string(5'000, 'u');
  for (int i = 0; i < 20; ++i) leaf.subject_alt_name += ",DNS:" + std::to_string(i) + std::string(400, 'd');
  for (int i = 0; i < 40; ++i) leaf.more_cns.push_back(std::string(60, 'n'));
  const Certificate certificate = make(leaf, nullptr).certificate;
  ASSERT_GT(certificate.subject().size(), 2'000U);
  const Identity identity = make_identity(certificate);
  EXPECT_EQ(identity.subject.size(), kPeerText);
  EXPECT_EQ(identity.subject.substr(kPeerText - 3), "…");
  EXPECT_LE(identity.subject.capacity(), kPeerText + 64);
  ASSERT_EQ(identity.san_uri.size(), 1U);
  ASSERT_EQ(identity.san_dns.size(), Identity::kNamesKept);
  for (const std::string& name : {identity.san_uri[0], identity.san_dns[0]}) {
    EXPECT_GT(name.size(), kPeerText) << "too long for a template before, too long now";
    EXPECT_LE(name.size(), kPeerText + 8);
    EXPECT_EQ(name.substr(name.size() - 3), "…");
  }
}

TEST(CaSet, LinksBySignatureAndNotByName) {
  const Identity509 root = make_ca("Root"), namesake = make_ca("Root"), mid = make_ca("Mid", &root);
  CaSet::LinkMemo memo;
  const auto standing = [&](CaStatus root_status, CaStatus namesake_status) {
    const CaSet set({{root.certificate, root_status}, {namesake.certificate, namesake_status}, {mid.certificate}}, {},
                    nullptr, memo);
    return set.standing_of(mid.certificate.fingerprint(), std::time(nullptr));
  };
  EXPECT_EQ(standing(CaStatus::Active, CaStatus::Inactive), Reason::None);
  EXPECT_EQ(standing(CaStatus::Inactive, CaStatus::Active), Reason::CaInactive);
  const CaSet alone({{mid.certificate}}, {}, nullptr, memo);
  EXPECT_EQ(alone.standing_of(mid.certificate.fingerprint(), std::time(nullptr)), Reason::None)
      << "an anchor by itself";
  EXPECT_EQ(alone.standing_of(root.certificate.fingerprint(), std::time(nullptr)), Reason::CaInactive)
      << "not registered";
}

TEST(CaSet, ACircleOfCrossSignedCasHoldsNobodyUp) {
  const Identity509 a = make_ca("A"), b = make_ca("B");
  Leaf leaf;
  leaf.ca = true;
  leaf.key_usage = "";
  const Identity509 a_by_b = make_again(a, &b, leaf), b_by_a = make_again(b, &a, leaf);
  CaSet::LinkMemo memo;
  const CaSet circle({{a_by_b.certificate}, {b_by_a.certificate}}, {}, nullptr, memo);
  EXPECT_EQ(circle.standing_of(a_by_b.certificate.fingerprint(), std::time(nullptr)), Reason::CaInactive);
  EXPECT_FALSE(circle.path_ids(0, std::time(nullptr)).empty());
  const CaSet rooted({{a_by_b.certificate}, {b_by_a.certificate}, {a.certificate}}, {}, nullptr, memo);
  EXPECT_EQ(rooted.standing_of(b_by_a.certificate.fingerprint(), std::time(nullptr)), Reason::None);
}

template <class Row>
void cut_short(const Row& row) {
  const std::string whole = records::encode(row);
  Row read;
  EXPECT_TRUE(records::decode(whole, read));
  EXPECT_EQ(records::encode(read), whole);
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(records::decode(whole.substr(0, n), read)) << n;
}

TEST(RegistryRecords, ARowThatWasCutShortIsNotRead) {
  cut_short(DeviceRow{DeviceStatus::Pending, RegisteredBy::Operator, 7, 0x1234567, 8, -9, 10, 11, {1, 2, 3}});
  EXPECT_EQ(records::encode(DeviceRow{}).size(), 64U);
  // What versions before the epoch wrote, who left both halves of it 0; and the day is where they read it.
  DeviceRow row;
  ASSERT_TRUE(records::decode(records::encode(DeviceRow{.seen_day = 0x4321, .epoch = 0xFEDCBA9}), row));
  EXPECT_EQ(row.seen_day, 0x4321);
  EXPECT_EQ(row.epoch, 0xFEDCBA9U);
  EXPECT_EQ(records::encode(DeviceRow{.seen_day = 0x4321}).substr(2, 6), std::string("\0\0\x21\x43\0\0", 6));
  cut_short(DeviceText{"s", "subject", "cn", "EC-P256", "der"});
  cut_short(CaRow{CaStatus::Inactive, false, true, true, 5, "der"});
  const std::string chain = records::encode(ChainRow{{Digest{1}, Digest{2}}, {"one", "two"}, Digest{3}, false, true});
  const std::size_t schema_1 = chain.size() - sizeof(Digest) - 1;  // as the first version wrote it
  for (std::size_t length = 0; length < chain.size(); ++length) {
    ChainRow row;
    EXPECT_EQ(records::decode(chain.substr(0, length), row), length == schema_1) << length;
  }
  cut_short(ServerCertRow{"chain", "sealed", 5});
  cut_short(OverrideRow{std::uint8_t{1}, Digest{4}});
  cut_short(TokenRow{Digest{5}, true, 6, 7});
  const std::string crl = records::encode(CrlRow{"12", 8, 9, 10, 11, Digest{12}, "scope"});
  for (std::size_t length = 0; length < crl.size(); ++length) {
    CrlRow row;
    EXPECT_EQ(records::decode(crl.substr(0, length), row), length == 4 + 2 + 8) << length;  // as schema 2 had it
  }
  CrlRow whole;
  EXPECT_TRUE(records::decode(crl, whole));
  EXPECT_EQ(records::encode(whole), crl);
  cut_short(AuditRecord{1, 2, {"who", "from"}, "action", "target", "before", "after"});
  cut_short(CodeRow{Digest{3}, 4, true});
  cut_short(MetaRow{5, 6});
  DeviceRow bad;
  std::string wrong = records::encode(DeviceRow{});
  wrong[0] = 9;
  EXPECT_FALSE(records::decode(wrong, bad)) << "a status that does not exist";
}

// Parsed over fewer decoders: the same certificate, and its signature checks the same.
TEST(Certificate, ParsingLightlyChangesNothing) {
  for (const Kind kind : {Kind::P256, Kind::P384, Kind::P521, Kind::Rsa2048, Kind::Ed25519}) {
    const Identity509 ca = make_ca("CA", nullptr, kind);
    const Identity509 stranger = make_ca("CA", nullptr, kind);
    const Identity509 device = make_device("d", ca, kind);
    const auto plain = Certificate::from_pem(device.certificate.pem());
    const auto light = Certificate::from_pem_lightly(device.certificate.pem());
    ASSERT_TRUE(plain && light);
    EXPECT_EQ(light->fingerprint(), plain->fingerprint());
    EXPECT_EQ(light->spki_hash(), plain->spki_hash());
    EXPECT_EQ(light->key_type_name(), plain->key_type_name());
    EXPECT_TRUE(light->signed_by(X509_get0_pubkey(ca.certificate.x509())));
    EXPECT_FALSE(light->signed_by(X509_get0_pubkey(stranger.certificate.x509())));
  }
  EXPECT_FALSE(Certificate::from_pem_lightly("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  EXPECT_FALSE(Certificate::from_pem_lightly(""));
}

}  // namespace
}  // namespace sallyport::test
