// Ticket keys over a planned restart: who gets them, once; and that nothing else than what was left there is taken.
#include "admin/operations/kept_ticket_keys.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "admin/operations/shared_ticket_keys.h"
#include "cache/base/file.h"
#include "cache/registry/registry_store.h"
#include "tests/cache/registry/registrar_world.h"

namespace sallyport::test {
namespace {

namespace fs = std::filesystem;

TEST(SharedTicketKeys, AreSealedAndBoundToTheirNames) {
  const TempDir dir;
  const auto key_at = [&](char digit) {
    const std::string path = dir.write(std::string("key-") + digit, std::string(64, digit));
    ::chmod(path.c_str(), 0600);
    return *SealingKey::load(path);
  };
  TicketKey key;
  key.name.fill(1);
  key.cipher.fill(0xC1);
  key.mac.fill(0xAC);
  key.made_at = 4711;
  auto row = seal_ticket_key(key, key_at('a'));
  ASSERT_TRUE(row);
  EXPECT_EQ(row->sealed.find(std::string(4, '\xC1')), std::string::npos);
  const auto opened = unseal_ticket_key(*row, key_at('a'));
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->cipher, key.cipher);
  EXPECT_EQ(opened->mac, key.mac);
  EXPECT_EQ(opened->made_at, 4711);
  EXPECT_FALSE(unseal_ticket_key(*row, key_at('b')));
  row->name[0] = 2;
  EXPECT_FALSE(unseal_ticket_key(*row, key_at('a'))) << "under another name";
}

class KeptTicketKeysTest : public RegistrarTest {
 protected:
  void SetUp() override {
    fs::create_directory(dir_.path() + "/state");
    config_.state_dir = dir_.path() + "/state";
    config_.keep_ticket_keys = true;
    config_.registry.key_file = key_file("key", 'a');
    open();
  }
  std::string key_file(const std::string& name, char digit) {
    const std::string path = dir_.write(name, std::string(64, digit));
    ::chmod(path.c_str(), 0600);
    return path;
  }
  std::string path() const { return ticket_keys_path(config_.state_dir); }
  // A planned end, up to the next start's reading.
  void stop() {
    registrar_->stop();
    keep_ticket_keys(config_, keys_, *registrar_, *store_, now_, log_);
    (void)store_->flush();  // a full disk: its log is read again
    close();
  }
  std::optional<KeptTicketKeys> take(std::int64_t later = 1) {
    auto kept = take_ticket_keys(config_, *store_, now_ + later, log_);
    EXPECT_FALSE(fs::exists(path())) << "read once";
    return kept;
  }
  std::optional<KeptTicketKeys> stop_and_take() {
    stop();
    open();
    return take();
  }
  std::string bytes() const {
    const auto read = read_file(path(), 1 << 20);
    EXPECT_TRUE(read);
    return read ? *read : std::string();
  }
  void write(const std::string& bytes) const {
    const int fd = ::open(path().c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    EXPECT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    ::close(fd);
  }

  Config config_;
  const std::int64_t now_ = std::time(nullptr);
  TicketKeys keys_{now_};
};

TEST_F(KeptTicketKeysTest, TheNextProcessHasThem) {
  ASSERT_TRUE(enroll(root_));
  keys_.adopt(keys_.alive(now_), now_);
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Inactive));
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Active));
  EXPECT_EQ(cache_->epoch(), 0U) << "no chain yet, so nothing was lost";
  const Identity509 device = make_device("device", root_);
  ASSERT_TRUE(offer(ask(device.certificate)));
  ASSERT_TRUE(eventually([&] { return registered(device.certificate); }));
  ASSERT_TRUE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Inactive));
  ASSERT_TRUE(registrar_->set_device_status(device.certificate.fingerprint(), DeviceStatus::Inactive));
  stop();
  struct stat about {};
  ASSERT_EQ(::stat(path().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600U);
  const auto newest = keys_.newest(now_);
  const std::string_view secret(reinterpret_cast<const char*>(newest->cipher.data()), newest->cipher.size());
  EXPECT_EQ(bytes().find(secret), std::string::npos) << "encrypted";
  open();
  const auto kept = take();
  ASSERT_TRUE(kept);
  ASSERT_EQ(kept->keys.size(), 2U);
  EXPECT_EQ(kept->keys.front().name, newest->name);
  EXPECT_EQ(kept->keys.front().cipher, newest->cipher);
  EXPECT_EQ(kept->keys.front().mac, newest->mac);
  EXPECT_EQ(kept->keys.front().made_at, newest->made_at);
  EXPECT_EQ(kept->epochs.epoch, 2U);
  EXPECT_EQ(kept->epochs.of_chains, 1U);
  EXPECT_FALSE(take()) << "a second time";
}

