#include "proxy/shard/rejections.h"

#include <algorithm>
#include <map>
#include <utility>

#include "cache/base/text.h"

namespace sallyport {

namespace {

// A stranger's words must not fill the memory, whoever noted them: they are cut before they are copied.
Rejection kept(const Rejection& seen) {
  return {.reason = seen.reason,
          .listener = seen.listener,
          .peer = shortened(seen.peer),
          .via = shortened(seen.via),
          .what = seen.what,
          .subject = shortened(seen.subject),
          .issuer = shortened(seen.issuer),
          .serial = shortened(seen.serial),
          .fingerprint = shortened(seen.fingerprint),
          .claimed = seen.claimed,
          .count = seen.count,
          .first = seen.first,
          .last = seen.last};
}

}  // namespace

bool Rejections::Shelf::take(const std::string& key, Rejection& known) {
  const auto found = by_key.find(key);
  if (found == by_key.end()) return false;
  known = std::move(found->second->rejection);
  kept.erase(found->second);
  by_key.erase(found);
  return true;
}

void Rejections::Shelf::put(std::string key, Rejection rejection) {
  if (kept.size() == kMost) {
    by_key.erase(kept.back().key);
    kept.pop_back();
  }
  kept.push_front({std::move(key), std::move(rejection)});
  by_key.emplace(kept.front().key, kept.begin());
}

// The last one is shown, also where it was only claimed and an earlier one was proven: it is said which it is.
void Rejections::add(const Rejection& seen) {
  const std::string key = seen.key();
  Rejection made = kept(seen), known;
  const bool by_address = seen.fingerprint.empty();
  const bool proven_before = !by_address && proven_.take(key, known);
  const bool known_here = proven_before || (by_address ? without_ : claimed_).take(key, known);
  made.count = known.count + 1;
  made.claimed_count = known.claimed_count + (seen.claimed ? 1 : 0);
  made.first = known_here ? known.first : made.last;
  Shelf& shelf = by_address ? without_ : proven_before || !seen.claimed ? proven_ : claimed_;
  shelf.put(key, std::move(made));
}

std::vector<Rejection> Rejections::all(std::size_t most) const {
  std::vector<Rejection> all;
  for (const Shelf* shelf : {&proven_, &claimed_, &without_}) {
    std::size_t left = most;
    for (const Kept& kept : shelf->kept) {
      if (left-- == 0) break;
      all.push_back(kept.rejection);
    }
  }
  return all;
}

std::size_t Rejections::text_bytes() const {
  std::size_t bytes = 0;
  for (const Shelf* shelf : {&proven_, &claimed_, &without_}) {
    for (const auto& [key, rejection] : shelf->kept) {
      for (const std::string* text : {&key, &rejection.listener, &rejection.peer, &rejection.via, &rejection.subject,
                                      &rejection.issuer, &rejection.serial, &rejection.fingerprint}) {
        bytes += text->capacity();
      }
    }
  }
  return bytes;
}

std::vector<Rejection> merged(std::vector<std::vector<Rejection>> parts) {
  std::map<std::string, Rejection> merged;
  for (std::vector<Rejection>& part : parts) {
    for (Rejection& seen : part) {
      const auto [at, fresh] = merged.try_emplace(seen.key(), seen);
      if (fresh) continue;
      Rejection& known = at->second;
      const std::uint64_t count = known.count + seen.count;
      const std::uint64_t claimed_count = known.claimed_count + seen.claimed_count;
      const std::int64_t first = std::min(known.first, seen.first);
      if (seen.last > known.last) known = std::move(seen);
      known.count = count;
      known.claimed_count = claimed_count;
      known.first = first;
    }
  }
  std::vector<Rejection> all;
  for (auto& [key, seen] : merged) all.push_back(std::move(seen));
  std::stable_sort(all.begin(), all.end(), [](const Rejection& a, const Rejection& b) { return a.last > b.last; });
  return all;
}

}  // namespace sallyport
