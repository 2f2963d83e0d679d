#include "admin/operations/shared_registry.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "cache/base/file.h"
#include "cache/registry/registry_records.h"
#include "cache/registry/registry_store.h"
#include "cache/shared/shared_session.h"

namespace sallyport {

namespace {

constexpr std::size_t kAtOnce = 4096;

void tally(const SharedEntry& entry, SharedCopy& copy) {
  ++copy.entries;
  copy.devices += entry.family == SharedFamily::Device ? 1 : 0;
  copy.cas += entry.family == SharedFamily::Ca ? 1 : 0;
}

Digest digest_of(const std::string& key) {
  Digest id{};
  std::copy_n(key.begin(), std::min(key.size(), id.size()), id.begin());
  return id;
}

}  // namespace

Answer<SharedCopy> import_into_shared(const std::string& url, const std::string& state_dir,
                                      const SharedProgress& progress) {
  if (!std::filesystem::exists(state_dir + "/registry")) {
    return Refusal{Refusal::Kind::NotFound, "there is no registry in " + state_dir};
  }
  const auto store = RegistryStore::open(state_dir);
  if (!store) return store.error();
  const auto replica = (*store)->replica();
  if (!replica) return replica.error();
  if (*replica) {
    return Refusal{Refusal::Kind::Conflict,
                   state_dir + " holds a replica of a shared registry: there is nothing to take over"};
  }
  auto session = SharedSession::open(url, "import");
  if (!session) return session.error();
  const auto status = shared_status((*session)->connection());
  if (!status) return status.error();
  if (status->entries != 0 || status->revision > 1) {  // 1: `init`
    return Refusal{Refusal::Kind::Conflict, "the shared registry is not empty: an import would mix two registries"};
  }
  const auto meta = (*store)->meta();
  if (!meta) return meta.error();
  // Ids of chains that are in use are never given out.
  if (const auto reserved = (*session)->reserve_chains(meta->next_chain); !reserved) return reserved.error();
  auto position = (*session)->position();
  if (!position) return position.error();
  const auto cursor = (*store)->cursor();
  SharedCopy copy;
  std::vector<SharedEntry> part;
  // All of it in one turn: cut short it has not happened. Half a registry would let in what the other half revokes.
  const auto turn = (*session)->begin(*position);
  if (!turn) return turn.error();
  if (turn->now != *position) {
    (*session)->give_up();
    return Refusal{Refusal::Kind::Conflict, "somebody else writes to the shared registry: stop the nodes first"};
  }
  // Above every revision of the embedded registry: none is given out twice.
  const std::uint64_t revision = std::max(position->revision + 1, meta->revision + 1);
  while (auto entry = cursor->next()) {
    if (of_running_nodes(*entry)) continue;
    tally(*entry, copy);
    part.push_back(std::move(*entry));
    if (part.size() < kAtOnce) continue;
    if (auto written = (*session)->put(revision, part); !written) return written.error();
    part.clear();
    progress(copy.entries);
  }
  if (!cursor->read()) return cursor->read().error();
  if (auto told = (*session)->hand_out_by_snapshot(revision); !told) return told.error();
  position = (*session)->commit(*position, revision, part);
  if (!position) return position.error();
  copy.revision = position->revision;
  return copy;
}

// The rows as they come; the indexes beside them are made here.
Answer<SharedCopy> export_from_shared(const std::string& url, const std::string& state_dir,
                                      const SharedProgress& progress) {
  if (std::filesystem::exists(state_dir + "/registry")) {
    return Refusal{Refusal::Kind::Conflict, "there is a registry in " + state_dir + " already"};
  }
  auto session = SharedSession::open(url, "export");
  if (!session) return session.error();
  // Made beside its place: what is cut short at any moment is not there.
  const std::string making = state_dir + "/registry.export";
  std::error_code ignored;
  std::filesystem::remove_all(making, ignored);
  if (std::filesystem::create_directories(state_dir, ignored)) {
    std::filesystem::permissions(state_dir, std::filesystem::perms::owner_all, ignored);
  }
  auto store = RegistryStore::open(making);
  if (!store) return store.error();
  SharedCopy copy;
  std::map<std::uint64_t, Digest> owners;
  std::uint64_t next_chain = 1;
  RegistryStore::Batch batch;
  std::size_t rows = 0;
  Answer<void> trouble;
  // Half of it is no registry: no server starts with it.
  (*store)->put_resync(batch, true);
  if (auto marked = (*store)->commit(batch, Durable::Synced); !marked) return marked.error();
  batch = RegistryStore::Batch();
  const auto take = [&](SharedEntry&& entry) {
    if (of_running_nodes(entry)) return true;
    tally(entry, copy);
    (*store)->put_entry(batch, entry);
    if (entry.family == SharedFamily::Chain) {
      ChainRow row;
      std::uint64_t id = 0;
      for (const char c : entry.key) id = id << 8 | static_cast<unsigned char>(c);
      if (!records::decode(*entry.value, row) || row.cas.empty()) {
        return trouble = Refusal{Refusal::Kind::Unavailable, "the shared registry holds a chain that cannot be read"},
               false;
      }
      owners[id] = row.cas.front();
      next_chain = std::max(next_chain, id + 1);
    }
    DeviceText text;
    if (entry.family == SharedFamily::Certificate && records::decode(*entry.value, text)) {
      (*store)->put_serial(batch, digest_of(entry.key), text.serial);
    }
    DeviceRow row;
    if (entry.family == SharedFamily::Device && records::decode(*entry.value, row)) {
      (*store)->put_owner(batch, digest_of(entry.key), owners[row.chain]);
    }
    if (++rows % kAtOnce != 0) return true;
    trouble = (*store)->commit(batch, Durable::Later);
    batch = RegistryStore::Batch();
    progress(copy.entries);
    return static_cast<bool>(trouble);
  };
  const auto position = (*session)->snapshot(take);
  if (!trouble) return trouble.error();
  if (!position) return position.error();
  (*store)->put_meta(batch, {position->revision, next_chain});
  (*store)->put_resync(batch, false);
  if (auto written = (*store)->commit(batch, Durable::Answered); !written) return written.error();
  copy.revision = position->revision;
  store->reset();
  std::error_code failure;
  for (const auto& each : std::filesystem::directory_iterator(making, failure)) {
    if (each.path().filename() == "registry" || failure) continue;  // it comes last: with it all is there
    std::filesystem::rename(each.path(), std::filesystem::path(state_dir) / each.path().filename(), failure);
  }
  if (!failure) std::filesystem::rename(making + "/registry", state_dir + "/registry", failure);
  if (failure) return Refusal{Refusal::Kind::Unavailable, state_dir + ": " + failure.message()};
  if (const auto synced = sync_folder(state_dir); !synced) return synced.error();
  std::filesystem::remove_all(making, ignored);
  return copy;
}

}  // namespace sallyport
