// Private keys at rest: what is sealed opens under its own key and name alone.
#include "cache/registry/sealed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/cache/test_pki.h"

namespace sallyport::test {
namespace {

using ::testing::HasSubstr;

const std::string kHex(64, 'a');

Answer<SealingKey> load(const TempDir& dir, const std::string& content, mode_t mode = 0600) {
  const std::string path = dir.write("key", content);
  ::chmod(path.c_str(), mode);
  return SealingKey::load(path);
}

TEST(SealingKey, TakesThirtyTwoBytesOfHexThatOnlyTheirOwnerMayRead) {
  const TempDir dir;
  EXPECT_TRUE(load(dir, kHex));
  EXPECT_TRUE(load(dir, kHex + "\n"));
  EXPECT_THAT(load(dir, kHex, 0640).error().what, HasSubstr("chmod 0600"));
  for (const std::string& bad :
       {std::string(), std::string(62, 'a'), std::string(66, 'a'), std::string(64, 'x'), kHex + " " + kHex}) {
    EXPECT_FALSE(load(dir, bad)) << bad;
  }
  EXPECT_FALSE(SealingKey::load(dir.path() + "/nothing"));
}

TEST(SealingKey, OpensWhatItSealedUnderTheSameNameAlone) {
  const TempDir dir;
  const auto key = load(dir, kHex);
  const auto other = load(dir, std::string(64, 'b'));
  ASSERT_TRUE(key && other);
  const auto sealed = key->seal("the secret", "name");
  ASSERT_TRUE(sealed);
  EXPECT_EQ(sealed->find("secret"), std::string::npos);
  EXPECT_EQ(*key->unseal(*sealed, "name"), "the secret");
  EXPECT_NE(*sealed, *key->seal("the secret", "name")) << "a nonce is used once";
  EXPECT_FALSE(key->unseal(*sealed, "another"));
  EXPECT_FALSE(other->unseal(*sealed, "name"));
  EXPECT_EQ(*key->unseal(*key->seal("", "n"), "n"), "");
}

TEST(SealingKey, AChangedByteIsNoticed) {
  const TempDir dir;
  const auto key = load(dir, kHex);
  const auto sealed = key->seal("the secret", "name");
  for (std::size_t i = 0; i < sealed->size(); ++i) {
    std::string changed = *sealed;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_FALSE(key->unseal(changed, "name")) << i;
    EXPECT_FALSE(key->unseal(sealed->substr(0, i), "name")) << i;
  }
}

}  // namespace
}  // namespace sallyport::test
