#include "admin/operations/offline_reset.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "admin/operations/listener_control.h"
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

// A registry with the one part that writes to it, on this thread.
class Offline {
 public:
  static Answer<std::unique_ptr<Offline>> open(const std::string& state_dir) {
    std::error_code ignored;
    if (!std::filesystem::exists(state_dir + "/registry/CURRENT", ignored)) {
      return Refusal{Refusal::Kind::NotFound, state_dir + " holds no registry: name the folder of `state_dir`"};
    }
    auto store = RegistryStore::open(state_dir);
    if (!store) return store.error();
    return std::unique_ptr<Offline>(new Offline(std::move(*store)));
  }

  Answer<OverrideRow> chosen(const std::string& listener) const {
    const auto all = registrar_.overrides();
    if (!all) return all.error();
    std::string others;
    for (const auto& [name, row] : *all) {
      if (name == listener) return row;
      others += (others.empty() ? "" : ", ") + name;
    }
    return Refusal{Refusal::Kind::NotFound, "nothing was chosen at run time for a listener '" + listener + "'" +
                                                (others.empty() ? "" : "; something was for: " + others)};
  }

  Answer<void> reset(const std::string& listener, const Actor& by) {
    const auto was = chosen(listener);
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

Answer<std::string> chosen_offline(const std::string& state_dir, const std::string& listener) {
  const auto registry = Offline::open(state_dir);
  if (!registry) return registry.error();
  const auto chosen = (*registry)->chosen(listener);
  if (!chosen) return chosen.error();
  return ListenerControl::text_of(*chosen);
}

Answer<void> reset_offline(const std::string& state_dir, const std::string& listener, const Actor& by) {
  const auto registry = Offline::open(state_dir);
  if (!registry) return registry.error();
  return (*registry)->reset(listener, by);
}

}  // namespace sallyport
