// Which labels of handshakes_total go together, so that its page shows what can be counted and no more.
#pragma once

#include <cstddef>

#include "proxy/data_plane.h"

namespace sallyport {

// By index into kTlsVersionNames and kHandshakeKindNames. RFC 5077: what resumes TLS 1.2 exchanges no keys, and is
// OpenSSL's; X25519MLKEM768 is of TLS 1.3 alone; our own handshakes have two curves.
inline bool can_be_counted(std::size_t version, std::size_t kind, TlsMaker by, KeyGroup group) {
  const bool tls12 = kTlsVersionNames[version] == "1.2";
  const bool resumed = static_cast<HandshakeKind>(kind) == HandshakeKind::Resumed;
  if (tls12 && resumed) return by == TlsMaker::Openssl && group == KeyGroup::None;
  if (group == KeyGroup::None || (tls12 && group == KeyGroup::X25519MlKem768)) return false;
  return by == TlsMaker::Openssl || (group != KeyGroup::P384 && group != KeyGroup::P521);
}

}  // namespace sallyport
