#include "proxy/tls/ticket_keys.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <cstring>

#include "cache/base/check.h"

namespace sallyport {

namespace {

constexpr std::int64_t kAhead = 60;  // of the clock of a thread that has not looked since

// A slot's words outside of it.
template <std::size_t kWords>
struct Words : std::array<std::uint64_t, kWords> {
  Words() : Words::array{} {}
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;
  ~Words() { OPENSSL_cleanse(this->data(), sizeof *this); }
};

}  // namespace

TicketKey::~TicketKey() {
  OPENSSL_cleanse(cipher.data(), cipher.size());
  OPENSSL_cleanse(mac.data(), mac.size());
}

TicketKeys::TicketKeys(std::int64_t now) {
  write(0, now);
}

TicketKeys::~TicketKeys() {
  for (Slot& slot : slots_) {
    for (auto& word : slot.words) word.store(0, std::memory_order_relaxed);
  }
}

void TicketKeys::rotate(std::int64_t now) {
  const std::size_t at = newest_.load(std::memory_order_relaxed);
  const auto key = read(at);
  if (key && now - key->made_at < kRotation && now >= key->made_at) return;
  const std::size_t next = (at + 1) % kSlots;
  write(next, now);
  newest_.store(next, std::memory_order_release);
}

void TicketKeys::write(std::size_t slot, std::int64_t now) {
  Words<kWords> words;
  CHECK(RAND_priv_bytes(reinterpret_cast<unsigned char*>(words.data()), sizeof words) == 1);
  std::memcpy(&words[kWords - 1], &now, sizeof now);
  Slot& into = slots_[slot];
  into.version.fetch_add(1, std::memory_order_acq_rel);
  // Release: a reader that sees one of the new words sees the odd version, too.
  for (std::size_t i = 0; i < kWords; ++i) into.words[i].store(words[i], std::memory_order_release);
  into.version.fetch_add(1, std::memory_order_release);
}

std::optional<TicketKey> TicketKeys::read(std::size_t slot) const {
  const Slot& from = slots_[slot];
  const std::uint64_t before = from.version.load(std::memory_order_acquire);
  if (before == 0 || before % 2 != 0) return std::nullopt;
  Words<kWords> words;
  for (std::size_t i = 0; i < kWords; ++i) words[i] = from.words[i].load(std::memory_order_acquire);
  if (from.version.load(std::memory_order_acquire) != before) return std::nullopt;
  TicketKey key;
  std::memcpy(key.name.data(), &words[0], 16);
  std::memcpy(key.cipher.data(), &words[2], 32);
  std::memcpy(key.mac.data(), &words[6], 32);
  std::memcpy(&key.made_at, &words[10], 8);
  return key;
}

std::optional<TicketKey> TicketKeys::newest(std::int64_t now) const {
  auto key = read(newest_.load(std::memory_order_acquire));
  if (key && now - key->made_at >= kLife) key.reset();
  return key;
}

std::optional<TicketKey> TicketKeys::find(std::span<const std::uint8_t> name, std::int64_t now) const {
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    auto key = read(slot);
    if (!key || name.size() != key->name.size()) continue;
    if (CRYPTO_memcmp(name.data(), key->name.data(), name.size()) != 0) continue;
    // A clock that was set back: what it sealed in the future would be good for longer than it may.
    if (now - key->made_at >= kLife || key->made_at - now > kAhead) return std::nullopt;
    return key;
  }
  return std::nullopt;
}

}  // namespace sallyport
