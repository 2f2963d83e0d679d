#include "cache/standing/chains.h"

#include <algorithm>

namespace sallyport {

Reason ChainRecord::standing_between(const CaSet& set, std::int64_t now) const {
  for (const Named& each : intermediate_names) {
    const Reason reason = set.standing_of_sent(each.subject_name, each.spki, now);
    if (reason != Reason::None) return reason;
  }
  return Reason::None;
}

ChainTable::~ChainTable() {
  for (auto& chunk : chunks_) delete chunk.load();
}

const ChainTable::Entry* ChainTable::entry(std::uint64_t id) const {
  if (id >= kMostChains) return nullptr;
  const Chunk* chunk = chunks_[id / kChunk].load(std::memory_order_acquire);
  if (chunk == nullptr) return nullptr;
  const Entry& found = (*chunk)[id % kChunk];
  return found.record.load(std::memory_order_acquire) != nullptr ? &found : nullptr;
}

const ChainRecord* ChainTable::record(std::uint64_t id) const {
  const Entry* found = entry(id);
  return found == nullptr ? nullptr : found->record.load(std::memory_order_acquire);
}

bool ChainTable::alive(std::uint64_t id, std::int64_t now) const {
  const Entry* found = entry(id);
  // Both words are read one after the other: a change between them can only mix two windows of which one
  // is closed, and every session looks once more after it was indexed.
  return found != nullptr && now >= found->not_before.load(std::memory_order_acquire) &&
         now <= found->not_after.load(std::memory_order_acquire);
}

bool ChainTable::forgotten(std::uint64_t id) const {
  const Entry* found = entry(id);
  return found != nullptr && found->forgotten.load(std::memory_order_acquire);
}

std::uint32_t ChainTable::epoch(std::uint64_t id) const {
  const Entry* found = entry(id);
  return found == nullptr ? UINT32_MAX : found->epoch.load(std::memory_order_acquire);
}

bool ChainTable::has_window(std::uint64_t id) const {
  const Entry* found = entry(id);
  return found != nullptr && found->not_after.load(std::memory_order_acquire) != INT64_MIN;
}

void ChainTable::end_epoch_of_all(std::uint32_t epoch) {
  for (const std::uint64_t id : ids_) {
    std::atomic<std::uint32_t>& its = const_cast<Entry*>(entry(id))->epoch;
    its.store(std::max(its.load(std::memory_order_relaxed), epoch), std::memory_order_release);
  }
}

void ChainTable::forget(std::uint64_t id, std::uint32_t epoch) {
  Entry* found = const_cast<Entry*>(entry(id));
  if (found == nullptr) return;
  set(id, std::nullopt, epoch);
  found->forgotten.store(true, std::memory_order_release);
}

bool ChainTable::add(std::uint64_t id, ChainRecord record) {
  if (id >= kMostChains) return false;
  std::atomic<Chunk*>& place = chunks_[id / kChunk];
  Chunk* chunk = place.load(std::memory_order_relaxed);
  if (chunk == nullptr) {
    chunk = std::make_unique<Chunk>().release();
    place.store(chunk, std::memory_order_release);
  }
  Entry& entry = (*chunk)[id % kChunk];
  if (entry.record.load(std::memory_order_relaxed) != nullptr) return false;
  records_.push_back(std::make_unique<const ChainRecord>(std::move(record)));
  entry.record.store(records_.back().get(), std::memory_order_release);
  ids_.push_back(id);
  return true;
}

void ChainTable::replace(std::uint64_t id, ChainRecord record, std::uint32_t epoch) {
  Entry* found = const_cast<Entry*>(entry(id));
  if (found == nullptr) return;
  set(id, std::nullopt, epoch);
  records_.push_back(std::make_unique<const ChainRecord>(std::move(record)));
  found->record.store(records_.back().get(), std::memory_order_release);
  found->forgotten.store(false, std::memory_order_release);
}

void ChainTable::set(std::uint64_t id, std::optional<Window> window, std::uint32_t epoch) {
  Entry* found = const_cast<Entry*>(entry(id));
  if (found == nullptr) return;
  if (!window) found->epoch.store(epoch, std::memory_order_release);
  // Closed first, so that no reader sees a window that never was.
  found->not_after.store(INT64_MIN, std::memory_order_release);
  if (!window || found->forgotten.load(std::memory_order_relaxed)) return;
  found->not_before.store(window->not_before, std::memory_order_release);
  found->not_after.store(window->not_after, std::memory_order_release);
}

}  // namespace sallyport
