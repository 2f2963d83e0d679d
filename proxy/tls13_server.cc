#include "proxy/tls13_server.h"

#include <algorithm>

namespace sallyport {

void Tls13Credentials::add(std::span<const Certificate> sent, const KeyPtr& key) {
  std::uint16_t scheme = 0;
  switch (sent.front().key_type()) {
    case KeyType::EcP256: scheme = kEcdsaP256Sha256; break;
    case KeyType::Rsa: scheme = kRsaPssRsaeSha256; break;
    default: complete_ = false; return;
  }
  std::vector<std::vector<std::uint8_t>> ders;
  for (const Certificate& each : sent) ders.emplace_back(each.der().begin(), each.der().end());
  offered_.push_back({TranscriptSigner(key.get(), scheme), certificate(ders)});
  std::sort(offered_.begin(), offered_.end(),
            [](const auto& a, const auto& b) { return a.signer.scheme() < b.signer.scheme(); });
}

const Tls13Credential* Tls13Credentials::choose(const PlainHello& hello) const {
  if (!complete_) return nullptr;
  const auto found = std::find_if(offered_.begin(), offered_.end(),
                                  [&](const Tls13Credential& each) { return hello.offers(each.signer.scheme()); });
  return found == offered_.end() ? nullptr : &*found;
}

const Tls13Credential* Tls13Server::choose(const PlainHello& hello) const {
  const auto found = hello.server_name ? names->find(*hello.server_name) : std::nullopt;
  const std::size_t which = found.value_or(0);
  return which < credentials.size() ? credentials[which].choose(hello) : nullptr;
}

}  // namespace sallyport
