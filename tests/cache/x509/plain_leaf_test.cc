// Device certificates read without OpenSSL's parser: what is read is what OpenSSL reads, and what is anything else is
// left to it.
#include "cache/x509/plain_leaf.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include <ctime>
#include <string>
#include <vector>

#include "cache/x509/der_reader.h"
#include "tests/cache/standing/gate_world.h"
#include "tests/cache/test_pki.h"

namespace sallyport::test {
namespace {

using Der = std::vector<std::uint8_t>;

Der der_of(const Certificate& certificate) {
  return {certificate.der().begin(), certificate.der().end()};
}
Der joined(const std::vector<Der>& parts) {
  Der all;
  for (const Der& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}
Der element(std::uint8_t tag, const Der& content) {
  Der length = {static_cast<std::uint8_t>(content.size())};
  if (content.size() >= 0x100) {
    length = {0x82, static_cast<std::uint8_t>(content.size() >> 8), static_cast<std::uint8_t>(content.size())};
  } else if (content.size() >= 0x80) {
    length = {0x81, static_cast<std::uint8_t>(content.size())};
  }
  return joined({{tag}, length, content});
}
Der text(std::uint8_t tag, const std::string& value) {
  return element(tag, Der(value.begin(), value.end()));
}

Identity509 root() {
  static const Identity509 made = make_ca("Root");
  Identity509 copy{made.certificate, nullptr};
  EVP_PKEY_up_ref(made.key.get());
  copy.key.reset(made.key.get());
  return copy;
}

// The fields of a certificate's signed part, so that one may be replaced. Nobody signs it: neither side here asks.
class Fields {
 public:
  Fields() {
    const Identity509 issuer = root();
    const Der der = der_of(make_device("device", issuer).certificate);
    DerReader outer(der);
    DerReader certificate(outer.take(0x30));
    DerReader part(certificate.take(0x30));
    for (const std::uint8_t tag : Der{0xa0, 0x02, 0x30, 0x30, 0x30, 0x30, 0x30, 0xa3}) {
      const auto field = part.element(tag);
      fields_.emplace_back(field.begin(), field.end());
    }
    const auto rest = certificate.element(0x30);
    algorithm_.assign(rest.begin(), rest.end());
    const auto signature = certificate.element(0x03);
    signature_.assign(signature.begin(), signature.end());
  }
  enum Which { Version, Serial, Algorithm, Issuer, Validity, Subject, Key, Extensions };
  Der& operator[](Which which) { return fields_[which]; }
  Der& signature() { return signature_; }
  Der whole() const { return element(0x30, joined({element(0x30, joined(fields_)), algorithm_, signature_})); }

 private:
  std::vector<Der> fields_;
  Der algorithm_, signature_;
};

// The same of both, or nothing of the plain reader's.
enum class Read { Plainly, ByOpenssl };
void expect_read(const Der& der, Read how, const std::string& what) {
  const auto plain = read_plain_leaf(der);
  EXPECT_EQ(ERR_peek_error(), 0UL) << what;
  EXPECT_EQ(plain.has_value(), how == Read::Plainly) << what;
  if (!plain) return;
  const auto whole = Certificate::from_der(der);
  ASSERT_TRUE(whole) << what;
  const Identity identity = make_identity(*whole);
  EXPECT_EQ(plain->identity.subject, identity.subject) << what;
  EXPECT_EQ(plain->identity, identity) << what;
  const ASN1_BIT_STRING* key = X509_get0_pubkey_bitstr(whole->x509());
  EXPECT_EQ(Der(plain->point.begin(), plain->point.end()), Der(key->data, key->data + key->length)) << what;
  EXPECT_EQ(plain->der.data(), der.data());
}

TEST(PlainLeaf, IsWhatOpensslReads) {
  const auto read = [](const char* what, Read how, const std::function<void(Leaf&)>& change, Kind kind = Kind::P256) {
    const Identity509 issuer = root();
    Leaf leaf;
    change(leaf);
    expect_read(der_of(make(leaf, &issuer, make_key(kind)).certificate), how, what);
  };
  read("as it comes", Read::Plainly, [](Leaf&) {});
  read("an organization", Read::Plainly, [](Leaf& leaf) { leaf.organization = "Meters-2 (c/o) Grid"; });
  read("a comma", Read::Plainly, [](Leaf& leaf) { leaf.organization = "Meters, Inc."; });
  read("UTF-8", Read::Plainly, [](Leaf& leaf) { leaf.cn = "Zähler ü 世"; });
  read("quotes and escapes", Read::Plainly, [](Leaf& leaf) { leaf.cn = " a\\b\"c<d>;=+#"; });
  read("a leading hash", Read::Plainly, [](Leaf& leaf) { leaf.cn = "#1"; });
  read("a space at the end", Read::Plainly, [](Leaf& leaf) { leaf.cn = "a "; });
  read("three CNs", Read::Plainly, [](Leaf& leaf) { leaf.more_cns = {"b", "c, d"}; });
  read("many CNs", Read::Plainly, [](Leaf& leaf) { leaf.more_cns.assign(40, "n"); });
  read("alternative names", Read::Plainly,
       [](Leaf& leaf) { leaf.subject_alt_name = "DNS:a.example,URI:urn:x:1,email:a@b.c,IP:10.0.0.1,DNS:b.example"; });
  read("a serial number of one byte", Read::Plainly, [](Leaf& leaf) { leaf.serial = {1}; });
  read("one whose first bit is set", Read::Plainly, [](Leaf& leaf) { leaf.serial = Der(20, 0xff); });
  read("dates of another century", Read::Plainly, [](Leaf& leaf) {
    leaf.not_before = -1'000'000'000;
    leaf.not_after = 4'000'000'000;
  });
  read("a leap day", Read::Plainly, [](Leaf& leaf) { leaf.not_before = 951'782'400; });
  read("no key usage", Read::Plainly, [](Leaf& leaf) { leaf.key_usage = ""; });
  read("of a CA", Read::Plainly, [](Leaf& leaf) { leaf.ca = true; });

  read("serial number zero", Read::ByOpenssl, [](Leaf& leaf) { leaf.serial = {0}; });
  read("a negative one", Read::ByOpenssl, [](Leaf& leaf) { leaf.negative_serial = true; });
  read("a long one", Read::ByOpenssl, [](Leaf& leaf) { leaf.serial = Der(22, 0x11); });
  read("X.509 v1", Read::ByOpenssl, [](Leaf& leaf) { leaf.version1 = true; });
  read(
      "RSA", Read::ByOpenssl, [](Leaf&) {}, Kind::Rsa2048);
  read(
      "P-384", Read::ByOpenssl, [](Leaf&) {}, Kind::P384);
  read(
      "Ed25519", Read::ByOpenssl, [](Leaf&) {}, Kind::Ed25519);
}

TEST(PlainLeaf, SubjectsOfEveryKind) {
  const auto attribute = [](std::uint8_t arc, std::uint8_t tag, const std::string& value) {
    return element(0x30, joined({element(0x06, {0x55, 0x04, arc}), text(tag, value)}));
  };
  const auto set = [](const Der& content) { return element(0x31, content); };
  const auto read = [](const char* what, Read how, const Der& names) {
    Fields fields;
    fields[Fields::Subject] = element(0x30, names);
    expect_read(fields.whole(), how, what);
  };
  Der all;
  for (const std::uint8_t arc : Der{6, 8, 7, 10, 11, 3, 5}) all = joined({all, set(attribute(arc, 0x13, "A b-1"))});
  read("all that are printed here", Read::Plainly, all);
  read("none", Read::Plainly, {});
  read("two at once", Read::Plainly, set(joined({attribute(3, 0x13, "a"), attribute(10, 0x13, "b")})));
  read("an empty value", Read::Plainly, set(attribute(3, 0x13, "")));
  read("a surname", Read::Plainly, set(attribute(4, 0x13, "x")));
  read("IA5String", Read::Plainly, set(attribute(3, 0x16, "x")));
  read("BMPString", Read::Plainly, set(attribute(3, 0x1e, std::string("\0a\0b", 4))));
  read("T61String", Read::Plainly, set(attribute(3, 0x14, "\xe4")));
  read("UTF8String that is none", Read::ByOpenssl, set(attribute(3, 0x0c, "\xff\xfe")));
  // A stranger's names may fill 16 KiB. Either reader keeps the same beginning of them.
  for (const std::uint8_t tag : Der{0x0c, 0x13}) {
    for (const int length : {200, 249, 250, 251, 252, 253, 254, 255, 256, 257, 258, 259, 260, 15'000}) {
      const auto bytes = static_cast<std::size_t>(length);
      const std::string what = "a value of " + std::to_string(length);
      read(what.c_str(), Read::Plainly, set(attribute(3, tag, std::string(bytes, 'x'))));
      read(what.c_str(), Read::Plainly, set(attribute(3, tag, std::string(bytes, '\\'))));
      read(what.c_str(), Read::Plainly, set(attribute(11, tag, std::string(bytes, '"') + "a")));
    }
    read("many values", Read::Plainly, [&] {
      Der many;
      for (int i = 0; i < 300; ++i) many = joined({many, set(attribute(11, tag, "A b-1"))});
      return many;
    }());
  }
  for (std::size_t before = 240; before < 260; ++before) {
    std::string value(before, 'x');
    for (int i = 0; i < 20; ++i) value += "\xF0\x9F\x98\x80";
    read("a character across the end", Read::Plainly, set(attribute(3, 0x0c, value)));
  }
  read("not a name", Read::ByOpenssl, set(attribute(3, 0x13, "a") = Der{0x31, 0x00}));
  read("bytes behind it", Read::ByOpenssl, joined({set(attribute(3, 0x13, "a")), {0x05, 0x00}}));
}

// Also once it is remembered, and once others have taken its place.
TEST(PlainLeaf, IssuersOfEveryKind) {
  const auto issuer = [](std::uint8_t tag, const std::string& value) {
    return element(0x30, element(0x31, element(0x30, joined({element(0x06, {0x55, 0x04, 3}), text(tag, value)}))));
  };
  const auto read = [](Read how, const Der& name) {
    Fields fields;
    fields[Fields::Issuer] = name;
    fields[Fields::Serial] = {2, 1, 5};
    const Der whole = fields.whole();
    expect_read(whole, how, "an issuer");
    const auto plain = read_plain_leaf(whole);
    return plain ? std::optional(plain->identity.issuer_serial) : std::nullopt;
  };
  const auto fleet = read(Read::Plainly, issuer(0x13, "Fleet Root"));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(read(Read::Plainly, issuer(0x0c, "fleet  ROOT")), fleet);
    EXPECT_EQ(read(Read::Plainly, issuer(0x1e, std::string("\0f\0l\0e\0e\0t\0 \0r\0o\0o\0t", 20))), fleet);
    EXPECT_EQ(read(Read::Plainly, issuer(0x13, "Fleet Root")), fleet);
    for (int other = 0; other < 20; ++other) {
      EXPECT_NE(read(Read::Plainly, issuer(0x13, "Fleet Root " + std::to_string(other))), fleet);
    }
    const auto longest = read(Read::Plainly, issuer(0x13, std::string(600, 'a')));
    EXPECT_NE(longest, fleet);
    EXPECT_EQ(read(Read::Plainly, issuer(0x0c, std::string(600, 'A'))), longest);
    EXPECT_NE(read(Read::Plainly, issuer(0x13, std::string(600, 'b'))), longest);
    EXPECT_FALSE(read(Read::ByOpenssl, issuer(0x0c, "\xff\xfe")));
    EXPECT_FALSE(read(Read::ByOpenssl, {0x30, 0x02, 0x05, 0x00}));
  }
  EXPECT_TRUE(read(Read::Plainly, {0x30, 0x00}));
}

TEST(PlainLeaf, AnythingElseIsLeftToOpenssl) {
  const auto read = [](const char* what, Read how, const std::function<void(Fields&)>& change) {
    Fields fields;
    change(fields);
    expect_read(fields.whole(), how, what);
  };
  const auto dates = [](const Der& from, const Der& to) { return element(0x30, joined({from, to})); };
  const Der good = text(0x17, "250101000000Z");
  read("put together again", Read::Plainly, [](Fields&) {});
  read("no version", Read::ByOpenssl, [](Fields& f) { f[Fields::Version].clear(); });
  read("version 2", Read::ByOpenssl, [](Fields& f) { f[Fields::Version] = {0xa0, 3, 2, 1, 1}; });
  read("a padded serial number", Read::ByOpenssl, [](Fields& f) { f[Fields::Serial] = {2, 2, 0, 1}; });
  read("no serial number", Read::ByOpenssl, [](Fields& f) { f[Fields::Serial] = {2, 0}; });
  read("both kinds of date", Read::Plainly,
       [&](Fields& f) { f[Fields::Validity] = dates(good, text(0x18, "20500101000000Z")); });
  for (const char* odd : {"2501010000Z", "250101000000+0100", "250101000000", "251301000000Z", "250230000000Z",
                          "250101240000Z", "250101006000Z", "250101000060Z", "25010100000aZ", ""}) {
    read(odd, Read::ByOpenssl, [&](Fields& f) { f[Fields::Validity] = dates(text(0x17, odd), good); });
    read(odd, Read::ByOpenssl, [&](Fields& f) { f[Fields::Validity] = dates(good, text(0x17, odd)); });
  }
  read("one date", Read::ByOpenssl, [&](Fields& f) { f[Fields::Validity] = element(0x30, good); });
  read("three", Read::ByOpenssl, [&](Fields& f) { f[Fields::Validity] = element(0x30, joined({good, good, good})); });
  read("no extensions", Read::Plainly, [](Fields& f) { f[Fields::Extensions].clear(); });
  read("a unique id", Read::ByOpenssl, [](Fields& f) {
    f[Fields::Extensions] = joined({{0x81, 2, 0, 1}, f[Fields::Extensions]});
  });
  read("bits that are not used", Read::ByOpenssl, [](Fields& f) { f.signature()[2] = 1; });
  read("bytes behind the extensions", Read::ByOpenssl, [](Fields& f) {
    f[Fields::Extensions] = joined({f[Fields::Extensions], {5, 0}});
  });
  const Der san = element(0x30, joined({{6, 3, 0x55, 0x1d, 0x11}, element(4, element(0x30, text(0x82, "a.example")))}));
  const Der broken = element(0x30, joined({{6, 3, 0x55, 0x1d, 0x11}, element(4, {0x30, 0x05, 0x82})}));
  const auto extensions = [](const Der& content) { return element(0xa3, element(0x30, content)); };
  read("alternative names", Read::Plainly, [&](Fields& f) { f[Fields::Extensions] = extensions(san); });
  read("broken ones", Read::Plainly, [&](Fields& f) { f[Fields::Extensions] = extensions(broken); });
  read("twice", Read::ByOpenssl, [&](Fields& f) { f[Fields::Extensions] = extensions(joined({san, san})); });
  read("an extension that is none", Read::ByOpenssl, [&](Fields& f) { f[Fields::Extensions] = extensions({5, 0}); });
  read("a compressed point", Read::ByOpenssl, [](Fields& f) {
    const Der key = f[Fields::Key];
    f[Fields::Key] = element(
        0x30, joined({Der(key.begin() + 2, key.begin() + 23), {3, 34, 0, 2}, Der(key.begin() + 27, key.begin() + 59)}));
  });
}

TEST(PlainLeaf, NothingIsMissingAndNothingIsLeft) {
  const Der der = Fields().whole();
  for (std::size_t n = 0; n < der.size(); ++n) {
    EXPECT_FALSE(read_plain_leaf(std::span(der).first(n))) << n;
  }
  Der longer = der;
  longer.push_back(0);
  EXPECT_FALSE(read_plain_leaf(longer));
}

// Whatever is changed, neither reads what the other does not.
TEST(PlainLeaf, NoByteMakesThemDiffer) {
  Leaf leaf;
  leaf.organization = "Grid";
  leaf.subject_alt_name = "DNS:a.example,URI:urn:x:1";
  const Identity509 issuer = root();
  const Der good = der_of(make(leaf, &issuer).certificate);
  std::size_t alike = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const int change : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
      Der der = good;
      der[at] = static_cast<std::uint8_t>(der[at] ^ change);
      const auto plain = read_plain_leaf(der);
      const auto whole = Certificate::from_der(der);
      // OpenSSL takes a little of what is no DER, and writes it as it should have been.
      if (!plain || !whole || whole->key_type() != KeyType::EcP256 || der_of(*whole) != der) continue;
      ASSERT_EQ(plain->identity, make_identity(*whole)) << "byte " << at << " by " << change;
      ++alike;
    }
  }
  EXPECT_GT(alike, good.size());
}

TEST(PlainLeaf, ElementsAreDer) {
  const auto taken = [](const Der& bytes) {
    DerReader reader(bytes);
    const auto content = reader.take(0x04);
    return reader.whole() ? std::optional(content.size()) : std::nullopt;
  };
  EXPECT_EQ(taken({4, 0}), 0U);
  EXPECT_EQ(taken({4, 1, 7}), 1U);
  EXPECT_EQ(taken(joined({{4, 0x7f}, Der(127)})), 127U);
  EXPECT_EQ(taken(joined({{4, 0x81, 0x80}, Der(128)})), 128U);
  EXPECT_EQ(taken(joined({{4, 0x82, 1, 0}, Der(256)})), 256U);
  const Der refused[] = {{},
                         {4},
                         {4, 1},
                         {5, 0},
                         {4, 0, 0},                               // bytes behind it
                         {4, 0x80, 0, 0},                         // an indefinite length
                         joined({{4, 0x81, 0x7f}, Der(127)}),     // more bytes than it takes
                         joined({{4, 0x82, 0, 0x80}, Der(128)}),  //
                         joined({{4, 0x83, 0, 1, 0}, Der(256)}),  //
                         {4, 0x81},                               //
                         {4, 0x82, 1},                            //
                         {0x1f, 4, 0}};                           // a tag of several bytes
  for (const Der& each : refused) EXPECT_FALSE(taken(each)) << each.size();
  DerReader reader(refused[4]);
  EXPECT_TRUE(reader.take(0x05).empty());
  EXPECT_TRUE(reader.take(0x04).empty()) << "nothing comes after something was missing";
  EXPECT_FALSE(reader.whole());
}

// Whoever is not known is registered by what OpenSSL reads: should the two differ, nobody is.
TEST(PlainLeaf, AnUnknownDeviceIsReadByOpensslToo) {
  GateWorld world;
  const Identity509 issuer = root();
  world.trust(issuer.certificate);
  const Der der = der_of(make_device("device", issuer).certificate);
  auto plain = read_plain_leaf(der);
  ASSERT_TRUE(plain);
  EXPECT_EQ(world.ask_plainly(*plain).reason, Reason::None);

  const Der rubbish = {1, 2}, above = der_of(issuer.certificate);
  EXPECT_EQ(world.ask_plainly(*plain, {above}).reason, Reason::None);
  EXPECT_EQ(world.ask_plainly(*plain, {above, rubbish}).reason, Reason::BadChain);
  EXPECT_EQ(world.ask_plainly(*plain, std::vector<Bytes>(8, above)).reason, Reason::None);
  EXPECT_EQ(world.ask_plainly(*plain, std::vector<Bytes>(9, above)).reason, Reason::BadChain);

  auto other = *plain;
  other.point[64] ^= 1;
  EXPECT_EQ(world.ask_plainly(other).reason, Reason::BadChain) << "the key to be proven is not the certificate's";
  other = *plain;
  other.identity.cns = {"somebody else"};
  EXPECT_EQ(world.ask_plainly(other).reason, Reason::BadChain);
  other = *plain;
  const Der broken = [&] {
    Fields fields;
    fields[Fields::Key][30] ^= 1;  // no point of the curve
    return fields.whole();
  }();
  const auto off_curve = read_plain_leaf(broken);
  ASSERT_TRUE(off_curve);
  EXPECT_EQ(world.ask_plainly(*off_curve).reason, Reason::BadChain);
}

TEST(PlainLeaf, OfAKnownDeviceNothingElseIsRead) {
  GateWorld world;
  const Identity509 issuer = root(), device = make_device("device", issuer);
  world.trust(issuer.certificate);
  world.enroll(device.certificate, issuer.certificate);
  const Der der = der_of(device.certificate), rubbish = {1, 2};
  const auto plain = read_plain_leaf(der);
  ASSERT_TRUE(plain);
  const Verdict verdict = world.ask_plainly(*plain, {rubbish});
  EXPECT_EQ(verdict.reason, Reason::None);
  EXPECT_TRUE(verdict.known);
}

}  // namespace
}  // namespace sallyport::test
