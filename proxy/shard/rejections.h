// The refusals of one shard, for `rejections`: the last one of each certificate and reason, and of each address that
// showed none; counted, with the first and the last time. Bounded, each kind by itself: certificates whose key was
// proven once, certificates that were only claimed (anybody can send one), and addresses. Whoever was not refused for
// longest makes room, and nobody pushes out others with what costs him nothing. The shard's thread alone.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/base/reason.h"
#include "cache/x509/certificate.h"

namespace sallyport {

struct Rejection {
  Reason reason = Reason::None;
  std::string listener;
  std::string peer;         // the last one's address and port
  std::string via;          // … of the balancer that named it; empty: none
  std::string_view what;    // the last one's, in words; static
  std::string subject;      // shortened()
  std::string issuer;       // of the certificate, or of what vouches for it here; shortened()
  std::string serial;       // hex
  std::string fingerprint;  // hex; empty: no certificate was seen
  bool claimed = false;     // the last one's peer did not prove that it has the certificate's key
  std::uint64_t count = 0;
  std::uint64_t claimed_count = 0;   // of those: how many were claimed
  std::int64_t first = 0, last = 0;  // Unix seconds

  // Which refusals are counted together: those for one reason, at one listener, of a certificate or of an address
  // (without its port), which is told apart by the words as well.
  std::string key() const {
    const std::string why = " " + std::string(to_string(reason)) + " " + listener;
    if (!fingerprint.empty()) return fingerprint + why;
    return peer.substr(0, peer.rfind(':')) + why + " " + std::string(what);
  }
};

class Rejections {
 public:
  static constexpr std::size_t kMost = 4096;  // of each kind

  void add(const Rejection& seen);
  std::vector<Rejection> all(std::size_t most = kMost) const;  // of each kind the last ones
  std::size_t text_bytes() const;                              // the memory that its texts take

 private:
  struct Kept {
    std::string key;
    Rejection rejection;
  };
  struct Shelf {
    std::list<Kept> kept;  // the newest first
    std::unordered_map<std::string, std::list<Kept>::iterator> by_key;
    bool take(const std::string& key, Rejection& known);  // false: it is not here
    void put(std::string key, Rejection rejection);
  };
  Shelf proven_, claimed_, without_;
};

// Of several shards, the last one first. One device may be refused by several: its last refusal for a reason stands for
// all of that reason, with their sum.
std::vector<Rejection> merged(std::vector<std::vector<Rejection>> parts);

}  // namespace sallyport
