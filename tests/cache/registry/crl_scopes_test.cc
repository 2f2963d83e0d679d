// Lists of parts of a CA's certificates, lists after its key changed, and what is remembered of the last ones.
#include <openssl/x509v3.h>

#include "tests/cache/registry/life_cycle_world.h"

namespace sallyport::test {
namespace {

class CrlScopes : public LifeCycle {
 protected:
  void SetUp() override {
    LifeCycle::SetUp();
    ASSERT_TRUE(enroll(root_));
  }
  Answer<CrlOutcome> import(const std::string& bytes, const std::vector<Digest>& also_under = {}) {
    const auto parsed = Crl::parse(bytes, std::time(nullptr));
    if (!parsed) return parsed.error();
    return registrar_->import_crl(*parsed, by_, also_under);
  }
  std::string part(const std::string& scope, long number, const Certificate& listed) {
    CrlOptions options;
    options.number = number;
    options.scope = scope;
    return crl(root_, {{&listed}}, options);
  }
  // After its key changed: the same name, another key.
  Identity509 rolled_over() {
    Leaf leaf;
    leaf.cn = root_.certificate.cn();
    leaf.ca = true;
    leaf.key_usage = "";
    return make(leaf, nullptr);
  }
};

TEST_F(CrlScopes, PartitionsAreNoReplays) {
  const Identity509 one = on_line("one", root_), two = on_line("two", root_);
  ASSERT_TRUE(import(part("http://ca.example/1.crl", 9, one.certificate)));
  const auto lower = import(part("http://ca.example/2.crl", 4, two.certificate));
  ASSERT_TRUE(lower) << lower.error().what;
  EXPECT_EQ(refused(one.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(two.certificate), Reason::DeviceRevoked);
  EXPECT_TRUE(import(crl(root_, {}, {.number = 2}))) << "the list of all has numbers of its own";
  for (const auto& [scope, number] : {std::pair("http://ca.example/1.crl", 8L), {"http://ca.example/2.crl", 3L}}) {
    const auto replay = import(part(scope, number, one.certificate));
    ASSERT_FALSE(replay) << scope;
    EXPECT_THAT(replay.error().what, HasSubstr("this scope (" + std::string(scope) + ") was imported already"));
  }
  EXPECT_FALSE(import(crl(root_, {}, {.number = 1})));
  restart();
  EXPECT_FALSE(import(part("http://ca.example/1.crl", 8, one.certificate)));
  EXPECT_TRUE(import(part("http://ca.example/2.crl", 5, one.certificate)));
}

TEST_F(CrlScopes, TheLastOfEachIsListed) {
  const Identity509 one = on_line("one", root_);
  ASSERT_TRUE(import(part("http://ca.example/1.crl", 0x1234, one.certificate)));
  ASSERT_TRUE(import(crl(root_, {{&one.certificate}, {nullptr, -1, 77}}, {.number = 5})));
  for (int round = 0; round < 2; ++round) {
    const std::vector<CrlRecord> listed = registrar_->crls();
    ASSERT_EQ(listed.size(), 2U);
    EXPECT_EQ(listed[0].ca, root_.certificate.fingerprint());
    EXPECT_EQ(listed[0].scope, "");
    EXPECT_EQ(listed[0].number, "\x05");
    EXPECT_EQ(listed[0].entries, 2U);
    EXPECT_EQ(listed[1].scope, "http://ca.example/1.crl");
    EXPECT_EQ(listed[1].number, "\x12\x34");
    EXPECT_EQ(listed[1].entries, 1U);
    EXPECT_GE(listed[1].next_update, listed[1].this_update + 3600);
    EXPECT_NE(listed[1].imported_at, 0);
    EXPECT_NE(listed[0].id, listed[1].id);
    restart();
  }
  ASSERT_TRUE(registrar_->delete_ca(root_.certificate.fingerprint(), true, by_));
  EXPECT_TRUE(registrar_->crls().empty()) << "of a CA that is not registered nothing is due";
}

TEST_F(CrlScopes, WhatIsOverdueIsSaidOnce) {
  ASSERT_TRUE(import(crl(root_, {}, {.number = 5})));
  const std::int64_t due = registrar_->crls().front().next_update;
  EXPECT_TRUE(registrar_->newly_overdue(due).empty());
  const auto overdue = registrar_->newly_overdue(due + 1);
  ASSERT_EQ(overdue.size(), 1U);
  EXPECT_EQ(overdue.front().ca, root_.certificate.fingerprint());
  EXPECT_TRUE(registrar_->newly_overdue(due + 2).empty());
  ASSERT_TRUE(import(crl(root_, {}, {.number = 6, .valid = 7200})));
  EXPECT_TRUE(registrar_->newly_overdue(due + 1).empty());
  EXPECT_EQ(registrar_->newly_overdue(due + 86400).size(), 1U) << "the next one is another";
}

TEST_F(CrlScopes, AListUnderANewKeyAsksAboutTheOldOne) {
  const Identity509 next = rolled_over(), stranger = make_ca("Another");
  ASSERT_TRUE(enroll(next));
  ASSERT_TRUE(enroll(stranger));
  const Identity509 old = on_line("old", root_), fresh = on_line("fresh", next);
  const Identity509 unseen = make_device("unseen", root_);
  const std::string list = crl(next, {{&old.certificate}, {&fresh.certificate}, {&unseen.certificate}});

  const auto asked = import(list);
  ASSERT_TRUE(asked) << asked.error().what;
  EXPECT_EQ(refused(fresh.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(old.certificate), Reason::None) << "whose list it is only the operator knows";
  ASSERT_EQ(asked->elsewhere.size(), 1U);
  EXPECT_EQ(asked->elsewhere[0].ca, root_.certificate.fingerprint());
  EXPECT_EQ(asked->elsewhere[0].devices, 1U);

  EXPECT_THAT(import(list, {stranger.certificate.fingerprint()}).error().what, HasSubstr("has another name"));
  EXPECT_THAT(import(list, {Digest{1}}).error().what, HasSubstr("no CA has the id"));
  EXPECT_EQ(refused(old.certificate), Reason::None);

  const auto answered = import(list, {root_.certificate.fingerprint()});
  ASSERT_TRUE(answered) << answered.error().what;
  EXPECT_TRUE(answered->elsewhere.empty());
  EXPECT_EQ(answered->revoked, 1U);
  EXPECT_EQ(refused(old.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked) << "nobody had shown it";
  EXPECT_EQ(lines_of("crl.import"), 2U);
  EXPECT_THAT(audit().front(), HasSubstr("; also under " + to_hex(root_.certificate.fingerprint())));
  restart();
  EXPECT_EQ(refused(old.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(registrar_->crls().size(), 1U) << "its number is one of the key that signed it";
}

// Nobody has shown the number: whose it is cannot be seen, so it is said.
TEST_F(CrlScopes, NumbersNobodyHasShownAreSaid) {
  ASSERT_TRUE(import(crl(root_, {{nullptr, -1, 99}})));
  const Identity509 next = rolled_over();
  ASSERT_TRUE(enroll(next));
  const auto outcome = import(crl(next, {{nullptr, -1, 77}}));
  ASSERT_TRUE(outcome);
  ASSERT_EQ(outcome->elsewhere.size(), 1U);
  EXPECT_EQ(outcome->elsewhere[0].ca, root_.certificate.fingerprint());
  EXPECT_EQ(outcome->elsewhere[0].devices, 0U);
  EXPECT_TRUE(import(crl(next, {{nullptr, -1, 77}}))->elsewhere.empty()) << "and not again";
}

// A key that no registered CA has: its devices came through a certificate that they sent.
TEST_F(CrlScopes, AnUnregisteredKeyIsSaidToo) {
  const Identity509 sent = make_ca("Line 7", &root_), registered_line = make_ca("Line 7", &root_);
  ASSERT_TRUE(enroll(registered_line));
  const Identity509 device = make_device("meter", sent);
  const Verdict verdict = ask(device.certificate, {sent.certificate});
  ASSERT_TRUE(verdict.admitted() && offer(verdict));
  ASSERT_TRUE(eventually([&] { return registered(device.certificate) && in_cache(device.certificate); }));
  const auto outcome = import(crl(registered_line, {{&device.certificate}}));
  ASSERT_TRUE(outcome);
  ASSERT_EQ(outcome->elsewhere.size(), 1U);
  EXPECT_FALSE(outcome->elsewhere[0].ca);
  EXPECT_EQ(outcome->elsewhere[0].devices, 1U);
}

// Nothing of it has expired.
TEST_F(CrlScopes, ADeviceBelowARevokedIntermediateHasAnInactiveCa) {
  const Identity509 mid = make_ca("Mid", &root_);
  const Identity509 device = make_device("below", mid);
  ASSERT_TRUE(offer(ask(device.certificate, {mid.certificate})));
  ASSERT_TRUE(eventually([&] { return in_cache(device.certificate); }));
  const auto standing = [&] { return registrar_->device(device.certificate.fingerprint())->standing; };
  ASSERT_TRUE(eventually([&] { return standing() == Reason::None; }));
  ASSERT_TRUE(import(crl(root_, {{&mid.certificate}})));
  EXPECT_EQ(standing(), Reason::CaInactive);
}

TEST_F(CrlScopes, ScopesOfEveryKind) {
  const auto parsed = [&](const CrlOptions& options) {
    auto list = Crl::parse(crl(root_, {}, options), std::time(nullptr));
    EXPECT_TRUE(list);
    return std::move(*list);
  };
  EXPECT_EQ(parsed({}).scope(), "");
  EXPECT_EQ(parsed({}).scope_text(), "");
  EXPECT_EQ(parsed({.scope = "http://ca.example/" + std::string(400, 'x')}).scope_text().size(), 256U);
  EXPECT_EQ(parsed({.scope = "http://a", .users = true}).scope_text(), "http://a, devices only");
  EXPECT_EQ(parsed({.cas = true}).scope_text(), "CAs only");
  EXPECT_NE(parsed({.users = true}).scope(), parsed({.cas = true}).scope());
}

// What nobody reads must not count as the list of all.
TEST_F(CrlScopes, AScopeThatCannotBeReadIsRefused) {
  const auto list = Crl::parse(crl(root_, {}, {.broken_scope = true}), std::time(nullptr));
  ASSERT_FALSE(list);
  EXPECT_THAT(list.error().what, HasSubstr("cannot be read"));
}

}  // namespace
}  // namespace sallyport::test
