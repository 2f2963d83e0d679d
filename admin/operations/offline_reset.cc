#include "admin/operations/offline_reset.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "admin/operations/listener_control.h"
#include "cache/registry/follower.h"
#include "cache/registry/registry_lock.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/chains.h"
#include "cache/standing/status_cache.h"

namespace sallyport {

namespace {

// There is no shard to tell.
class Nobody final : public ChangeSink {
 public:
  void put_in_force(const Notice&) override {}
};

Answer<void> is_registry(const std::string& state_dir) {
  std::error_code ignored;
  if (std::filesystem::exists(state_dir + "/registry/CURRENT", ignored)) return {};
  return Refusal{Refusal::Kind::NotFound, state_dir + " holds no registry: name the folder of `state_dir`"};
}

// `each` calls what it is given for every choice.
template <class Each>
Answer<OverrideRow> chosen_of(const std::string& listener, const Each& each) {
  std::optional<OverrideRow> found;
  std::string others;
  const auto read = each([&](std::string_view name, const OverrideRow& row) {
    if (name == listener) found = row;
    others += (others.empty() ? "" : ", ") + std::string(name);
    return true;
  });
  if (!read) return read.error();
  if (found) return *found;
  return Refusal{Refusal::Kind::NotFound, "nothing was chosen at run time for a listener '" + listener + "'" +
                                              (others.empty() ? "" : "; something was for: " + others)};
}

// A registry with the one part that writes to it, on this thread.
class Offline {
 public:
  static Answer<std::unique_ptr<Offline>> open(const std::string& state_dir) {
    if (auto there = is_registry(state_dir); !there) return there.error();
    auto store = RegistryStore::open(state_dir, nullptr, OnLoss::Refuse, [](bool loud, const std::string& what) {
      if (loud) std::cerr << "sallyport: migration: " << what << '\n';
    });
    if (!store) return store.error();
    return std::unique_ptr<Offline>(new Offline(std::move(*store)));
  }

  Answer<void> reset(const std::string& listener, const Actor& by) {
    // A replica is changed through PostgreSQL alone.
    if (auto own = registrar_.share(SharedOptions{}, log_); !own) return own;
    const auto was = chosen_of(listener, [&](const auto& row) { return store_->each_override(row); });
    if (!was) return was.error();
    if (auto read = registrar_.warm(); !read) return read;
    return registrar_.put_override(listener, {}, "listener.reset", ListenerControl::text_of(*was),
                                   ListenerControl::text_of({}), by);
  }

 private:
  explicit Offline(std::unique_ptr<RegistryStore> store)
      : store_(std::move(store)), registrar_(*store_, cache_, chains_, nobody_, {}, log_) {}

  std::unique_ptr<RegistryStore> store_;
  StatusCache cache_;
  ChainTable chains_;
  Nobody nobody_;
  NullLogger log_;
  Registrar registrar_;
};

}  // namespace

// Reads alone: who only asks must change nothing, a schema least of all.
Answer<std::string> chosen_offline(const std::string& state_dir, const std::string& listener) {
  if (auto there = is_registry(state_dir); !there) return there.error();
  if (RegistryLock::taken(state_dir + "/registry")) {
    return Refusal{Refusal::Kind::Conflict, "a server that is running uses " + state_dir +
                                                ": leave --state-dir out, and it resets the listener itself"};
  }
  const auto store = RegistryStore::open_to_read(state_dir + "/registry");
  if (!store) return store.error();
  const auto chosen = chosen_of(listener, [&](const auto& row) { return (*store)->each_override(row); });
  if (!chosen) return chosen.error();
  return ListenerControl::text_of(*chosen);
}

Answer<void> reset_offline(const std::string& state_dir, const std::string& listener, const Actor& by) {
  const auto registry = Offline::open(state_dir);
  if (!registry) return registry.error();
  return (*registry)->reset(listener, by);
}

}  // namespace sallyport
