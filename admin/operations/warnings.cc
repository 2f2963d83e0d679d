#include "admin/operations/warnings.h"

#include <ctime>
#include <set>

namespace sallyport {

void Warnings::say(Kind kind, const std::string& about, const std::string& what) {
  const std::lock_guard lock(mutex_);
  say_locked(kind, about, what);
}

void Warnings::say_locked(Kind kind, const std::string& about, const std::string& what) {
  const std::string_view name = kKinds[static_cast<std::size_t>(kind)];
  const auto known = warnings_.find({kind, about});
  if (what.empty()) {
    if (known == warnings_.end()) return;
    warnings_.erase(known);
    log_.info("trouble-over", {{"kind", name}, {"about", about}});
    return;
  }
  if (known != warnings_.end() && known->second.what == what) return;
  warnings_.insert_or_assign({kind, about}, Warning{kind, about, what, std::time(nullptr)});
  log_.warn("trouble", {{"kind", name}, {"about", about}, {"what", what}});
}

void Warnings::say_all(Kind kind, const std::vector<std::pair<std::string, std::string>>& found) {
  const std::lock_guard lock(mutex_);
  std::set<std::string> still;
  for (const auto& [about, what] : found) {
    still.insert(about);
    say_locked(kind, about, what);
  }
  std::vector<std::string> over;
  for (const auto& [key, warning] : warnings_) {
    if (key.first == kind && still.count(key.second) == 0) over.push_back(key.second);
  }
  for (const std::string& about : over) say_locked(kind, about, "");
}

std::vector<Warnings::Warning> Warnings::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<Warning> all;
  for (const auto& [key, warning] : warnings_) all.push_back(warning);
  return all;
}

}  // namespace sallyport
