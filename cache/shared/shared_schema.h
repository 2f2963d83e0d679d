// The tables in PostgreSQL, by versions: made by `registry init`, brought forward by `registry migrate`. A node needs
// no right to make or change a table.
#pragma once

#include <cstdint>
#include <string>

#include "cache/base/result.h"
#include "cache/shared/pg_connection.h"

namespace sallyport {

inline constexpr std::int64_t kSharedLock = 0x53414C4C59;  // of writers: the key of their advisory lock

struct SharedStatus {
  std::string id;  // hex
  int schema = 0, oldest = 0;
  std::uint64_t revision = 0, horizon = 0, entries = 0, devices = 0, cas = 0;
  std::string server;
  bool standby = false;      // it takes no changes: in recovery, or read-only
  bool synchronous = false;  // a commit waits for a standby
};

// Refused where there is one already. `owner_rights_to`: a role that nodes use, which gets exactly what they need;
// empty: the one that makes it is theirs.
Answer<void> init_shared_registry(PgConnection& connection, const std::string& grant_to);
// From which schema to which: equal where there was nothing to do.
Answer<std::pair<int, int>> migrate_shared_registry(PgConnection& connection);
Answer<SharedStatus> shared_status(PgConnection& connection);
// Whether this program can work with it.
Answer<void> usable_schema(std::int64_t schema, std::int64_t oldest);
Answer<void> check_shared_schema(PgConnection& connection);

}  // namespace sallyport
