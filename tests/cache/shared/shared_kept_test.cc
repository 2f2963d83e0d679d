// PostgreSQL comes back without the last commits: tokens that were revoked stay revoked, codes that were used stay
// used, and no list that is older than the last is taken again. What somebody has said anew over there counts.
#include <openssl/x509.h>

#include "cache/crypto/openssl_ptr.h"
#include "cache/registry/registry_records.h"
#include "cache/x509/crl.h"
#include "tests/cache/shared/shared_world.h"

namespace sallyport::test {
namespace {

class SharedKept : public SharedTest {
 protected:
  void back_up() {
    postgres_.stop();
    ASSERT_EQ(std::system(("cp -a " + postgres_.data() + " " + backup()).c_str()), 0);
    postgres_.start();
    ASSERT_TRUE(eventually([&] { return settled(); }));
  }
  // `meanwhile`: in PostgreSQL, before the first node, which is closed until then, hears of it.
  void restore(const std::string& meanwhile = {}) {
    ASSERT_TRUE(eventually([&] { return settled(); }));
    const auto snapshots = meanwhile.empty() ? node(0)->shared_state()->snapshots : 0;
    if (!meanwhile.empty()) node(0).close();
    postgres_.stop();
    ASSERT_EQ(std::system(("rm -rf " + postgres_.data() + " && cp -a " + backup() + " " + postgres_.data()).c_str()),
              0);
    postgres_.start();
    if (!meanwhile.empty()) {
      auto opened = PgConnection::open(postgres_.url(), "test");
      ASSERT_TRUE(opened) << opened.error().what;
      ASSERT_TRUE((*opened)->run({{meanwhile}}));
      node(0).open();
    }
    ASSERT_TRUE(eventually([&] { return settled() && node(0)->shared_state()->snapshots > snapshots; }));
  }
  std::string backup() const { return postgres_.data() + ".backup"; }
  std::vector<std::string> tokens(std::size_t at) {
    std::vector<std::string> names;
    const auto all = node(at)->tokens();
    for (const auto& [name, row] : *all) names.push_back(name);
    return names;
  }
  static TokenRow token(std::uint8_t digit) {
    TokenRow row;
    row.hash.fill(digit);
    row.created_at = std::time(nullptr);
    return row;
  }
  Answer<CaRecord> register_with(std::size_t at, const Identity509& ca, const std::string& code) {
    Leaf leaf;
    leaf.cn = code;
    leaf.version1 = true;
    return node(at)->register_ca({ca.certificate, make(leaf, &ca).certificate, {}, false});
  }
  static std::string list_of(const Identity509& ca, std::int64_t at, long number) {
    const std::unique_ptr<X509_CRL, OpensslFree<&X509_CRL_free>> made(X509_CRL_new());
    X509_CRL_set_version(made.get(), 1);
    X509_CRL_set_issuer_name(made.get(), X509_get_subject_name(ca.certificate.x509()));
    ASN1_TIME* time = ASN1_TIME_set(nullptr, at);
    X509_CRL_set1_lastUpdate(made.get(), time);
    ASN1_TIME_set(time, at + 86400);
    X509_CRL_set1_nextUpdate(made.get(), time);
    ASN1_TIME_free(time);
    ASN1_INTEGER* its_number = ASN1_INTEGER_new();
    ASN1_INTEGER_set(its_number, number);
    X509_CRL_add1_ext_i2d(made.get(), NID_crl_number, its_number, 0, 0);
    ASN1_INTEGER_free(its_number);
    X509_CRL_sign(made.get(), ca.key.get(), EVP_sha256());
    unsigned char* der = nullptr;
    const int length = i2d_X509_CRL(made.get(), &der);
    std::string bytes(reinterpret_cast<char*>(der), static_cast<std::size_t>(length));
    OPENSSL_free(der);
    return bytes;
  }
  Answer<CrlOutcome> import(std::size_t at, const std::string& bytes) {
    const auto parsed = Crl::parse(bytes, std::time(nullptr));
    if (!parsed) return parsed.error();
    return node(at)->import_crl(*parsed);
  }
};

TEST_F(SharedKept, WhatWasTakenAwayStaysTakenAway) {
  add(2);
  const Identity509 ca = enroll(0, "CA"), second = make_ca("Second"), third = make_ca("Third");
  const auto code = node(0)->issue_code(600), other = node(0)->issue_code(600);
  ASSERT_TRUE(code);
  ASSERT_TRUE(node(0)->put_token("gone", token(1), {}));
  ASSERT_TRUE(node(0)->put_token("stays", token(2), {}));
  const std::int64_t now = std::time(nullptr);
  const std::string first = list_of(ca, now - 100, 1), newer = list_of(ca, now - 50, 2);
  ASSERT_TRUE(import(0, first));
  ASSERT_TRUE(eventually([&] { return settled(); }));
  back_up();
  ASSERT_TRUE(node(1)->remove_token("gone", false, {"op", "-"}));
  ASSERT_TRUE(register_with(1, second, code->code));
  ASSERT_TRUE(import(1, newer));
  restore();
  for (const std::size_t at : {0U, 1U}) {
    ASSERT_TRUE(eventually([&] { return tokens(at) == std::vector<std::string>{"stays"}; })) << at;
    EXPECT_FALSE(register_with(at, third, code->code)) << at;
    const auto older = import(at, first);
    EXPECT_FALSE(older) << at;
    EXPECT_THAT(older.error().what, HasSubstr("imported already"));
  }
  EXPECT_TRUE(register_with(1, third, other->code)) << "which nobody has used";
  ASSERT_TRUE(eventually([&] { return settled(); }));
  compare({});
  node(0).close();
  node(0).open();
  EXPECT_EQ(tokens(0), std::vector<std::string>{"stays"});
}

TEST_F(SharedKept, ATokenThatIsMadeAnewIsNotTheOneThatWasRevoked) {
  add(1);
  ASSERT_TRUE(node(0)->put_token("name", token(1), {}));
  back_up();
  ASSERT_TRUE(node(0)->remove_token("name", false, {}));
  std::this_thread::sleep_for(1100ms);  // a token says the second in which it was made
  // As a node that came with the backup would have written it.
  TokenRow anew = token(3);
  anew.created_at = std::time(nullptr) + 1;
  std::string hex;
  for (const char c : records::encode(anew)) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  restore("update sallyport.entry set value = decode('" + hex + "', 'hex') where family = 6");
  EXPECT_EQ(tokens(0), std::vector<std::string>{"name"});
}

}  // namespace
}  // namespace sallyport::test
