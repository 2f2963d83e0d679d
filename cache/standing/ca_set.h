// An immutable snapshot of the registered CAs and the links between them; swapped whole when one changes.
//
// Certificates with one subject and one public key form a group: for a path they are one CA, and one of
// them that is active and in date suffices. A member is alive when it is active, in date, and either is a
// root among the registered (self-issued, or no registered CA signed it) or the group that signed it is
// alive. The links are computed from signatures here, once, so that no client can choose to leave an
// inactive root out of its chain. Built by the registrar, read by every shard.
#pragma once

#include <openssl/types.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/base/reason.h"
#include "cache/standing/change.h"
#include "cache/x509/certificate.h"

namespace sallyport {

struct CaEntry {
  Certificate certificate;
  CaStatus status = CaStatus::Active;
  bool auto_register = true;
  bool approve = false;
  // Written by the registrar: the CA has as many devices as registry.max_devices_per_ca allows. Null: never full.
  std::shared_ptr<const std::atomic<bool>> full;
};

// Dates in which a path upwards from a CA holds.
struct Window {
  std::int64_t not_before = INT64_MIN;
  std::int64_t not_after = INT64_MAX;
  bool holds(std::int64_t now) const { return now >= not_before && now <= not_after; }
};

class CaSet {
 public:
  struct Group {
    std::string subject_name;
    Digest spki_hash{};
    EVP_PKEY* key = nullptr;  // borrowed from the first member's certificate
    std::vector<std::size_t> members;
  };

  // Which certificate was signed by which key is asked again for every snapshot: remembered between builds.
  using LinkMemo = std::map<std::pair<Digest, Digest>, bool>;

  // `codes`: SHA-256 of every registration code ever issued. `server_keys`: SPKI hashes this server presents.
  CaSet(std::vector<CaEntry> entries, std::set<Digest> server_keys, std::shared_ptr<const std::set<Digest>> codes,
        LinkMemo& memo);

  const std::vector<CaEntry>& entries() const { return entries_; }
  const CaEntry& entry(std::size_t index) const { return entries_[index]; }
  std::optional<std::size_t> find(const Digest& id) const;
  // Groups with this subject; null when there is none.
  const std::vector<std::size_t>* groups_of(const std::string& subject_name) const;
  const Group& group(std::size_t index) const { return groups_[index]; }

  // Why a path that reaches this CA ends here: None, ca_inactive, expired or not_yet_valid. Of several
  // obstacles the nearest to the device is named.
  Reason standing(std::size_t entry, std::int64_t now) const;
  Reason standing_of(const Digest& id, std::int64_t now) const;  // not registered: ca_inactive
  // The same for a session that is live: another certificate with this CA's key that is alive suffices, and its
  // devices move to it when they connect again.
  Reason standing_through_key(const Digest& id, std::int64_t now) const;
  // Other certificates with this CA's name and key that are alive: whatever becomes of it, its devices are let in
  // through them.
  std::vector<Digest> alive_twins(const Digest& id, std::int64_t now) const;
  // The member through which the group is alive, of several the one that lasts longest; else why not.
  struct Choice {
    Reason reason = Reason::None;
    std::size_t entry = 0;
  };
  Choice choose(std::size_t group, std::int64_t now) const;
  // Of a certificate that a client sent: why the CA registered with its subject and key, if there is one, lets nobody
  // in. No client can pass by an inactive CA with a chain that was verified before it was registered.
  Reason standing_of_sent(const std::string& subject_name, const Digest& spki_hash, std::int64_t now) const;
  // The CA and the registered ones above it on the path that is alive (or would be), nearest first.
  std::vector<Digest> path_ids(std::size_t entry, std::int64_t now) const;
  // The dates in which the path upwards from this CA holds without another choice on the way; nothing if
  // it is not alive.
  std::optional<Window> window(std::size_t entry, std::int64_t now) const;

  bool is_ca_key(const Digest& spki_hash) const { return ca_keys_.count(spki_hash) != 0; }
  bool is_server_key(const Digest& spki_hash) const { return server_keys_.count(spki_hash) != 0; }
  bool is_issued_code(std::string_view text) const;

 private:
  static constexpr std::size_t kNone = SIZE_MAX;
  using Visited = std::vector<std::size_t>;

  void link(LinkMemo& memo);
  Reason standing(std::size_t entry, std::int64_t now, Visited& visited) const;
  Choice choose(std::size_t group, std::int64_t now, Visited& visited) const;

  std::vector<CaEntry> entries_;
  std::vector<Group> groups_;
  std::vector<std::size_t> issuer_group_;  // by entry; kNone: none registered, or self-issued
  std::map<Digest, std::size_t> by_id_;
  std::unordered_map<std::string, std::vector<std::size_t>> by_subject_;
  std::set<Digest> ca_keys_, server_keys_;
  std::shared_ptr<const std::set<Digest>> codes_;
};

}  // namespace sallyport
