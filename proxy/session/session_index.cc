#include "proxy/session/session_index.h"

#include <algorithm>

namespace sallyport {

namespace {

using Heads = std::unordered_map<Digest, IndexEntry*, DigestHash>;

template <IndexEntry* IndexEntry::*kNext, IndexEntry* IndexEntry::*kPrevious>
void push(Heads& heads, const Digest& key, IndexEntry& entry) {
  IndexEntry*& head = heads[key];
  entry.*kNext = head;
  entry.*kPrevious = nullptr;
  if (head != nullptr) head->*kPrevious = &entry;
  head = &entry;
}

template <IndexEntry* IndexEntry::*kNext, IndexEntry* IndexEntry::*kPrevious>
void pull(Heads& heads, const Digest& key, IndexEntry& entry) {
  if (entry.*kNext != nullptr) entry.*kNext->*kPrevious = entry.*kPrevious;
  if (entry.*kPrevious != nullptr) {
    entry.*kPrevious->*kNext = entry.*kNext;
  } else if (entry.*kNext != nullptr) {
    heads[key] = entry.*kNext;
  } else {
    heads.erase(key);
  }
  entry.*kNext = entry.*kPrevious = nullptr;
}

template <IndexEntry* IndexEntry::*kNext>
std::vector<Session*> collect(const Heads& heads, const Digest& key) {
  std::vector<Session*> all;
  const auto head = heads.find(key);
  for (IndexEntry* at = head == heads.end() ? nullptr : head->second; at != nullptr; at = at->*kNext) {
    all.push_back(at->session);
  }
  return all;
}

}  // namespace

void SessionIndex::add(IndexEntry& entry) {
  push<&IndexEntry::device_next, &IndexEntry::device_previous>(by_device_, entry.device, entry);
  if (!entry.cas.empty()) {
    push<&IndexEntry::owner_next, &IndexEntry::owner_previous>(by_owner_, entry.cas.front(), entry);
  }
  entry.linked = true;
}

void SessionIndex::remove(IndexEntry& entry) {
  if (!entry.linked) return;
  pull<&IndexEntry::device_next, &IndexEntry::device_previous>(by_device_, entry.device, entry);
  if (!entry.cas.empty()) {
    pull<&IndexEntry::owner_next, &IndexEntry::owner_previous>(by_owner_, entry.cas.front(), entry);
  }
  entry.linked = false;
}

std::vector<Session*> SessionIndex::of_device(const Digest& id) const {
  return collect<&IndexEntry::device_next>(by_device_, id);
}

std::vector<Session*> SessionIndex::owned_by(const Digest& ca) const {
  return collect<&IndexEntry::owner_next>(by_owner_, ca);
}

std::vector<const IndexEntry*> SessionIndex::below(const Digest& ca) const {
  std::vector<const IndexEntry*> all;
  for (const auto& [owner, head] : by_owner_) {
    for (const IndexEntry* at = head; at != nullptr; at = at->owner_next) {
      if (std::find(at->cas.begin(), at->cas.end(), ca) != at->cas.end()) all.push_back(at);
    }
  }
  return all;
}

}  // namespace sallyport
