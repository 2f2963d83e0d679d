#include "proxy/tls13_server.h"

#include <algorithm>

#include "proxy/tls13_crypto.h"

namespace sallyport {

void Tls13Credentials::add(std::span<const Certificate> sent, const KeyPtr& key) {
  Tls13Credential made;
  switch (sent.front().key_type()) {
    case KeyType::EcP256: made.scheme = kEcdsaP256Sha256; break;
    case KeyType::Rsa: made.scheme = kRsaPssRsaeSha256; break;
    default: complete_ = false; return;
  }
  std::vector<std::vector<std::uint8_t>> ders;
  for (const Certificate& each : sent) ders.emplace_back(each.der().begin(), each.der().end());
  made.certificate = certificate(ders);
  EVP_PKEY_up_ref(key.get());
  made.key.reset(key.get());
  offered_.push_back(std::move(made));
  std::sort(offered_.begin(), offered_.end(), [](const auto& a, const auto& b) { return a.scheme < b.scheme; });
}

const Tls13Credential* Tls13Credentials::choose(const PlainHello& hello) const {
  if (!complete_) return nullptr;
  const auto found = std::find_if(offered_.begin(), offered_.end(),
                                  [&](const Tls13Credential& each) { return hello.offers(each.scheme); });
  return found == offered_.end() ? nullptr : &*found;
}

const Tls13Credential* Tls13Server::choose(const PlainHello& hello) const {
  const auto found = hello.server_name ? names->find(*hello.server_name) : std::nullopt;
  const std::size_t which = found.value_or(0);
  return which < credentials.size() ? credentials[which].choose(hello) : nullptr;
}

}  // namespace sallyport
