// THE decision: is this device in good standing now? Its steps are in README.md. It reads the
// status cache, the chains and one CA-set snapshot, changes nothing, takes no lock, and is called by
// every shard in its TLS verify callback; `explain` runs the same code with a Trace. Known devices cost
// two hashes and a look-up; unknown ones a path building and validation by OpenSSL.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/reason.h"
#include "cache/standing/change.h"
#include "cache/standing/status_cache.h"
#include "cache/x509/certificate.h"
#include "cache/x509/identity.h"

struct stack_st_X509;

namespace sallyport {

class CaSet;
class ChainTable;
struct PathSearch;
struct PlainLeaf;

// How much of certificates a client may send: the body of its Certificate message. TLS refuses what is longer before
// anybody decides: hundreds of certificates cost 32 ms (proxy/tls/README.md).
inline constexpr std::size_t kMostCertificateBytes = 16384;

// What the client sent. Borrowed for the call. Either parsed: `sent` may be null and may or may not contain the leaf;
// or as it came: the leaf that could be read plainly, and `behind` it anything. Of a known device nothing else is read.
struct PeerChain {
  X509* leaf = nullptr;
  const stack_st_X509* sent = nullptr;
  const PlainLeaf* plain = nullptr;
  std::span<const Bytes> behind;  // DER, it is said
};

// Why a registered CA lets nobody in, where the reason alone would send an operator the wrong way: words of
// Verdict::why, by which `explain` finds the remedy.
inline constexpr std::string_view kNotInCas = "its CA is registered, and this listener's cas does not name it";
inline constexpr std::string_view kCaRevoked = "a CRL of the CA above it revoked its CA, or holds it";

// What one listener admits.
struct Admits {
  std::vector<Digest> cas;   // ids; empty: every registered CA. A device passes if one CA of its chain is listed.
  bool by_operator = false;  // not a listener: an operator registers it, so step 8 is not asked
};

// The path a device was verified through. Enough to find, or to store, its chain record.
struct PathFound {
  std::vector<Digest> cas;                 // registered CAs, the owner (nearest ancestor) first, then upwards
  std::vector<Certificate> intermediates;  // sent by the client, from the leaf upwards; none of them registered
  std::int64_t not_before = 0;             // intersection over the path without the leaf
  std::int64_t not_after = 0;
};

struct Verdict {
  Reason reason = Reason::None;  // None: admitted
  int detail = 0;                // X509_V_ERR_* where OpenSSL's validation refused
  std::string_view why;          // of a refusal, in words; static storage; empty: the reason says it all
  bool known = false;            // a registered device, decided without verifying anything again
  bool seen_today = false;       // of a known device: its day is marked already
  bool fresh = false;            // it is not registered yet: this connection registers it
  bool pending = false;          // admitted to TLS only: register as pending, refuse after the CONNECT
  std::uint64_t chain_id = 0;    // of a known device in its own chain; 0: see `path`
  std::string leaf_der;          // beside `path`: what is to be stored
  // Of an unknown device, or a known one that must move to this path; null: there is nothing to store.
  std::shared_ptr<const PathFound> path;
  std::vector<Digest> chain_cas;     // registered CAs of the chain, the owner first, for the session index
  DeviceKey key;                     // of the leaf, in the status cache
  std::uint32_t epoch = 0;           // StatusCache::epoch() before anything was looked up: what a ticket of it says
  std::optional<Identity> identity;  // set when admitted; when refused, whatever could be read, for the log
  std::int64_t good_until = 0;       // Unix seconds: when the leaf or its chain ends; the session does, too
  bool admitted() const { return reason == Reason::None; }
};

// Collects what `explain` prints. One line a step.
class Trace {
 public:
  virtual ~Trace() = default;
  virtual void step(int number, std::string_view what, std::string_view found) = 0;
};

// Who holds this serial of this issuing key, other than `key` itself: None, device_revoked, serial_conflict,
// or what a CRL's hold says.
Reason serial_standing(const StatusCache& cache, const ChainTable& chains, const DeviceKey& key,
                       std::string_view serial, const Digest& issuing_key);
// Whether a CRL revoked this serial of this issuing key, or holds it; whatever certificate carries it.
bool serial_listed(const StatusCache& cache, const ChainTable& chains, const IssuerSerial& name,
                   std::string_view serial, const Digest& issuing_key);
// The slot of a registered device; of a deleted CA's devices only the revoked ones remain.
std::optional<SlotState> registered_slot(const StatusCache& cache, const ChainTable& chains, const DeviceKey& key);

class DeviceGate {
 public:
  // Shards answer every notice, and what they may still read in the status cache is kept until then. Anybody else
  // visits it.
  enum class AskedBy : std::uint8_t { Shards, Others };

