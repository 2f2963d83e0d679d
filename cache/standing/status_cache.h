// The status of every registered device, in memory: what lets a handshake be decided in nanoseconds.
//
// Tickets and epochs: the epoch is a number that every loss of standing raises, of a device (deactivated, revoked,
// forgotten) or of a chain (ChainTable). A ticket says in which epoch its verdict was given, a slot in which epoch its
// device lost its standing last: a ticket of an older epoch is worth nothing, whatever the device's standing is now.
// What is lost is seen before the epoch that it is lost in: so no verdict that was given before a loss says the epoch
// behind it. Nodes of a shared registry count together: an epoch is raised by a commit for all of them, and a ticket of
// a later one than this node's is of a node that knows of losses which this one has not heard of: it is worth nothing
// here. An epoch has 28 bits; changes that are put in force together share one. The last one is never left, and no
// ticket that says it is honoured: after 268 million changes that take something away in one run of the process (and of
// those before it whose ticket keys were kept) nobody resumes until a start with new keys.
//
// Invariant: a slot's identity (key and fingerprint) is written before its key becomes visible and never
// changes afterwards; only its state word does, atomically. So a reader sees a whole slot or none.
// One writer (the registrar), any readers, no locks: 1024 segments of open addressing that each grow
// alone. A segment that grew is published by one release store; the old memory is kept until the writer
// knows that every reader has passed a quiescent point (reclaim()): a shard when it answers a notice, any
// other thread when it is no Visitor.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "cache/crypto/siphash.h"
#include "cache/standing/change.h"
#include "cache/x509/certificate.h"
#include "cache/x509/issuer_serial.h"

namespace sallyport {

struct DeviceKey {
  std::uint64_t name = 0;  // of the issuer name and the serial; never 0
  std::uint64_t fingerprint_low = 0, fingerprint_high = 0;
  bool same_fingerprint(const DeviceKey& other) const {
    return fingerprint_low == other.fingerprint_low && fingerprint_high == other.fingerprint_high;
  }
};

// The resolution at which a device's last connection is kept: days since 1970.
constexpr std::uint16_t unix_day(std::int64_t now) {
  return static_cast<std::uint16_t>(now / 86400);
}

struct SlotState {
  static constexpr unsigned kStatusBits = 3, kDayBits = 11, kEpochBits = 28, kChainBits = 22;

  std::uint32_t chain = 0;
  std::uint8_t status = 0;     // DeviceStatus; 0: removed
  std::uint16_t seen_day = 0;  // days since 1970, 0: never; the low kDayBits of them, five years, are kept
  std::uint32_t epoch = 0;     // in which its standing was lost last; the cache says which
  bool seen_on(std::uint16_t day) const { return ((seen_day ^ day) & ((1U << kDayBits) - 1)) == 0; }
};
static_assert(SlotState::kStatusBits + SlotState::kDayBits + SlotState::kEpochBits + SlotState::kChainBits == 64);

class StatusCache {
 public:
  StatusCache();  // draws its secrets from the kernel
  ~StatusCache();
  StatusCache(const StatusCache&) = delete;
  StatusCache& operator=(const StatusCache&) = delete;

  DeviceKey key(const IssuerSerial& name, const Digest& fingerprint) const;

  static constexpr std::uint32_t kLastEpoch = (1U << SlotState::kEpochBits) - 1;
  // Any thread. To be read before what a verdict is made of.
  std::uint32_t epoch() const { return epoch_.load(std::memory_order_acquire); }

  // Shards and the writer; any other thread as a Visitor.
  std::optional<SlotState> find(const DeviceKey& key) const;
  // Calls `visit(key, state)` for every device with this issuer name and serial, whatever its bytes.
  template <class Visit>
  void each_of_name(std::uint64_t name, Visit visit) const;

