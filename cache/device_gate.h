// THE decision: is this device in good standing now? DESIGN.md section 3, steps 2 to 8. It reads the
// status cache, the chains and one CA-set snapshot, changes nothing, takes no lock, and is called by
// every shard in its TLS verify callback; `explain` runs the same code with a Trace. Known devices cost
// two hashes and a look-up; unknown ones a path building and validation by OpenSSL.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/certificate.h"
#include "cache/change.h"
#include "cache/identity.h"
#include "cache/reason.h"
#include "cache/status_cache.h"

struct stack_st_X509;

namespace sallyport {

class CaSet;
class ChainTable;

// What the client sent. Borrowed for the call; `sent` may be null and may or may not contain the leaf.
struct PeerChain {
  X509* leaf = nullptr;
  const stack_st_X509* sent = nullptr;
};

// What one listener admits.
struct Admits {
  std::vector<Digest> cas;  // ids; empty: every registered CA. A device passes if one CA of its chain is listed.
};

// The path a device was verified through. Enough to find, or to store, its chain record.
struct PathFound {
  std::vector<Digest> cas;                 // registered CAs, the owner (nearest ancestor) first, then upwards
  std::vector<Certificate> intermediates;  // sent by the client, from the leaf upwards; none of them registered
  std::int64_t not_before = 0;             // intersection over the path without the leaf
  std::int64_t not_after = 0;
};

struct Verdict {
  Reason reason = Reason::None;      // None: admitted
  int detail = 0;                    // X509_V_ERR_* where OpenSSL's validation refused
  bool known = false;                // a registered device, decided without verifying anything again
  bool pending = false;              // admitted to TLS only: register as pending, refuse after the CONNECT
  std::uint64_t chain_id = 0;        // of a known device in its own chain; 0: see `path`
  std::string leaf_der;              // beside `path`: what is to be stored
  std::optional<PathFound> path;     // an unknown device, or a known one that must move to this path
  std::vector<Digest> chain_cas;     // registered CAs of the chain, the owner first, for the session index
  DeviceKey key;                     // of the leaf, in the status cache
  std::optional<Identity> identity;  // set when admitted; when refused, whatever could be read, for the log
  bool admitted() const { return reason == Reason::None; }
};

// Collects what `explain` prints. One line a step.
class Trace {
 public:
  virtual ~Trace() = default;
  virtual void step(int number, std::string_view what, std::string_view found) = 0;
};

class DeviceGate {
 public:
  // All outlive the gate.
  DeviceGate(const StatusCache& cache, const ChainTable& chains) : cache_(cache), chains_(chains) {}

  // `now` in Unix seconds. Any thread. Never throws, never asserts on what the peer sent.
  Verdict decide(const PeerChain& peer, const CaSet& cas, const Admits& admits, std::int64_t now,
                 Trace* trace = nullptr) const;

  // The second look (DESIGN.md 3.8): does the standing on which `verdict` admitted the device still hold?
  // Reads only the device's slot, its chain's state, `cas` and the dates; no signature is checked.
  Reason recheck(const Verdict& verdict, const CaSet& cas, std::int64_t now) const;

 private:
  // Step 3, for a registered device whose own status is active: fills in the verdict, or leaves it to step 4.
  bool known_and_alive(Verdict& verdict, const SlotState& slot, const CaSet& cas, const Admits& admits,
                       std::int64_t now) const;
  // Steps 4 to 8.
  Verdict decide_path(const Certificate& leaf, const PeerChain& peer, const CaSet& cas, const Admits& admits,
                      std::int64_t now, bool registered, Verdict verdict, Trace* trace) const;
  // Step 6: whether other bytes hold this serial of this issuing key.
  Reason serial_reason(const DeviceKey& key, const Digest& issuing_key) const;

  const StatusCache& cache_;
  const ChainTable& chains_;
};

}  // namespace sallyport
