// From a leaf upwards to the nearest registered CA: step 4 in README.md. Registered CAs come first at
// every level and a registered key decides it; else a certificate the client sent, as untrusted path
// material. A path is found when its judge has nothing against it: else the search goes back and looks for another one.
// Bounded in certificates, in signature checks, in paths, and in what one of them costs, whatever the client sends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cache/standing/ca_set.h"
#include "cache/standing/device_gate.h"
#include "cache/x509/certificate.h"

namespace sallyport {

// What stands against a path: None, nothing. `error`: X509_V_ERR_* where OpenSSL's validation says so.
struct PathFlaw {
  Reason reason = Reason::None;
  int error = 0;
};

// Asked of each path whose signatures fit, up to a registered CA that is active and in date.
class PathJudge {
 public:
  virtual PathFlaw judge(const Certificate& leaf, const std::vector<Certificate>& intermediates,
                         const Certificate& anchor) const = 0;

 protected:
  ~PathJudge() = default;
};

struct PathSearch {
  // A path that was judged. Only the last one can be good.
  struct Tried {
    std::size_t owner = 0;
    std::vector<Certificate> intermediates;
    PathFlaw flaw;
  };
  Reason reason = Reason::CaUnknown;  // None: found
  int error = 0;                      // of the flaw that names the reason
  std::optional<std::size_t> owner;   // entry in the CA set, also where the level was refused
  std::vector<Certificate> intermediates;
  std::vector<Tried> tried;
};

class PathBuilder {
 public:
  static constexpr std::size_t kMostSent = 8;      // certificates beside the leaf
  static constexpr unsigned kMostSignatures = 32;  // checks in one search: many registered CAs may share a name
  // Those of them with keys of the client's choice: a path through all it sent, or a shorter one past some dead ends.
  static constexpr unsigned kMostSentChecks = kMostSent;
  static constexpr int kMostSentRsaBits = 4096;  // of such a key
  // One directly below a registered CA, or one above each certificate that a check led to.
  static constexpr std::size_t kMostPaths = 1 + kMostSentChecks;

  // Of what the client sent, certificates that are in date come first.
  PathBuilder(const CaSet& cas, const Admits& admits, const PathJudge& judge, std::vector<Certificate> sent,
              std::int64_t now);

  PathSearch find(const Certificate& leaf);
  // Whether a listener that admits only some CAs admits devices of this one.
  static bool admitted(const CaSet& cas, const Admits& admits, std::size_t entry, std::int64_t now);

 private:
  bool climb(const Certificate& from, PathSearch& search);
  bool registered_level(const Certificate& from, PathSearch& search, bool& decided);
  bool good_path(std::size_t owner, PathSearch& search);
  void obstacle(PathSearch& search, PathFlaw flaw, std::optional<std::size_t> owner = std::nullopt);

  const CaSet& cas_;
  const Admits& admits_;
  const PathJudge& judge_;
  std::vector<Certificate> sent_;
  std::int64_t now_;
  const Certificate* leaf_ = nullptr;
  std::vector<std::size_t> used_;  // indices into sent_ on the way up
  unsigned signatures_ = 0;
  unsigned sent_checks_ = 0;
};

}  // namespace sallyport
