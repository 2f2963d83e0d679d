// The keys of TLS tickets that the nodes of a shared registry have in common, so that a device resumes at any of them:
// in PostgreSQL and on every node's disk sealed under registry.key_file, in clear in memory alone. Each hour one node
// makes the next one, which all have before it is used. A node that cannot share them keeps its own, and says why. The
// main thread, but for trouble().
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "admin/operations/warnings.h"
#include "cache/base/log.h"
#include "cache/registry/registrar.h"
#include "cache/registry/sealed.h"
#include "proxy/config/config.h"
#include "proxy/data_plane.h"
#include "proxy/tls/ticket_keys.h"

namespace sallyport {

class SharedTicketKeys {
 public:
  // All outlive it.
  SharedTicketKeys(const Config& config, DataPlane& plane, Registrar& registrar, Warnings& warnings, Logger& log)
      : config_(config), plane_(plane), registrar_(registrar), warnings_(warnings), log_(log) {}

  // About every second, and when the registrar's settings_fd() is rung; at the start before a shard runs.
  void look(std::int64_t now);
  // Why this node keeps its own; empty: it does not, or there is no shared registry. Any thread.
  std::string trouble() const;

 private:
  std::string follow(std::int64_t now);  // what is in the way
  std::string take(std::int64_t now, std::int64_t clock_ahead);
  std::string make_next(std::int64_t now, std::int64_t clock_ahead);

  const Config& config_;
  DataPlane& plane_;
  Registrar& registrar_;
  Warnings& warnings_;
  Logger& log_;
  std::optional<SealingKey> sealing_;
  std::string sealing_of_;  // the path it was read from
  std::int64_t sealing_at_ = 0;
  std::uint64_t settings_seen_ = UINT64_MAX;
  std::int64_t newest_made_at_ = 0;  // by PostgreSQL's clock; 0: there is none
  std::string take_trouble_;
  std::int64_t next_try_ = 0;
  mutable std::mutex mutex_;
  std::string trouble_;
};

// What is sealed: the key's secrets alone.
Answer<TicketKeyRow> seal_ticket_key(const TicketKey& key, const SealingKey& sealing);
Answer<TicketKey> unseal_ticket_key(const TicketKeyRow& row, const SealingKey& sealing);

}  // namespace sallyport
