#include "proxy/tls/ticket_keys.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>

#include "cache/base/check.h"

namespace sallyport {

namespace {

constexpr std::size_t kNameWords = 2, kMadeAt = 10;  // where in a slot

// A slot's words outside of it.
template <class Array>
struct Wiping : Array {
  Wiping() : Array{} {}
  Wiping(const Wiping&) = delete;
  Wiping& operator=(const Wiping&) = delete;
  ~Wiping() { OPENSSL_cleanse(this->data(), sizeof(Array)); }
};

}  // namespace

TicketKey::~TicketKey() {
  OPENSSL_cleanse(cipher.data(), cipher.size());
  OPENSSL_cleanse(mac.data(), mac.size());
}

TicketKeys::TicketKeys(std::int64_t now) {
  add(now);
}

TicketKeys::~TicketKeys() {
  wipe_all();
}

void TicketKeys::serve_tickets_of(std::int64_t seconds) {
  life_.store(std::clamp<std::int64_t>(seconds, 0, kLongestAge) + kRotation, std::memory_order_relaxed);
}

bool TicketKeys::is_alive(std::int64_t made_at, std::int64_t now) const {
  // A clock that was set back: what it sealed in the future would be good for longer than it may.
  return now - made_at < life() && made_at - now <= kAhead;
}

void TicketKeys::rotate(std::int64_t now, std::int64_t steady) {
  const std::lock_guard lock(changing_);
  // Against the furthest it ever was ahead, so that it is not set back by little and little either.
  const bool set_back = most_ahead_ != INT64_MIN && now - steady < most_ahead_ - kAhead;
  most_ahead_ = set_back ? now - steady : std::max(most_ahead_, now - steady);
  if (set_back) wipe_all();
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    const auto key = read(slot);
    if (key && !is_alive(key->made_at, now)) wipe(slot);
  }
  const auto key = read(newest_.load(std::memory_order_relaxed));
  const std::int64_t most = shared_ ? kRotation + kOverdue : kRotation;
  if (!key || now - key->made_at >= most || (!shared_ && now < key->made_at)) add(now);
}

void TicketKeys::drop(std::int64_t now) {
  const std::lock_guard lock(changing_);
  wipe_all();
  add(now);
}

void TicketKeys::adopt(std::span<const TicketKey> keys, std::int64_t now) {
  const std::lock_guard lock(changing_);
  wipe_all();
  const std::size_t taken = std::min(keys.size(), kSlots - 1);
  for (std::size_t i = taken; i-- > 0;) {
    if (is_alive(keys[i].made_at, now)) add(keys[i]);
  }
  add(now);
}

bool TicketKeys::share(std::span<const TicketKey> keys, std::int64_t now) {
  const std::lock_guard lock(changing_);
  shared_ = true;
  const auto listed = [&](const TicketKey& key) {
    return std::any_of(keys.begin(), keys.end(), [&](const TicketKey& each) { return each.name == key.name; });
  };
  bool gone = false;
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    const auto key = read(slot);
    gone = gone || (key && is_alive(key->made_at, now) && !listed(*key));
  }
  if (gone) wipe_all();
  std::vector<std::array<std::uint8_t, 16>> here;
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    if (const auto key = read(slot)) here.push_back(key->name);
  }
  const std::size_t taken = std::min(keys.size(), kSlots - 1);
  for (std::size_t i = taken; i-- > 0;) {
    if (std::find(here.begin(), here.end(), keys[i].name) != here.end()) continue;
    if (is_alive(keys[i].made_at, now)) add(keys[i]);
  }
  if (!read(newest_.load(std::memory_order_relaxed))) add(now);
  return gone;
}

void TicketKeys::part() {
  const std::lock_guard lock(changing_);
  shared_ = false;
}

void TicketKeys::add(std::int64_t now) {
  Wiping<Words> words;
  CHECK(RAND_priv_bytes(reinterpret_cast<unsigned char*>(words.data()), sizeof words) == 1);
  words[kMadeAt] = static_cast<std::uint64_t>(now);
  put(words);
}

void TicketKeys::add(const TicketKey& key) {
  Wiping<Words> words;
  std::memcpy(&words[0], key.name.data(), 16);
  std::memcpy(&words[2], key.cipher.data(), 32);
  std::memcpy(&words[6], key.mac.data(), 32);
  words[kMadeAt] = static_cast<std::uint64_t>(key.made_at);
  put(words);
}

