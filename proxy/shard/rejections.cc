#include "proxy/shard/rejections.h"

#include <algorithm>

namespace sallyport {

void Rejections::add(const Rejection& seen) {
  const std::string key = seen.key();
  Shelf& shelf = seen.fingerprint.empty() ? without_ : with_certificate_;
  const auto found = shelf.by_key.find(key);
  if (found != shelf.by_key.end()) {
    Rejection& known = found->second->rejection;
    const std::uint64_t count = known.count + 1;
    const std::int64_t first = known.first;
    known = seen;
    known.count = count;
    known.first = first;
    known.subject.resize(std::min(known.subject.size(), kLongestText));
    shelf.kept.splice(shelf.kept.begin(), shelf.kept, found->second);
    return;
  }
  if (shelf.kept.size() == kMost) {
    shelf.by_key.erase(shelf.kept.back().key);
    shelf.kept.pop_back();
  }
  shelf.kept.push_front({key, seen});
  Rejection& made = shelf.kept.front().rejection;
  made.count = 1;
  made.first = made.last;
  made.subject.resize(std::min(made.subject.size(), kLongestText));
  shelf.by_key.emplace(key, shelf.kept.begin());
}

std::vector<Rejection> Rejections::all() const {
  std::vector<Rejection> all;
  for (const Shelf* shelf : {&with_certificate_, &without_}) {
    for (const Kept& kept : shelf->kept) all.push_back(kept.rejection);
  }
  return all;
}

}  // namespace sallyport
