// From a leaf upwards to the nearest registered CA: step 4 in README.md. Registered CAs come first at
// every level and a registered key decides it; else a certificate the client sent, as untrusted path
// material. Bounded in certificates, in signature checks and in what one of them costs, whatever the client sends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cache/standing/ca_set.h"
#include "cache/standing/device_gate.h"
#include "cache/x509/certificate.h"

namespace sallyport {

struct PathSearch {
  Reason reason = Reason::CaUnknown;  // None: found
  std::optional<std::size_t> owner;   // entry in the CA set, also where the level was refused
  std::vector<Certificate> intermediates;
};

class PathBuilder {
 public:
  static constexpr std::size_t kMostSent = 8;      // certificates beside the leaf
  static constexpr unsigned kMostSignatures = 32;  // checks in one search: many registered CAs may share a name
  // Those of them with keys of the client's choice: a path through all it sent, or a shorter one past some dead ends.
  static constexpr unsigned kMostSentChecks = kMostSent;
  static constexpr int kMostSentRsaBits = 4096;  // of such a key

  PathBuilder(const CaSet& cas, const Admits& admits, std::vector<Certificate> sent, std::int64_t now)
      : cas_(cas), admits_(admits), sent_(std::move(sent)), now_(now) {}

  PathSearch find(const Certificate& leaf);
  // Whether a listener that admits only some CAs admits devices of this one.
  static bool admitted(const CaSet& cas, const Admits& admits, std::size_t entry, std::int64_t now);

 private:
  bool climb(const Certificate& from, PathSearch& search);
  bool registered_level(const Certificate& from, PathSearch& search, bool& candidate);
  void obstacle(PathSearch& search, Reason reason);

  const CaSet& cas_;
  const Admits& admits_;
  std::vector<Certificate> sent_;
  std::int64_t now_;
  std::vector<std::size_t> used_;  // indices into sent_ on the way up
  unsigned signatures_ = 0;
  unsigned sent_checks_ = 0;
};

}  // namespace sallyport
