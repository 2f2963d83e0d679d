#include "proxy/shard/rejections.h"

#include "cache/base/text.h"

namespace sallyport {

namespace {

// A stranger's words must not fill the memory, whoever noted them: they are cut before they are copied.
Rejection kept(const Rejection& seen) {
  return {.reason = seen.reason,
          .listener = seen.listener,
          .peer = shortened(seen.peer),
          .subject = shortened(seen.subject),
          .serial = shortened(seen.serial),
          .fingerprint = shortened(seen.fingerprint),
          .claimed = seen.claimed,
          .count = seen.count,
          .first = seen.first,
          .last = seen.last};
}

}  // namespace

void Rejections::add(const Rejection& seen) {
  const std::string key = seen.key();
  Shelf& shelf = seen.fingerprint.empty() ? without_ : seen.claimed ? claimed_ : proven_;
  const auto found = shelf.by_key.find(key);
  if (found != shelf.by_key.end()) {
    Rejection& known = found->second->rejection;
    const std::uint64_t count = known.count + 1;
    const std::int64_t first = known.first;
    known = kept(seen);
    known.count = count;
    known.first = first;
    shelf.kept.splice(shelf.kept.begin(), shelf.kept, found->second);
    return;
  }
  if (shelf.kept.size() == kMost) {
    shelf.by_key.erase(shelf.kept.back().key);
    shelf.kept.pop_back();
  }
  shelf.kept.push_front({key, kept(seen)});
  Rejection& made = shelf.kept.front().rejection;
  made.count = 1;
  made.first = made.last;
  shelf.by_key.emplace(key, shelf.kept.begin());
}

std::vector<Rejection> Rejections::all() const {
  std::vector<Rejection> all;
  for (const Shelf* shelf : {&proven_, &claimed_, &without_}) {
    for (const Kept& kept : shelf->kept) all.push_back(kept.rejection);
  }
  return all;
}

std::size_t Rejections::text_bytes() const {
  std::size_t bytes = 0;
  for (const Shelf* shelf : {&proven_, &claimed_, &without_}) {
    for (const auto& [key, rejection] : shelf->kept) {
      for (const std::string* text : {&key, &rejection.listener, &rejection.peer, &rejection.subject, &rejection.serial,
                                      &rejection.fingerprint}) {
        bytes += text->capacity();
      }
    }
  }
  return bytes;
}

}  // namespace sallyport