  // Held around every read by threads that are neither shards nor the writer: nobody asks them where they are, so
  // while one is inside nothing is freed.
  class Visitor {
   public:
    explicit Visitor(const StatusCache* cache) : cache_(cache) {  // null: nobody visits
      if (cache_ != nullptr) cache_->visitors_.fetch_add(1, std::memory_order_acq_rel);
    }
    ~Visitor() {
      if (cache_ != nullptr) cache_->visitors_.fetch_sub(1, std::memory_order_release);
    }
    Visitor(const Visitor&) = delete;
    Visitor& operator=(const Visitor&) = delete;

   private:
    const StatusCache* cache_;
  };

  // The writer.
  void reserve(std::size_t devices);  // before readers exist
  // The epoch in `state` counts where a device moves to another chain: that of the one it leaves. Where it loses its
  // standing its epoch is next_epoch().
  void put(const DeviceKey& key, SlotState state);
  // What a put() would make it: to be stored beside what `state` says.
  std::uint32_t epoch_with(const DeviceKey& key, const SlotState& state) const;
  // What is lost from now on is lost in this epoch.
  std::uint32_t next_epoch() const {
    return std::min((shared_ ? committed_ : epoch_.load(std::memory_order_relaxed)) + (closed() ? 1 : 0), kLastEpoch);
  }
  // A loss that is no device's own: a chain's.
  std::uint32_t lose() {
    note_loss(next_epoch());
    lost_chain_ = lost_chain_ || lost_;
    return next_epoch();
  }
  // The same where devices that register later may be those that it took the standing from.
  std::uint32_t lose_for_all_to_come() {
    note_loss(next_epoch());
    lost_for_all_ = lost_for_all_ || lost_;
    return epoch_of_new_ = next_epoch();
  }
  // Behind a change's put()s and remove()s, in whatever order: verdicts from now on are of the next epoch, if anything
  // was lost. Until then tickets of who gained its standing again are declined.
  void raise_epoch();
  // At the start, before readers exist: the epoch of the last process, whose tickets may come back; and a device as it
  // was stored. One that says a later epoch was stored by a process none of whose tickets is honoured.
  void begin(std::uint32_t epoch);
  // From here on epochs are those of a shared registry, which is at `epoch`: they rise by commits alone. At the start,
  // or later.
  void share_epochs(std::uint32_t epoch);
  // A commit, here or elsewhere, has raised it: what is lost until raise_epoch() is lost in this one. What is lost
  // behind it, by this node alone, is lost in one that nobody has raised yet: losses() says so until it is written.
  void committed(std::uint32_t epoch);
  std::uint32_t committed() const { return committed_; }
  struct Losses {
    bool any = false, of_chains = false, for_all_to_come = false;
  };
  Losses losses() const { return {lost_, lost_chain_, lost_for_all_}; }
  void losses_written() { lost_ = lost_chain_ = lost_for_all_ = false; }
  // A device lost its standing in this epoch, whatever it is now: that is said in its row. Nothing for one that has no
  // slot.
  void lost_in(const DeviceKey& key, std::uint32_t epoch);
  void forgotten_in(std::uint32_t epoch) { epoch_of_new_ = std::max(epoch_of_new_, epoch); }
  void restore(const DeviceKey& key, SlotState state);
  // Has the core fetch what put() looks at: a miss that another put() can hide.
  void prefetch(const DeviceKey& key) const { __builtin_prefetch(&segment_of(key.name)->at(key.name, 0), 1); }
  void remove(const DeviceKey& key);
  std::size_t size() const { return size_; }
  std::size_t bytes() const;  // held by segments in use
  std::size_t retired_bytes() const { return retired_bytes_; }
  // Frees what growing left behind; while a Visitor is inside, the next call does. Only when no shard that started
  // to read before the last put() is still inside.
  void reclaim();

 private:
  struct Slot {
    std::atomic<std::uint64_t> name{0};
    std::atomic<std::uint64_t> fingerprint_low{0}, fingerprint_high{0};
    std::atomic<std::uint64_t> state{0};
  };
  static_assert(sizeof(Slot) == 32);

