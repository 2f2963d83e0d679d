#include "proxy/tls/handshake_server.h"

#include <algorithm>

#include "proxy/tls/tls12_messages.h"
#include "proxy/tls/tls13_messages.h"

namespace sallyport {

void ServerCredentials::add(std::span<const Certificate> sent, const KeyPtr& key) {
  std::uint16_t scheme = 0;
  switch (sent.front().key_type()) {
    case KeyType::EcP256: scheme = kEcdsaP256Sha256; break;
    case KeyType::Rsa: scheme = kRsaPssRsaeSha256; break;
    default: complete_ = false; return;
  }
  std::vector<std::vector<std::uint8_t>> ders;
  for (const Certificate& each : sent) ders.emplace_back(each.der().begin(), each.der().end());
  offered_.push_back({TranscriptSigner(key.get(), scheme), certificate(ders), certificate12(ders)});
  std::sort(offered_.begin(), offered_.end(),
            [](const auto& a, const auto& b) { return a.signer.scheme() < b.signer.scheme(); });
}

const ServerCredential* ServerCredentials::choose(const PlainHello& hello) const {
  if (!complete_) return nullptr;
  const auto found = std::find_if(offered_.begin(), offered_.end(),
                                  [&](const ServerCredential& each) { return hello.offers(each.signer.scheme()); });
  return found == offered_.end() ? nullptr : &*found;
}

// RFC 5246, sections 7.4.2 and 7.4.3; RFC 8422, section 5.1: suite, signature and curve must all be the client's.
const ServerCredential* ServerCredentials::choose(const PlainHello12& hello) const {
  if (!complete_) return nullptr;
  const auto found = std::find_if(offered_.begin(), offered_.end(), [&](const ServerCredential& each) {
    return each.signer.scheme() == kEcdsaP256Sha256 ? hello.ecdsa : hello.rsa;
  });
  if (found == offered_.end() || !hello.offers(found->signer.scheme())) return nullptr;
  return found->signer.scheme() != kEcdsaP256Sha256 || hello.p256 ? &*found : nullptr;
}

}  // namespace sallyport
