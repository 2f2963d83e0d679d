// The keys of TLS tickets over a planned restart (`proxy.keep_ticket_keys`): written when a process ends in an orderly
// manner or hands over, to STATE_DIR/ticket-keys (0600), encrypted with registry.key_file and bound to the registry as
// it was then; read once, and removed before they are used. While a process runs there is no such file: one that is
// killed leaves none, and keys that were rotated or dropped are in none. Whatever is wrong with it: one line in the
// log, and fresh keys. The main thread, while no shard runs or none begins a session.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cache/base/log.h"
#include "cache/registry/registrar.h"
#include "proxy/config/config.h"
#include "proxy/tls/ticket_keys.h"

namespace sallyport {

class RegistryStore;

struct KeptTicketKeys {
  std::vector<TicketKey> keys;  // the newest first
  StandingEpochs epochs;
};

std::string ticket_keys_path(const std::string& state_dir);

// Behind the registrar's stop(), before the store is closed. Nothing is written where they are not to be kept, or
// `registrar` does not say what they are worth (Registrar::epochs_at_stop()).
void keep_ticket_keys(const Config& config, const TicketKeys& keys, const Registrar& registrar,
                      const RegistryStore& store, std::int64_t now, Logger& log);
// Before the registry is read into memory. The file goes in any case. Nothing: fresh keys.
std::optional<KeptTicketKeys> take_ticket_keys(const Config& config, const RegistryStore& store, std::int64_t now,
                                               Logger& log);

// Once the registrar has started, and they are in force: the registry becomes another one than the file was bound to,
// so that no copy of it is taken again. Where the disk refuses that they are dropped: a full handshake each, and a
// start all the same.
void note_keys_taken(std::size_t count, Registrar& registrar, TicketKeys& keys, std::int64_t now, Logger& log);

}  // namespace sallyport
