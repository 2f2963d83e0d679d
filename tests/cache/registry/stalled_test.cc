// A disk that hangs: a write is begun and does not return until the test lets it. What takes something away is in force
// within a second or so, everything else has not happened, and nothing waits behind the disk.
#include <future>
#include <sstream>

#include "tests/cache/registry/life_cycle_world.h"

namespace sallyport::test {
namespace {

using testing::HasSubstr;

class Stalled : public LifeCycle {
 protected:
  // Runs it on a thread of its own while others ask for something, too: who waits longest gives up for them.
  template <class T>
  Answer<T> among_others(const std::function<Answer<T>()>& change) {
    auto answer = std::async(std::launch::async, change);
    while (answer.wait_for(20ms) != std::future_status::ready) (void)registrar_->set_options({});
    return answer.get();
  }
  Answer<DeviceRecord> set_among_others(const Certificate& leaf, DeviceStatus status) {
    return among_others<DeviceRecord>([&] { return set(leaf, status); });
  }
  // What a start would find, but for the audit log, the revision, and chains that no device has.
  std::string rows() {
    std::ostringstream all;
    (void)store_->each_device("", "", [&](const Digest& id, const DeviceRow& row) {
      all << "device " << to_hex(id) << ' ' << to_string(row.status) << ' ' << row.chain << '\n';
      const auto text = store_->device_text(id);
      all << " text " << (text && text->has_value() ? (*text)->serial + (*text)->der : "none") << '\n';
      return true;
    });
    for (const CaRecord& ca : registrar_->cas()) {
      (void)store_->each_id_of_ca(ca.id, "", [&](const Digest& id) {
        all << "of " << to_hex(ca.id) << ' ' << to_hex(id) << '\n';
        return true;
      });
    }
    (void)store_->each_ca([&](const Digest& id, const CaRow& row) {
      all << "ca " << to_hex(id) << ' ' << to_string(row.status) << row.auto_register << row.approve << '\n';
      return true;
    });
    (void)store_->each_chain([&](std::uint64_t id, const ChainRow& row) {
      if (row.forgotten) all << "forgotten " << id << '\n';
      return true;
    });
    (void)store_->each_code([&](const CodeRow& row) {
      all << "code " << to_hex(row.hash) << row.used << '\n';
      return true;
    });
    (void)store_->each_server_cert([&](const Digest& id, const ServerCertRow& row) {
      all << "server " << to_hex(id) << row.chain_pem << '\n';
      return true;
    });
    (void)store_->each_override([&](std::string_view name, const OverrideRow& row) {
      all << "override " << name << (row.auth ? int{*row.auth} : -1) << '\n';
      return true;
    });
    (void)store_->each_token([&](std::string_view name, const TokenRow&) {
      all << "token " << name << '\n';
      return true;
    });
    (void)store_->each_purge([&](const Digest& ca) {
      all << "purge " << to_hex(ca) << '\n';
      return true;
    });
    return all.str();
  }
};

TEST_F(Stalled, EveryRestrictionIsInForceAndIsWrittenOnceTheDiskAnswers) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 other = make_ca("Other");
  ASSERT_TRUE(enroll(other));
  const Identity509 revoked = on_line("revoked", root_), held = on_line("held", root_);
  const Identity509 listed = on_line("listed", root_), unseen = make_device("unseen", root_);
  TokenRow token;
  token.hash = Digest{1};
  ASSERT_TRUE(registrar_->put_token("ci", token, by_));
  EXPECT_FALSE(registrar_->stalled());
  env_.hangs = true;
  EXPECT_THAT(set(revoked.certificate, DeviceStatus::Revoked).error().what, HasSubstr("in force, NOT durable yet"));
  EXPECT_TRUE(registrar_->stalled());
  EXPECT_TRUE(registrar_->stats().stalled);
  EXPECT_THAT(set(held.certificate, DeviceStatus::Inactive).error().what, HasSubstr("NOT durable yet"));
  const Digest ca = other.certificate.fingerprint();
  EXPECT_THAT(registrar_->set_ca_status(ca, CaStatus::Inactive, by_).error().what, HasSubstr("NOT durable yet"));
  EXPECT_THAT(registrar_->remove_token("ci", false, by_).error().what, HasSubstr("NOT durable yet"));
  EXPECT_THAT(import(crl(root_, {{&listed.certificate}, {&unseen.certificate}})).error().what,
              HasSubstr("NOT durable yet"));
  OverrideRow mutual;
  mutual.auth = 0;
  EXPECT_THAT(registrar_->put_override("mqtts", mutual, "listener.auth", "", "mutual", by_, true).error().what,
              HasSubstr("NOT durable yet"));
  EXPECT_THAT(registrar_->record(by_, "session.cut", "x", "cut").error().what, HasSubstr("done, but its line"));
  EXPECT_EQ(refused(revoked.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(held.certificate), Reason::DeviceInactive);
  EXPECT_EQ(refused(listed.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(stored(held.certificate), DeviceStatus::Active) << "the disk took nothing";
  env_.thaw();
  ASSERT_TRUE(eventually([&] { return lines_of("session.cut") == 1; }));
  EXPECT_FALSE(registrar_->stalled());
  crash();
  EXPECT_EQ(refused(revoked.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(held.certificate), Reason::DeviceInactive);
  EXPECT_EQ(refused(listed.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(unseen.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(registrar_->ca(ca)->status, CaStatus::Inactive);
  EXPECT_TRUE(registrar_->tokens()->empty());
  EXPECT_EQ(registrar_->overrides()->size(), 1U);
}

// Who asked was told that it has not happened. What the disk wrote of it in the end is taken back.
TEST_F(Stalled, WhatLetsSomebodyInHasNotHappenedAndIsTakenBack) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 other = make_ca("Other"), doomed = make_ca("Doomed"), third = make_ca("Third");
  ASSERT_TRUE(enroll(other));
  ASSERT_TRUE(enroll(doomed));
  on_line("of the doomed", doomed);
  ASSERT_TRUE(registrar_->set_ca_status(other.certificate.fingerprint(), CaStatus::Inactive, by_));
  const Identity509 inactive = on_line("inactive", root_), known = on_line("known", root_);
  ASSERT_TRUE(set(inactive.certificate, DeviceStatus::Inactive));
  const auto code = registrar_->issue_code(600);
  ASSERT_TRUE(code);
  ServerCertRow hosted;
  hosted.chain_pem = "a chain";
  ASSERT_TRUE(registrar_->put_server_cert(Digest{1}, hosted, by_));
  OverrideRow mutual, one_way;
  mutual.auth = 0;
  one_way.auth = 1;
  ASSERT_TRUE(registrar_->put_override("mqtts", mutual, "listener.auth", "", "mutual", by_));
  const Identity509 fresh = make_device("fresh", root_);

  using Change = std::function<Answer<void>()>;
  const auto plain = [](const auto& answer) { return answer ? Answer<void>() : Answer<void>(answer.error()); };
  const std::vector<std::pair<const char*, Change>> changes = {
      {"code", [&] { return plain(registrar_->issue_code(600, by_)); }},
      {"CA registered",
       [&] {
         return plain(
             registrar_->register_ca({third.certificate, verification(third, code->code).certificate, {}, false}, by_));
       }},
      {"CA activated",
       [&] { return plain(registrar_->set_ca_status(other.certificate.fingerprint(), CaStatus::Active, by_)); }},
      {"CA deleted", [&] { return plain(registrar_->delete_ca(doomed.certificate.fingerprint(), true, by_)); }},
      {"device activated", [&] { return plain(set(inactive.certificate, DeviceStatus::Active)); }},
      {"device deleted", [&] { return plain(registrar_->delete_device(known.certificate.fingerprint(), by_)); }},
      {"device registered", [&] { return plain(pre_register({fresh.certificate})); }},
      {"server certificate", [&] { return registrar_->put_server_cert(Digest{2}, hosted, by_); }},
      {"server certificate deleted", [&] { return registrar_->delete_server_cert(Digest{1}, by_); }},
      {"override", [&] { return registrar_->put_override("mqtts", one_way, "listener.auth", "", "one-way", by_); }},
      {"override reset", [&] { return registrar_->put_override("mqtts", {}, "listener.reset", "", "", by_); }},
      {"token", [&] { return registrar_->put_token("ci", {}, by_); }},
  };
  const std::string before = rows();
  std::size_t undone = 0;
  for (const auto& [name, change] : changes) {
    SCOPED_TRACE(name);
    env_.hangs = true;
    const Answer<void> answer = among_others<void>(change);
    ASSERT_FALSE(answer);
    EXPECT_THAT(answer.error().what, HasSubstr("not in force: the disk does not answer"));
    EXPECT_THAT(change().error().what, HasSubstr("the disk does not answer")) << "nobody waits for it again";
    env_.thaw();
    ++undone;
    ASSERT_TRUE(eventually([&] { return lines_of("undo") == undone && !registrar_->stalled(); }));
    EXPECT_EQ(rows(), before);
    EXPECT_EQ(refused(inactive.certificate), Reason::DeviceInactive);
    EXPECT_EQ(refused(known.certificate), Reason::None);
  }
  crash();
  EXPECT_EQ(rows(), before);
  for (const auto& [name, change] : changes) EXPECT_TRUE(change()) << name << ": asked again, it is done";
}

// Order counts: what was asked for last is what a restart finds.
TEST_F(Stalled, WhatIsTakenBackTakesNoRestrictionAlong) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = on_line("device", root_), again = on_line("again", root_);
  ASSERT_TRUE(set(device.certificate, DeviceStatus::Inactive));
  ASSERT_TRUE(set(again.certificate, DeviceStatus::Inactive));
  env_.hangs = true;
  EXPECT_FALSE(set_among_others(device.certificate, DeviceStatus::Active));
  EXPECT_THAT(set(device.certificate, DeviceStatus::Revoked).error().what, HasSubstr("in force, NOT durable yet"));
  EXPECT_FALSE(set(again.certificate, DeviceStatus::Inactive)) << "the disk may say something else by now";
  EXPECT_EQ(refused(device.certificate), Reason::DeviceRevoked);
  env_.thaw();
  ASSERT_TRUE(eventually([&] { return stored(device.certificate) == DeviceStatus::Revoked; }));
  EXPECT_TRUE(set(again.certificate, DeviceStatus::Inactive));
  crash();
  EXPECT_EQ(refused(device.certificate), Reason::DeviceRevoked);
  EXPECT_EQ(refused(again.certificate), Reason::DeviceInactive);
}

// One that connects again and again takes one place in the queue, and keeps nobody else out.
TEST_F(Stalled, ADeviceWaitsInTheQueueOnce) {
  close();
  RegistrarOptions options;
  options.queue = 40;
  open(options);
  ASSERT_TRUE(enroll(root_));
  const Identity509 loud = make_device("loud", root_), quiet = make_device("quiet", root_);
  const Verdict verdict = ask(loud.certificate);
  env_.hangs = true;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 30; ++i) ASSERT_TRUE(offer(verdict));
    // A command gives it a turn, as the next write that is refused at once does.
    ASSERT_TRUE(eventually([&] { return (void)registrar_->set_options(options), registrar_->stats().queued == 1; }));
  }
  ASSERT_TRUE(offer(ask(quiet.certificate)));
  ASSERT_TRUE(eventually([&] { return registrar_->stats().queued == 2; }));
  env_.thaw();
  ASSERT_TRUE(eventually([&] { return registered(loud.certificate) && registered(quiet.certificate); }));
  ASSERT_TRUE(eventually([&] { return registrar_->stats().queued == 0; }));
  EXPECT_EQ(registrar_->stats().registered, 2U);
  restart();
  EXPECT_TRUE(in_cache(loud.certificate) && in_cache(quiet.certificate));
}

// It cannot be written, and who registered meanwhile is refused by a list: the undo must hold.
TEST_F(Stalled, ARegistrationThatWasOvertakenByAListIsTakenBack) {
  ASSERT_TRUE(enroll(root_));
  const Identity509 device = make_device("device", root_);
  const Verdict verdict = ask(device.certificate);
  env_.hangs = true;
  ASSERT_TRUE(offer(verdict));
  ASSERT_TRUE(eventually([&] { return (void)registrar_->set_options({}), registrar_->stalled(); }));
  EXPECT_THAT(import(crl(root_, {{&device.certificate}})).error().what, HasSubstr("in force, NOT durable yet"));
  EXPECT_EQ(refused(device.certificate), Reason::DeviceRevoked);
  env_.thaw();
  ASSERT_TRUE(eventually([&] { return registrar_->stats().queued == 0; }));
  EXPECT_EQ(refused(device.certificate), Reason::DeviceRevoked);
  restart();
  EXPECT_EQ(refused(device.certificate), Reason::DeviceRevoked);
  EXPECT_FALSE(registered(device.certificate));
}

}  // namespace
}  // namespace sallyport::test
