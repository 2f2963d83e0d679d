#include "cache/standing/status_cache.h"

#include <sys/random.h>

#include "cache/base/check.h"
#include "cache/crypto/sha2.h"

namespace sallyport {

namespace {

constexpr std::uint32_t kSmallest = 8;
// Linear probing stays short below three quarters; growing by half keeps 43 to 64 bytes a device.
constexpr std::uint32_t full_at(std::uint32_t capacity) {
  return capacity / 4 * 3;
}
constexpr std::uint32_t larger(std::uint32_t capacity) {
  return (capacity + capacity / 2 + 3) / 4 * 4;
}

SipHash secret_hash() {
  std::array<std::uint64_t, 2> key{};
  CHECK(::getrandom(key.data(), sizeof key, 0) == sizeof key);
  return {key[0], key[1]};
}

}  // namespace

IssuerSerial issuer_serial(std::string_view issuer_name, std::string_view serial) {
  // The length in front keeps (name, serial) apart from another split of the same bytes.
  const std::uint64_t length = issuer_name.size();
  Sha256 hash;
  hash.add(std::span(reinterpret_cast<const std::uint8_t*>(&length), sizeof length));
  hash.add(issuer_name);
  hash.add(serial);
  const Sha256::Hash digest = hash.of_all();
  IssuerSerial out{};
  std::memcpy(out.data(), digest.data(), out.size());
  return out;
}

IssuerSerial nameless_serial(const std::array<std::uint8_t, 32>& issuing_key, std::string_view serial) {
  // No name begins so: a canonical one is empty, or begins with a set (0x31).
  std::string name("sallyport nameless ");
  name.append(issuing_key.begin(), issuing_key.end());
  return issuer_serial(name, serial);
}

StatusCache::StatusCache() : name_hash_(secret_hash()), fingerprint_hash_(secret_hash()) {
  owned_.reserve(kSegments);
  for (auto& place : segments_) {
    owned_.push_back(std::make_unique<Segment>(kSmallest));
    place.store(owned_.back().get(), std::memory_order_release);
  }
}

StatusCache::~StatusCache() = default;

DeviceKey StatusCache::key(const IssuerSerial& name, const Digest& fingerprint) const {
  const std::uint64_t hash = name_hash_.hash64(name);
  const SipHash::Pair pair = fingerprint_hash_.hash128(fingerprint);
  return {hash == 0 ? 1 : hash, pair.low, pair.high};
}

std::optional<SlotState> StatusCache::find(const DeviceKey& key) const {
  std::optional<SlotState> found;
  each_of_name(key.name, [&](const DeviceKey& slot, SlotState state) {
    if (slot.same_fingerprint(key)) found = state;
  });
  return found;
}

void StatusCache::reserve(std::size_t devices) {
  const auto per_segment = static_cast<std::uint32_t>(devices / kSegments + devices / kSegments / 16 + 1);
  for (auto& place : segments_) {
    std::uint32_t capacity = place.load()->capacity;
    while (full_at(capacity) < per_segment) capacity = larger(capacity);
    if (capacity != place.load()->capacity) grow(place, capacity);
  }
  reclaim();
}

void StatusCache::insert(Segment& segment, const DeviceKey& key, std::uint64_t state) {
  for (std::uint32_t step = 0;; ++step) {
    CHECK(step < segment.capacity);
    Slot& slot = segment.at(key.name, step);
    if (slot.name.load(std::memory_order_relaxed) != 0) continue;
    slot.fingerprint_low.store(key.fingerprint_low, std::memory_order_relaxed);
    slot.fingerprint_high.store(key.fingerprint_high, std::memory_order_relaxed);
    slot.state.store(state, std::memory_order_relaxed);
    slot.name.store(key.name, std::memory_order_release);  // from here on readers see it, whole
    ++segment.used;
    return;
  }
}

void StatusCache::grow(std::atomic<Segment*>& place, std::uint32_t capacity) {
  Segment* old = place.load(std::memory_order_relaxed);
  auto next = std::make_unique<Segment>(capacity);
  for (std::uint32_t i = 0; i < old->capacity; ++i) {
    const Slot& slot = old->table[i];
    const std::uint64_t state = slot.state.load(std::memory_order_relaxed);
    if (slot.name.load(std::memory_order_relaxed) == 0 || unpack(state).status == 0) continue;
    insert(*next,
           {slot.name.load(std::memory_order_relaxed), slot.fingerprint_low.load(std::memory_order_relaxed),
            slot.fingerprint_high.load(std::memory_order_relaxed)},
           state);
  }
  place.store(next.get(), std::memory_order_release);
  std::unique_ptr<Segment>& owner = owned_[static_cast<std::size_t>(&place - segments_.data())];
  retired_bytes_ += sizeof(Segment) + std::size_t{old->capacity} * sizeof(Slot);
  retired_.push_back(std::move(owner));
  owner = std::move(next);
}

StatusCache::Slot* StatusCache::locate(const DeviceKey& key) const {
  const Segment* segment = segment_of(key.name);
  for (std::uint32_t step = 0; step < segment->capacity; ++step) {
    Slot& slot = segment->at(key.name, step);
    const std::uint64_t name = slot.name.load(std::memory_order_relaxed);
    if (name == 0) return nullptr;
    if (name == key.name && slot.fingerprint_low.load(std::memory_order_relaxed) == key.fingerprint_low &&
        slot.fingerprint_high.load(std::memory_order_relaxed) == key.fingerprint_high) {
      return &slot;
    }
  }
  return nullptr;
}

std::uint32_t StatusCache::epoch_with(const DeviceKey& key, const SlotState& state) const {
  const Slot* slot = locate(key);
  const SlotState was = slot == nullptr ? SlotState{} : unpack(slot->state.load(std::memory_order_relaxed));
  if (was.status == 0) return epoch_of_new_;
  // In another chain it may have been registered anew, since that of a CA that was deleted is forgotten; or it may have
  // lost its standing with the chain that it leaves.
  const std::uint32_t left = std::min(std::max(epoch_of_new_, state.epoch), next_epoch());
  const std::uint32_t before = was.chain == state.chain ? was.epoch : std::max(was.epoch, left);
  const bool loses = state.status != was.status && state.status != static_cast<std::uint8_t>(DeviceStatus::Active);
  return loses ? next_epoch() : before;
}

void StatusCache::put(const DeviceKey& key, SlotState state) {
  state.epoch = epoch_with(key, state);
  note_loss(state.epoch);
  store(key, state);
}

void StatusCache::restore(const DeviceKey& key, SlotState state) {
  if (!shared_ && state.epoch > epoch_.load(std::memory_order_relaxed)) state.epoch = 0;
  store(key, state);
}

void StatusCache::begin(std::uint32_t epoch) {
  epoch_of_new_ = std::min(epoch, kLastEpoch);
  epoch_.store(epoch_of_new_, std::memory_order_release);
}

// Never back: what this node said before was of an epoch that it has seen.
void StatusCache::share_epochs(std::uint32_t epoch) {
  shared_ = true;
  committed_ = std::max(epoch, epoch_.load(std::memory_order_relaxed));
  raise_epoch();
}

void StatusCache::committed(std::uint32_t epoch) {
  committed_ = std::max(committed_, epoch);
}

void StatusCache::lost_in(const DeviceKey& key, std::uint32_t epoch) {
  Slot* slot = locate(key);
  if (slot == nullptr) return;
  SlotState state = unpack(slot->state.load(std::memory_order_relaxed));
  if (state.status == 0 || state.epoch >= epoch) return;
  state.epoch = std::min(epoch, kLastEpoch);
  slot->state.store(pack(state), std::memory_order_release);
}

// Release: who reads the new epoch sees everything that was lost in it.
void StatusCache::raise_epoch() {
  if (shared_) {
    if (!closed()) epoch_.store(std::min(committed_, kLastEpoch), std::memory_order_release);
    return;
  }
  if (!lost_) return;
  lost_ = false;
  epoch_.store(next_epoch(), std::memory_order_release);
}

void StatusCache::store(const DeviceKey& key, SlotState state) {
  CHECK(key.name != 0 && state.status != 0);
  if (Slot* slot = locate(key)) {
    if (unpack(slot->state.load(std::memory_order_relaxed)).status == 0) ++size_;
    slot->state.store(pack(state), std::memory_order_release);
    return;
  }
  std::atomic<Segment*>& place = segment_of(key.name);
  Segment* segment = place.load(std::memory_order_relaxed);
  if (segment->used >= full_at(segment->capacity)) {
    grow(place, larger(segment->capacity));
    segment = place.load(std::memory_order_relaxed);
  }
  insert(*segment, key, pack(state));
  ++size_;
}

void StatusCache::remove(const DeviceKey& key) {
  Slot* slot = locate(key);
  if (slot == nullptr) return;
  if (unpack(slot->state.load(std::memory_order_relaxed)).status != 0) --size_;
  lose_for_all_to_come();
  slot->state.store(0, std::memory_order_release);
}

std::size_t StatusCache::bytes() const {
  std::size_t total = sizeof(*this);
  for (const auto& segment : owned_) total += sizeof(Segment) + std::size_t{segment->capacity} * sizeof(Slot);
  return total;
}

void StatusCache::reclaim() {
  // Read by a write: a visitor who comes in after it sees every segment that was published before it.
  if (visitors_.fetch_add(0, std::memory_order_acq_rel) != 0) return;
  retired_.clear();
  retired_bytes_ = 0;
}

}  // namespace sallyport