  struct Segment {
    explicit Segment(std::uint32_t slots) : capacity(slots), table(new Slot[slots]) {}
    std::uint32_t capacity;
    std::uint32_t used = 0;  // the writer's
    std::unique_ptr<Slot[]> table;
    Slot& at(std::uint64_t name, std::uint32_t step) const {
      const std::uint64_t home = (name & 0xFFFFFFFF) * capacity >> 32;
      const std::uint64_t index = home + step;
      return table[index < capacity ? index : index - capacity];
    }
  };
  static constexpr std::size_t kSegments = 1024;

  template <unsigned kBits>
  static std::uint32_t take(std::uint64_t& word) {
    const std::uint64_t taken = word & ((std::uint64_t{1} << kBits) - 1);
    word >>= kBits;
    return static_cast<std::uint32_t>(taken);
  }
  static std::uint64_t pack(SlotState state) {
    std::uint64_t word = state.chain;
    word = word << SlotState::kEpochBits | state.epoch;
    word = word << SlotState::kDayBits | (state.seen_day & ((1U << SlotState::kDayBits) - 1));
    return word << SlotState::kStatusBits | state.status;
  }
  static SlotState unpack(std::uint64_t word) {
    SlotState state;
    state.status = static_cast<std::uint8_t>(take<SlotState::kStatusBits>(word));
    state.seen_day = static_cast<std::uint16_t>(take<SlotState::kDayBits>(word));
    state.epoch = take<SlotState::kEpochBits>(word);
    state.chain = take<SlotState::kChainBits>(word);
    return state;
  }
  void store(const DeviceKey& key, SlotState state);
  // Of shared epochs: verdicts are of all that was committed, and what is lost now is lost behind it.
  bool closed() const { return !shared_ || committed_ <= epoch_.load(std::memory_order_relaxed); }
  void note_loss(std::uint32_t epoch) {
    lost_ = lost_ || epoch > (shared_ ? committed_ : epoch_.load(std::memory_order_relaxed));
  }
  std::atomic<Segment*>& segment_of(std::uint64_t name) { return segments_[name >> 54]; }
  const Segment* segment_of(std::uint64_t name) const { return segments_[name >> 54].load(std::memory_order_acquire); }
  Slot* locate(const DeviceKey& key) const;
  void grow(std::atomic<Segment*>& place, std::uint32_t capacity);
  static void insert(Segment& segment, const DeviceKey& key, std::uint64_t state);

  SipHash name_hash_, fingerprint_hash_;
  std::array<std::atomic<Segment*>, kSegments> segments_{};
  std::vector<std::unique_ptr<Segment>> owned_;  // in use, by segment
  std::vector<std::unique_ptr<Segment>> retired_;
  std::atomic<std::uint32_t> epoch_{0};
  std::uint32_t epoch_of_new_ = 0;  // in which a device was forgotten last: whoever registers later may be it
  bool lost_ = false;               // something, in the next epoch
  bool lost_chain_ = false, lost_for_all_ = false;
  bool shared_ = false;          // epochs are those of a shared registry
  std::uint32_t committed_ = 0;  // there
  std::size_t size_ = 0;
  std::size_t retired_bytes_ = 0;
  alignas(64) mutable std::atomic<std::uint32_t> visitors_{0};  // apart from what shards read
};

template <class Visit>
void StatusCache::each_of_name(std::uint64_t name, Visit visit) const {
  const Segment* segment = segment_of(name);
  for (std::uint32_t step = 0; step < segment->capacity; ++step) {
    const Slot& slot = segment->at(name, step);
    const std::uint64_t found = slot.name.load(std::memory_order_acquire);
    if (found == 0) return;
    if (found != name) continue;
    const SlotState state = unpack(slot.state.load(std::memory_order_acquire));
    if (state.status == 0) continue;
    visit(DeviceKey{found, slot.fingerprint_low.load(std::memory_order_relaxed),
                    slot.fingerprint_high.load(std::memory_order_relaxed)},
          state);
  }
}

}  // namespace sallyport
