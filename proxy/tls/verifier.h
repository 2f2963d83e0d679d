// Who decides, inside a TLS handshake, whether the peer may come in: the session asks the device gate.
#pragma once

#include <cstdint>

#include "cache/base/result.h"
#include "cache/standing/device_gate.h"

namespace sallyport {

// Asked once in a full handshake of a mutual listener, when the client's certificate has arrived, before
// the possession of its key is proven (CertificateVerify follows in the same flight).
class Verifier {
 public:
  virtual ~Verifier() = default;
  virtual Verdict verify(const PeerChain& peer) = 0;
  // Asked when a ticket came back: the device's standing now, and whether it was lost since `epoch` (Verdict::epoch).
  // Anything but admission declines the ticket.
  virtual Verdict resume(const Identity&, std::uint64_t /*chain_id*/, std::uint32_t /*epoch*/) {
    return {.reason = Reason::NotRegistered};
  }
};

// How a handshake ends that the verdict refused; with the words that `explain` has.
inline Error refused_for(const Verdict& verdict) {
  return {Origin::Client, verdict.reason, 0,
          verdict.why.empty() ? std::string_view("the device's certificate was refused") : verdict.why};
}

}  // namespace sallyport