// Whoever copied the file could use it again if the registry stayed the one that it was bound to. So where that cannot
// be written the keys go, and the start goes on.
TEST_F(KeptTicketKeysTest, AFullDiskCostsTheKeysAndNotTheStart) {
  const auto kept = stop_and_take();
  ASSERT_TRUE(kept && !kept->keys.empty());
  TicketKeys keys(now_);
  keys.adopt(kept->keys, now_);
  const auto has_old = [&] {
    const auto alive = keys.alive(now_);
    return std::any_of(alive.begin(), alive.end(),
                       [&](const TicketKey& key) { return key.name == kept->keys.front().name; });
  };
  EXPECT_TRUE(has_old());
  // RocksDB 7.8 with assertions on ends itself where the first write of all to a log fails, and another follows.
  ASSERT_TRUE(registrar_->record({"test", "-"}, "before", "-", "-"));
  env_.disk_full = true;
  note_keys_taken(kept->keys.size(), *registrar_, keys, now_, log_);
  EXPECT_FALSE(has_old()) << "none of them is honoured, nor issued by";
  EXPECT_FALSE(keys.alive(now_).empty()) << "fresh ones are";
  stop();
  env_.disk_full = false;
  open();
}

// … and with room for it the note is what makes a copy worthless.
TEST_F(KeptTicketKeysTest, ACopyOfWhatWasTakenIsWorthNothing) {
  stop();
  const std::string copy = bytes();
  open();
  const auto kept = take();
  ASSERT_TRUE(kept && !kept->keys.empty());
  TicketKeys keys(now_);
  keys.adopt(kept->keys, now_);
  note_keys_taken(kept->keys.size(), *registrar_, keys, now_, log_);
  const auto alive = keys.alive(now_);
  EXPECT_TRUE(std::any_of(alive.begin(), alive.end(), [&](const TicketKey& key) {
    return key.name == kept->keys.front().name;
  })) << "they stay in force";
  registrar_->stop();
  (void)store_->flush();
  close();
  open();
  write(copy);
  EXPECT_FALSE(take());
}

TEST_F(KeptTicketKeysTest, OnlyWhereTheyAreToBeKept) {
  config_.keep_ticket_keys = false;
  stop();
  EXPECT_FALSE(fs::exists(path())) << "off by default";
  config_.keep_ticket_keys = true;
  open();
  stop();
  EXPECT_TRUE(fs::exists(path()));
  config_.keep_ticket_keys = false;
  open();
  EXPECT_FALSE(take()) << "switched off meanwhile; and the file goes";
}

TEST_F(KeptTicketKeysTest, AKilledProcessLeavesNone) {
  ASSERT_TRUE(stop_and_take());
  close();
  open();
  EXPECT_FALSE(take());
}

TEST_F(KeptTicketKeysTest, DroppedKeysAreInNoFile) {
  const auto before = keys_.newest(now_);
  keys_.drop(now_);
  const auto kept = stop_and_take();
  ASSERT_TRUE(kept);
  ASSERT_EQ(kept->keys.size(), 1U);
  EXPECT_NE(kept->keys.front().name, before->name);
}

TEST_F(KeptTicketKeysTest, DamagedOrForeignIsNothing) {
  stop();
  const std::string whole = bytes();
  open();
  for (std::size_t i = 0; i < whole.size(); i += 5) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    write(damaged);
    EXPECT_FALSE(take()) << i;
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, whole.size() / 2, whole.size() - 1}) {
    write(whole.substr(0, size));
    EXPECT_FALSE(take()) << size;
  }
  write(std::string(1 << 20, 'x'));
  EXPECT_FALSE(take()) << "larger than any";
  const std::string right = config_.registry.key_file;
  config_.registry.key_file = key_file("other", 'b');
  write(whole);
  EXPECT_FALSE(take()) << "another key_file";
  config_.registry.key_file = dir_.path() + "/absent";
  write(whole);
  EXPECT_FALSE(take()) << "no key_file";
  config_.registry.key_file = right;
  write(whole);
  ::chmod(path().c_str(), 0644);
  EXPECT_FALSE(take()) << "somebody else may have read it";
  fs::create_symlink(dir_.write("elsewhere", whole), path());
  EXPECT_FALSE(take()) << "no file of ours";
  write(whole);
  EXPECT_FALSE(take(-61)) << "the clock was set back since";
  write(whole);
  EXPECT_TRUE(take(-50));
  const std::string state = config_.state_dir;
  close();
  fs::rename(state, state + ".first");
  open();
  write(whole);
  EXPECT_FALSE(take()) << "another registry";
}

// Also by a version that knows nothing of epochs, and writes rows without them.
TEST_F(KeptTicketKeysTest, ARegistryThatWasWrittenSinceEndsThem) {
  stop();
  open();
  RegistryStore::Batch batch;
  store_->put_device(batch, Digest{1}, DeviceRow{});
  ASSERT_TRUE(store_->commit(batch, Durable::Later));
  EXPECT_FALSE(take());
  ASSERT_TRUE(stop_and_take()) << "by opening it nothing is written";
}

TEST_F(KeptTicketKeysTest, NothingIsKeptOfARegistryThatTheDiskHasNotAllOf) {
  ASSERT_TRUE(enroll(root_));
  env_.disk_full = true;
  EXPECT_FALSE(registrar_->set_ca_status(root_.certificate.fingerprint(), CaStatus::Inactive));
  stop();
  env_.disk_full = false;
  EXPECT_FALSE(fs::exists(path()));
  open();
}

}  // namespace
}  // namespace sallyport::test