void TicketKeys::put(const Words& words) {
  const std::size_t next = (newest_.load(std::memory_order_relaxed) + 1) % kSlots;
  write(next, words);
  newest_.store(next, std::memory_order_release);
}

void TicketKeys::write(std::size_t slot, const Words& words) {
  Slot& into = slots_[slot];
  into.version.fetch_add(1, std::memory_order_acq_rel);
  // Release: a reader that sees one of the new words sees the odd version, too.
  for (std::size_t i = 0; i < kWords; ++i) into.words[i].store(words[i], std::memory_order_release);
  into.version.fetch_add(1, std::memory_order_release);
}

void TicketKeys::wipe(std::size_t slot) {
  write(slot, Words{});
}

void TicketKeys::wipe_all() {
  endings_.fetch_add(1, std::memory_order_acq_rel);  // first: who still opens one has the count of before
  for (std::size_t slot = 0; slot < kSlots; ++slot) wipe(slot);
}

bool TicketKeys::wiped(std::size_t slot) const {
  const auto& words = slots_[slot].words;
  return std::all_of(words.begin(), words.end(), [](const auto& word) { return word.load() == 0; });
}

std::optional<TicketKey> TicketKeys::read(std::size_t slot) const {
  const Slot& from = slots_[slot];
  const std::uint64_t before = from.version.load(std::memory_order_acquire);
  if (before % 2 != 0) return std::nullopt;
  Wiping<Words> words;
  for (std::size_t i = 0; i < kWords; ++i) words[i] = from.words[i].load(std::memory_order_acquire);
  if (from.version.load(std::memory_order_acquire) != before || words[kMadeAt] == 0) return std::nullopt;
  TicketKey key;
  std::memcpy(key.name.data(), &words[0], 16);
  std::memcpy(key.cipher.data(), &words[2], 32);
  std::memcpy(key.mac.data(), &words[6], 32);
  key.made_at = static_cast<std::int64_t>(words[kMadeAt]);
  return key;
}

std::optional<TicketKey> TicketKeys::newest(std::int64_t now) const {
  const std::size_t newest = newest_.load(std::memory_order_acquire);
  auto key = read(newest);
  // One that all nodes are to have before it is used. Where there is no other it is used at once.
  if (key && key->made_at > now) {
    if (auto before = read((newest + kSlots - 1) % kSlots); before && before->made_at <= now) key = std::move(before);
  }
  if (key && now - key->made_at >= life()) key.reset();
  return key;
}

// From the newest backwards: most tickets are of the last hours, and behind the oldest key there is none.
std::optional<TicketKey> TicketKeys::find(std::span<const std::uint8_t> name, std::int64_t now) const {
  std::array<std::uint64_t, kNameWords> wanted;
  if (name.size() != sizeof wanted) return std::nullopt;
  std::memcpy(wanted.data(), name.data(), sizeof wanted);
  const std::size_t newest = newest_.load(std::memory_order_acquire);
  for (std::size_t back = 0; back < kSlots; ++back) {
    const std::size_t slot = (newest + kSlots - back) % kSlots;
    const Slot& from = slots_[slot];
    if (from.words[kMadeAt].load(std::memory_order_acquire) == 0) break;
    if (from.words[0].load(std::memory_order_acquire) != wanted[0]) continue;
    auto key = read(slot);
    if (!key || CRYPTO_memcmp(name.data(), key->name.data(), name.size()) != 0) continue;
    if (!is_alive(key->made_at, now)) return std::nullopt;
    return key;
  }
  return std::nullopt;
}

std::vector<TicketKey> TicketKeys::alive(std::int64_t now) const {
  std::vector<TicketKey> keys;
  keys.reserve(kSlots);  // what a vector outgrows is not wiped
  const std::size_t newest = newest_.load(std::memory_order_acquire);
  for (std::size_t back = 0; back < kSlots; ++back) {
    auto key = read((newest + kSlots - back) % kSlots);
    if (key && is_alive(key->made_at, now)) keys.push_back(std::move(*key));
  }
  return keys;
}

}  // namespace sallyport