  // All outlive the gate.
  DeviceGate(const StatusCache& cache, const ChainTable& chains, AskedBy by = AskedBy::Shards)
      : cache_(cache), chains_(chains), visited_(by == AskedBy::Others ? &cache : nullptr) {}

  // `now` in Unix seconds. Never throws, never asserts on what the peer sent.
  Verdict decide(const PeerChain& peer, const CaSet& cas, const Admits& admits, std::int64_t now,
                 Trace* trace = nullptr) const;

  // The second look: does the standing on which `verdict` admitted the device still hold?
  // Reads only the device's slot, its chain's state, `cas` and the dates; no signature is checked.
  Reason recheck(const Verdict& verdict, const CaSet& cas, std::int64_t now) const;

  // A session resumed from a ticket (step 10 in README.md): the identity was proven when the ticket was issued; its
  // status, chain and dates are looked up now. `chain_id` 0: it was not registered yet. `epoch`: of the verdict that
  // the ticket was issued on. Anything but good standing through the same chain, without a loss since, refuses, and a
  // full handshake follows.
  Verdict resume(const Identity& identity, std::uint64_t chain_id, std::uint32_t epoch, const CaSet& cas,
                 const Admits& admits, std::int64_t now) const;

 private:
  class Judge;  // of a path that the search found

  // The slot of a device that is registered. A device of a deleted CA is not, unless it was revoked.
  std::optional<SlotState> slot_of(const DeviceKey& key) const;
  bool listed(const IssuerSerial& name, std::string_view serial, const Digest& issuing_key) const;
  // A revoked certificate on the way up: one a CRL of its issuer named.
  bool intermediate_revoked(const std::vector<Certificate>& intermediates, const Digest& owner_spki) const;
  std::string_view why(const Certificate& leaf, const PathSearch& search, const CaSet& cas, std::int64_t now) const;
  // Step 3, for a registered device whose own status is active: fills in the verdict, or leaves it to step 4.
  bool known_and_alive(Verdict& verdict, const SlotState& slot, const CaSet& cas, const Admits& admits,
                       std::int64_t now) const;
  // Of a device with a ticket: fills in the verdict, or says why not.
  Reason standing_since(Verdict& verdict, std::uint64_t chain_id, std::uint32_t epoch, const CaSet& cas,
                        const Admits& admits, std::int64_t now) const;
  // Steps 4 to 8.
  Verdict decide_path(const Certificate& leaf, const PeerChain& peer, const CaSet& cas, const Admits& admits,
                      std::int64_t now, bool registered, Verdict verdict, Trace* trace) const;
  // device_gate_recheck.cc: each of them of a device in another situation.
  Reason recheck_chain(const SlotState& slot, const CaSet& cas, std::int64_t now) const;
  Reason recheck_registered(const SlotState& slot, const PathFound& path, const CaSet& cas, std::int64_t now) const;
  Reason recheck_new(const Verdict& verdict, const CaSet& cas, std::int64_t now) const;
  static Reason standing_of_sent(const PathFound& path, const CaSet& cas, std::int64_t now);
  // Step 6: whether other bytes hold this serial of this issuing key.
  Reason serial_reason(const Verdict& verdict, const Digest& issuing_key) const;

  const StatusCache& cache_;
  const ChainTable& chains_;
  const StatusCache* visited_;  // null: by shards only
};

}  // namespace sallyport
