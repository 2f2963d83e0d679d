// A snapshot of the shared registry, part by part, in place of what this node had: what differs is taken in while it
// goes on serving. Where the registry has another history (a backup was restored over there, a standby that lacks
// commits was promoted), chains may have other contents under the same ids: until the snapshot is whole no chain counts
// as alive, so every device's path is built and verified anew; and what an operator was told to be in force, and is
// missing over there, is written there again.
#include <algorithm>
#include <utility>

#include "cache/registry/registrar_impl.h"
#include "cache/registry/registry_records.h"

namespace sallyport {

Answer<void> Registrar::Impl::snapshot_begins(bool elsewhere) {
  return call<void>(
      [&]() -> Answer<void> {
        settle(true);
        if (ledger_.owes()) return ledger_.owed_why();
        if (elsewhere || position_.registry.empty()) {
          RegistryStore::Batch batch;
          store_.put_resync(batch, true);
          if (auto written = ledger_.commit_here(batch); !written) return written;
        }
        if (elsewhere) {
          chains_before_.clear();
          const auto read = store_.each_chain([&](std::uint64_t id, const ChainRow& row) {
            chains_before_.emplace(id, row);
            return true;
          });
          if (!read) return read;
          elsewhere_ = true;
          book_.hold(true);
          put_cas_in_force(unix_now());
        }
        snapshot_ = true;
        return {};
      },
      Turn::WritesNothing);
}

Answer<void> Registrar::Impl::snapshot_part(std::vector<SharedEntry> entries) {
  return call<void>(
      [&]() -> Answer<void> {
        settle(true);
        if (elsewhere_) {
          keep_restrictions(entries);
          keep_settings(entries);
        }
        return apply(std::move(entries), std::nullopt);
      },
      Turn::WritesNothing);
}

// Before the rows here are overwritten: what is stricter here than over there. Of a device that is missing there its
// rows are kept, too: nobody else may have them.
void Registrar::Impl::keep_restrictions(const std::vector<SharedEntry>& entries) {
  for (const SharedEntry& entry : entries) {
    const auto id = digest_of(entry.key);
    if (!id || held_.count(*id) != 0) continue;
    LocalRestriction kept;
    kept.by = kKeptFromBefore;
    if (entry.family == SharedFamily::Ca) {
      CaRow row;
      const auto here = cas_.find(*id);
      if (here == cas_.end() || here->second.status == CaStatus::Active || !entry.value ||
          !records::decode(*entry.value, row) || row.status != CaStatus::Active) {
        continue;
      }
      kept.ca = true;
      kept.status = static_cast<std::uint8_t>(CaStatus::Inactive);
    } else if (entry.family == SharedFamily::Device || (entry.family == SharedFamily::Certificate && !entry.value)) {
      const auto here = store_.device(*id);
      if (!here || !*here) continue;
      const DeviceStatus status = (*here)->status;
      const auto chain = chains_before_.find((*here)->chain);
      if (chain == chains_before_.end()) continue;
      if (chain->second.forgotten && status != DeviceStatus::Revoked) continue;  // of a CA that was deleted
      if (status != DeviceStatus::Revoked && status != DeviceStatus::Inactive) continue;
      DeviceRow there;
      if (entry.value &&
          (!records::decode(*entry.value, there) || there.status == status || there.status == DeviceStatus::Revoked)) {
        continue;
      }
      kept.status = static_cast<std::uint8_t>(status);
      if (!entry.value) {
        const auto text = store_.device_text(*id);
        if (!text || !*text) continue;
        kept.lost = LocalRestriction::Rows{**here, **text, chain->second};
      }
    } else {
      continue;
    }
    RegistryStore::Batch batch;
    store_.put_outbox(batch, outbox::key(outbox::kRestrictions, *id), outbox::encode(kept));
    if (const auto written = ledger_.keep_here(batch); !written) {
      log_.error("restriction-kept", {{"what", "in memory alone"}, {"id", to_hex(*id)}, {"why", written.error().what}});
    }
    log_.warn("restriction-kept", {{"id", to_hex(*id)},
                                   {"what",
                                    "it was in force here and is missing in the shared registry: it is written "
                                    "there again"}});
    held_[*id] = std::move(kept);
    held_count_ = held_.size();
  }
}

Answer<void> Registrar::Impl::snapshot_ends(const SharedPosition& position) {
  return call<void>(
      [&]() -> Answer<void> {
        settle(true);
        if (auto lowered = store_.lower_mark(position.revision); !lowered) return lowered;
        RegistryStore::Batch batch;
        store_.put_resync(batch, false);
        if (auto adopted = ledger_.adopt(batch, position); !adopted) return adopted;
        set_position(position);
        book_.hold(false);
        if (std::exchange(elsewhere_, false)) {
          // Tickets were given by another history: also those that its keys still open elsewhere.
          (void)cache_.lose();
          chains_.end_epoch_of_all(cache_.lose_for_all_to_come());
          if (epochs_) owe_drop(cache_.committed() + 1, kKeptFromBefore);
        }
        snapshot_ = false;
        chains_before_.clear();
        recount_ = false;
        recount();
        put_cas_in_force(unix_now());
        if (writer_) {
          settle_outbox();
          settle_kept();
          settle_drop();
          settle_losses();
          bring_back();
        }
        return {};
      },
      Turn::WritesNothing);
}

}  // namespace sallyport
