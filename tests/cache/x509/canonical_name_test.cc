// Ours and OpenSSL's: of any name both say the same, byte for byte, and of any two whether they are one.
#include "cache/x509/canonical_name.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cache/crypto/openssl_ptr.h"

namespace sallyport::test {
namespace {

using Der = std::vector<std::uint8_t>;
using NamePtr = std::unique_ptr<X509_NAME, OpensslFree<&X509_NAME_free>>;

constexpr std::uint8_t kUtf8 = 0x0c, kNumeric = 0x12, kPrintable = 0x13, kT61 = 0x14, kIa5 = 0x16, kUniversal = 0x1c,
                       kBmp = 0x1e, kBits = 0x03, kSequence = 0x30, kSet = 0x31;

Der joined(const std::vector<Der>& parts) {
  Der all;
  for (const Der& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}
Der element(std::uint8_t tag, const Der& content) {
  Der out = {tag};
  if (content.size() >= 0x100) {
    out.insert(out.end(), {0x82, static_cast<std::uint8_t>(content.size() >> 8)});
  } else if (content.size() >= 0x80) {
    out.push_back(0x81);
  }
  out.push_back(static_cast<std::uint8_t>(content.size()));
  out.insert(out.end(), content.begin(), content.end());
  return out;
}
Der text(std::uint8_t tag, const std::string& value) {
  return element(tag, Der(value.begin(), value.end()));
}
Der attribute(std::uint8_t arc, const Der& value) {
  return element(kSequence, joined({element(0x06, {0x55, 0x04, arc}), value}));
}
Der name(const std::vector<Der>& sets) {
  return element(kSequence, joined(sets));
}
Der cn(const Der& value) {
  return name({element(kSet, attribute(3, value))});
}

NamePtr by_openssl(const Der& der) {
  const unsigned char* at = der.data();
  NamePtr read(d2i_X509_NAME(nullptr, &at, static_cast<long>(der.size())));
  if (at != der.data() + der.size()) read.reset();
  ERR_clear_error();
  return read;
}

// OpenSSL does not show its form. It shows the first four bytes of its SHA-1: X509_NAME_hash_ex(3).
unsigned long hash_of(const std::string& form) {
  unsigned char sha1[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(form.data()), form.size(), sha1);
  return sha1[0] | static_cast<unsigned long>(sha1[1]) << 8 | static_cast<unsigned long>(sha1[2]) << 16 |
         static_cast<unsigned long>(sha1[3]) << 24;
}

std::string hex(const Der& der) {
  std::string out;
  for (const std::uint8_t byte : der) out += "0123456789abcdef"[byte >> 4], out += "0123456789abcdef"[byte & 15];
  return out;
}

// Both read it, or neither; and in one form.
std::optional<std::string> expect_alike(const Der& der) {
  const NamePtr theirs = by_openssl(der);
  const auto ours = canonical_name(der);
  EXPECT_EQ(ours.has_value(), theirs != nullptr) << hex(der);
  EXPECT_EQ(ERR_peek_error(), 0UL);
  if (!ours || !theirs) return std::nullopt;
  int good = 0;
  EXPECT_EQ(hash_of(*ours), X509_NAME_hash_ex(theirs.get(), nullptr, nullptr, &good)) << hex(der);
  EXPECT_EQ(good, 1);
  EXPECT_EQ(canonical_name_of(theirs.get()), *ours) << hex(der);
  return ours;
}
bool same(const Der& a, const Der& b) {
  const auto one = expect_alike(a), other = expect_alike(b);
  EXPECT_TRUE(one && other);
  const bool same = one == other;
  const NamePtr first = by_openssl(a), second = by_openssl(b);
  EXPECT_EQ(X509_NAME_cmp(first.get(), second.get()) == 0, same) << hex(a) << " " << hex(b);
  return same;
}

std::string utf32(const std::u32string& text) {
  std::string out;
  for (const char32_t c : text) {
    for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(c >> shift & 0xff);
  }
  return out;
}

TEST(CanonicalName, OneNameInManySpellings) {
  const Der fleet = cn(text(kPrintable, "Fleet Root"));
  EXPECT_TRUE(same(fleet, cn(text(kUtf8, "Fleet Root"))));
  EXPECT_TRUE(same(fleet, cn(text(kUtf8, "fleet ROOT"))));
  EXPECT_TRUE(same(fleet, cn(text(kIa5, "  Fleet \t\n Root "))));
  EXPECT_TRUE(same(fleet, cn(text(kT61, "fleet root"))));
  EXPECT_TRUE(same(fleet, cn(text(kBmp, std::string("\0F\0L\0E\0E\0T\0 \0r\0o\0o\0t", 20)))));
  EXPECT_TRUE(same(fleet, cn(text(kUniversal, utf32(U"Fleet Root")))));
  EXPECT_TRUE(same(cn(text(kT61, "Z\xfcrich")), cn(text(kUtf8, "z\xc3\xbcRICH"))));
  EXPECT_TRUE(same(name({}), name({}))) << "a name of nothing";
}

TEST(CanonicalName, OtherNamesStayOthers) {
  const Der fleet = cn(text(kPrintable, "Fleet Root"));
  EXPECT_FALSE(same(fleet, cn(text(kPrintable, "FleetRoot"))));
  EXPECT_FALSE(same(fleet, cn(text(kPrintable, "Fleet Roots"))));
  EXPECT_FALSE(same(fleet, name({element(kSet, attribute(10, text(kPrintable, "Fleet Root")))})));
  EXPECT_FALSE(same(fleet, name({element(kSet, attribute(3, text(kPrintable, "Fleet Root"))),
                                 element(kSet, attribute(3, text(kPrintable, "Fleet Root")))})));
  EXPECT_FALSE(same(cn(text(kUtf8, "Z\xc3\x9cRICH")), cn(text(kUtf8, "z\xc3\xbcrich")))) << "as OpenSSL: only ASCII";
  EXPECT_FALSE(same(cn(text(kUtf8, "a\xc2\xa0")), cn(text(kUtf8, "a")))) << "a no-break space is no white space";
  EXPECT_FALSE(same(cn(text(kNumeric, "12")), cn(text(kPrintable, "12")))) << "as OpenSSL: it is no such string";
  EXPECT_FALSE(same(cn(text(kUtf8, std::string("a\0b", 3))), cn(text(kUtf8, "a"))));
}

TEST(CanonicalName, SetsHaveNoOrder) {
  const Der a = attribute(3, text(kPrintable, "A")), b = attribute(10, text(kUtf8, "b"));
  EXPECT_TRUE(same(name({element(kSet, joined({a, b}))}), name({element(kSet, joined({b, a}))})));
  EXPECT_FALSE(same(name({element(kSet, joined({a, b}))}), name({element(kSet, a), element(kSet, b)})));
}

// Strings that are none are no name, for us as for OpenSSL.
TEST(CanonicalName, WhatIsNoName) {
  for (const Der& value : {text(kUtf8, "\xff\xfe"), text(kUtf8, "\xc3"), text(kBmp, "odd"), text(kUniversal, "abc"),
                           text(kUniversal, utf32(U"\x110000")), text(kBmp, "\xd8\x01")}) {
    EXPECT_FALSE(canonical_name(cn(value))) << hex(value);
    expect_alike(cn(value));
  }
  EXPECT_FALSE(canonical_name({}));
  EXPECT_FALSE(canonical_name(Der{kSequence, 2, 5, 0}));
  Der behind = cn(text(kPrintable, "a"));
  behind.push_back(0);
  EXPECT_FALSE(canonical_name(behind));
}

// Any names: mostly well made, with values that differ in little; and the same with a byte changed.
TEST(CanonicalName, AlikeForAnyName) {
  std::mt19937 random(20261129);
  const auto pick = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
  const std::uint8_t tags[] = {kPrintable, kPrintable, kUtf8,      kUtf8, kIa5, kT61,
                               kBmp,       kNumeric,   kUniversal, kBits, 0x1a, kSequence};
  const std::string alphabet[] = {"a", "A", " ", "  ", "\t", "b", "\xc3\xbc", "\xe2\x82\xac", "\v", "Z", "\xff", "0"};
  std::vector<Der> names;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<Der> sets;
    for (unsigned n = pick(4); n > 0; --n) {
      std::vector<Der> attributes;
      for (unsigned m = 1 + (pick(5) == 0 ? pick(3) : 0); m > 0; --m) {
        std::string value;
        for (unsigned length = pick(8) == 0 ? pick(300) : pick(6); length > 0; --length) {
          value += alphabet[pick(round % 3 == 0 ? 12 : 6)];
        }
        attributes.push_back(attribute(static_cast<std::uint8_t>(pick(3) + 3), text(tags[pick(12)], value)));
      }
      sets.push_back(element(kSet, joined(attributes)));
    }
    Der der = name(sets);
    if (round % 4 == 0) der[pick(static_cast<unsigned>(der.size()))] ^= static_cast<std::uint8_t>(1U << pick(8));
    if (expect_alike(der)) names.push_back(std::move(der));
    if (HasFailure()) return;
  }
  EXPECT_GT(names.size(), 5'000U);
  std::size_t alike = 0;
  for (int round = 0; round < 100'000; ++round) {
    const std::size_t at = pick(static_cast<unsigned>(names.size() - 8));
    alike += same(names[at], names[at + 1 + pick(7)]) ? 1 : 0;
    if (HasFailure()) return;
  }
  EXPECT_GT(alike, 100U);
}

}  // namespace
}  // namespace sallyport::test
