// Templates: how they are written, what they take from a certificate, and which values are refused.
#include "proxy/config/identity_template.h"

#include <gtest/gtest.h>

#include <string>

namespace sallyport {
namespace {

using namespace std::string_literals;
using Field = IdentityTemplate::Field;

Identity device() {
  Identity identity;
  identity.cns = {"meter-7"};
  identity.serial = "\x0A\xBC"s;
  identity.fingerprint.fill(0xAB);
  identity.ca_cn = "Fleet CA";
  identity.ca_id.fill(0xCD);
  identity.san_dns = {"meter-7.example"};
  identity.san_uri = {"urn:dev/meter-7"};
  return identity;
}

std::string value(const std::string& text, const Identity& identity = device(), std::string_view client_id = "said") {
  const auto made = IdentityTemplate::parse(text);
  if (!made) return "not a template: " + made.error().what;
  const auto result = made->value(identity, client_id);
  if (result) return *result;
  EXPECT_EQ(result.error().reason, Reason::BadIdentity);
  EXPECT_EQ(result.error().origin, Origin::Client);
  return "! " + std::string(result.error().what);
}

TEST(IdentityTemplate, EveryField) {
  EXPECT_EQ(value("{cn}"), "meter-7");
  EXPECT_EQ(value("{serial}"), "0ABC");
  EXPECT_EQ(value("{fingerprint}").substr(0, 4), "abab");
  EXPECT_EQ(value("{fingerprint}").size(), 64U);
  EXPECT_EQ(value("{ca_cn}"), "Fleet CA");
  EXPECT_EQ(value("{ca_id}").substr(0, 4), "cdcd");
  EXPECT_EQ(value("{san_dns}"), "meter-7.example");
  EXPECT_EQ(value("{san_uri}"), "urn:dev/meter-7");
  EXPECT_EQ(value("{client_id}"), "said");
  EXPECT_EQ(value("fleet/{ca_cn}/{cn}:{cn}"), "fleet/Fleet CA/meter-7:meter-7");
  EXPECT_TRUE(IdentityTemplate::parse("")->empty());
}

TEST(IdentityTemplate, WhatIsNoTemplate) {
  EXPECT_EQ(value("{CN}"),
            "not a template: there is no field {CN}; there are {cn} {serial} {fingerprint} {ca_cn} {ca_id} {san_dns} "
            "{san_uri} {client_id}");
  EXPECT_EQ(value("{}").substr(0, 38), "not a template: there is no field {}; ");
  for (const std::string text : {"{cn", "a{", "{cn{serial}}", "{{cn}}"}) {
    EXPECT_EQ(value(text), "not a template: a '{' without its '}'") << text;
  }
  EXPECT_EQ(value("cn}"), "not a template: a '}' without its '{'");
  EXPECT_EQ(value("{cn}}"), "not a template: a '}' without its '{'");
  EXPECT_EQ(value("cn"),
            "not a template: it names no field, so every device would get the same: write \"{cn}\" for the CN");
  EXPECT_EQ(value("{cn}/#"), "not a template: its text holds '+' or '#'");
  EXPECT_EQ(value("{cn}\n"), "not a template: its text holds a control character");
  EXPECT_EQ(value("{cn}\xC0"), "not a template: its text is not UTF-8");
  EXPECT_EQ(value(std::string(252, 'x') + "{cn}"), std::string(252, 'x') + "meter-7");
  EXPECT_EQ(value(std::string(253, 'x') + "{cn}"), "not a template: a template has 256 bytes at most");
}

// The rules are the value's own: the same for every field that a CA, or a client, may fill as it likes.
TEST(IdentityTemplate, UnsafeValuesAreBadIdentities) {
  const std::pair<std::string, std::string> unsafe[] = {
      {"", "is empty"},
      {std::string(257, 'x'), "is longer than 256 bytes"},
      {"\xC3"s, "is not UTF-8"},
      {"\xED\xA0\x80"s, "is not UTF-8"},
      {"a\0b"s, "holds a control character"},
      {"a\nb"s, "holds a control character"},
      {"a\x7F"s, "holds a control character"},
      {"\xC2\x80"s, "holds a control character"},
      {"\xC2\x9F"s, "holds a control character"},
      {"a+b", "holds '+' or '#'"},
      {"#", "holds '+' or '#'"},
  };
  for (const auto& [bad, why] : unsafe) {
    Identity identity = device();
    identity.cns = identity.san_dns = identity.san_uri = {bad};
    identity.ca_cn = bad;
    for (const std::string field : {"{cn}", "{san_dns}", "{san_uri}", "{ca_cn}"}) {
      EXPECT_EQ(value("x" + field, identity), "! " + field + " " + why);
    }
    EXPECT_EQ(value("{client_id}", device(), bad), "! {client_id} " + why);
    EXPECT_EQ(value("{serial}", identity), "0ABC") << "what no template needs keeps nobody out";
  }
  EXPECT_EQ(value("{cn}",
                  [] {
                    Identity identity = device();
                    identity.cns = {"\xC2\xA0 Zähler 世界 " + std::string(200, 'x')};
                    return identity;
                  }())
                .substr(0, 2),
            "\xC2\xA0");
}

TEST(IdentityTemplate, ASlashIsForUrisAlone) {
  Identity identity = device();
  identity.cns = identity.san_dns = {"a/b"};
  identity.ca_cn = "a/b";
  EXPECT_EQ(value("{cn}", identity), "! {cn} holds '/'");
  EXPECT_EQ(value("{san_dns}", identity), "! {san_dns} holds '/'");
  EXPECT_EQ(value("{ca_cn}", identity), "! {ca_cn} holds '/'");
  EXPECT_EQ(value("{client_id}", identity, "a/b"), "! {client_id} holds '/'");
  EXPECT_EQ(value("{san_uri}", identity), "urn:dev/meter-7");
}

TEST(IdentityTemplate, ExactlyOneValue) {
  for (const std::string field : {"{cn}", "{san_dns}", "{san_uri}"}) {
    Identity identity = device();
    std::vector<std::string>& all = field == "{cn}"        ? identity.cns
                                    : field == "{san_dns}" ? identity.san_dns
                                                           : identity.san_uri;
    all.push_back("another");
    EXPECT_EQ(value(field, identity), "! " + field + " is there several times");
    all.clear();
    EXPECT_EQ(value(field, identity), "! " + field + " is not in the certificate");
  }
}

TEST(IdentityTemplate, WhatTellsTheCasApart) {
  const auto apart = [](const char* text) { return IdentityTemplate::parse(text)->tells_cas_apart(); };
  EXPECT_TRUE(apart("{ca_id}-{cn}"));
  EXPECT_TRUE(apart("{fingerprint}"));
  for (const char* text : {"{cn}", "{serial}", "{ca_cn}/{cn}", "{san_uri}", "{san_dns}"}) EXPECT_FALSE(apart(text));
  EXPECT_TRUE(IdentityTemplate::parse("{cn}")->uses(Field::Cn));
  EXPECT_FALSE(IdentityTemplate::parse("{cn}")->uses(Field::ClientId));
}

}  // namespace
}  // namespace sallyport
