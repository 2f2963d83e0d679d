// What a registry that many machines share is made of: entries, each a key of a family with its bytes, as the stores of
// the nodes hold them; and how far a node has come.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport {

// In the order in which a snapshot comes: what others refer to comes first. Kept in the database: never renumbered.
enum class SharedFamily : std::uint8_t {
  Ca = 1,
  Chain = 2,
  Certificate = 3,
  Device = 4,
  Meta = 5,  // registration codes, overrides, last CRLs, purges
  Token = 6,
  ServerCert = 7,
  Audit = 8,
};
inline constexpr std::uint8_t kSharedFamilies = 8;

// Keys of the family Meta begin so, in a node's store, too.
inline constexpr std::string_view kCodePrefix = "code:", kOverridePrefix = "override:", kCrlPrefix = "crl:",
                                  kPurgePrefix = "purge:";
// Of the same family: epochs that running nodes have in common, and the keys of TLS tickets. No other registry has a
// use for them.
inline constexpr std::string_view kSharedEpochs = "epochs", kSharedTicketKey = "ticket-key:";

struct SharedEntry {
  SharedFamily family{};
  std::string key;
  std::optional<std::string> value;  // none: deleted
};

inline bool of_running_nodes(const SharedEntry& entry) {
  const std::string_view key = entry.key;
  return entry.family == SharedFamily::Meta && (key == kSharedEpochs || key.starts_with(kSharedTicketKey));
}

// What a node has in force: everything of `registry` up to `revision`. `stamp` is that commit's, drawn at random: where
// the registry has another one for this revision, it has another history (a backup was restored over there, or a
// standby that lacks commits was promoted).
struct SharedPosition {
  std::string registry;  // its id, 16 bytes; empty: of none yet
  std::uint64_t revision = 0;
  std::string stamp;  // 16 bytes
  bool operator==(const SharedPosition&) const = default;
};

// What is newer than a position.
struct SharedNews {
  enum class Follows : std::uint8_t {
    Yes,
    Behind,     // deletes that this node has not seen are forgotten over there, or it has seen nothing yet
    Elsewhere,  // another registry, or another history of it
  };
  Follows follows = Follows::Yes;
  std::vector<SharedEntry> entries;
  SharedPosition now;       // with them applied
  bool more = false;        // there is more than these
  std::int64_t now_us = 0;  // PostgreSQL's clock
};

}  // namespace sallyport
