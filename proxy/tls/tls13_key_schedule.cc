#include "proxy/tls/tls13_key_schedule.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <optional>

namespace sallyport {

namespace {

using Bytes = std::span<const std::uint8_t>;

const KdfHash* sha256() {
  static const KdfHash* const hash = kdf_hash("SHA2-256");
  return hash;
}

// Derive-Secret(Early Secret, "derived", ""), where there is no PSK: the same in every handshake.
Bytes derived_early_secret() {
  static const auto derived = [] {
    std::optional<TranscriptHash> made;
    TranscriptHash early, salt;
    const TranscriptHash zeros{};
    if (hmac(*sha256(), {}, zeros, early) && expand_label(early, "derived", sha256()->of_nothing_bytes(), salt)) {
      made = salt;
    }
    return made;
  }();
  return derived ? Bytes(*derived) : Bytes();
}

}  // namespace

bool Tls13KeySchedule::begin_with(const Secret256& ticket_secret) {
  Secret256 early;
  resumes_ = true;
  return hmac(*sha256(), {}, ticket_secret, early) &&
         expand_label(early, "derived", sha256()->of_nothing_bytes(), early_);
}

bool Tls13KeySchedule::derive_handshake(Bytes shared, Bytes and_behind) {
  struct Both : std::array<std::uint8_t, 64> {
    ~Both() { OPENSSL_cleanse(data(), size()); }
  } both;
  if (!and_behind.empty()) {
    if (shared.size() + and_behind.size() > both.size()) return false;
    const auto at = std::copy(shared.begin(), shared.end(), both.begin());
    const auto end = std::copy(and_behind.begin(), and_behind.end(), at);
    shared = {both.data(), static_cast<std::size_t>(end - both.begin())};
  }
  const Bytes salt = resumes_ ? Bytes(early_) : derived_early_secret();
  const TranscriptHash hash = transcript();
  return !salt.empty() && hmac(*sha256(), salt, shared, handshake_) &&
         expand_label(handshake_, "c hs traffic", hash, client_handshake_) &&
         expand_label(handshake_, "s hs traffic", hash, server_handshake_);
}

bool Tls13KeySchedule::derive_application() {
  const TranscriptHash zeros{};
  const TranscriptHash hash = transcript();
  Secret256 salt;
  return expand_label(handshake_, "derived", sha256()->of_nothing_bytes(), salt) &&
         hmac(*sha256(), salt, zeros, master_) && expand_label(master_, "c ap traffic", hash, client_application_) &&
         expand_label(master_, "s ap traffic", hash, server_application_);
}

bool Tls13KeySchedule::derive_ticket(Bytes nonce, Secret256& secret) const {
  Secret256 resumption;
  return expand_label(master_, "res master", transcript(), resumption) &&
         expand_label(resumption, "resumption", nonce, secret);
}

bool binder_mac(Bytes ticket_secret, Bytes hash, std::span<std::uint8_t> mac) {
  const std::size_t size = ticket_secret.size();
  const KdfHash* const kdf = size == Sha256::kBytes ? sha256() : kdf_hash("SHA2-384");
  if (kdf == nullptr || kdf->size != size || hash.size() != size || mac.size() != size) return false;
  KdfSecret early, key, finished;
  const auto of = [size](KdfSecret& secret) { return std::span<std::uint8_t>(secret).first(size); };
  return hmac(*kdf, {}, ticket_secret, of(early)) &&
         expand_label(of(early), "res binder", kdf->of_nothing_bytes(), of(key)) &&
         expand_label(of(key), "finished", of(finished)) && hmac(*kdf, of(finished), hash, mac);
}

bool finished_mac(const Secret256& secret, const TranscriptHash& hash, TranscriptHash& mac) {
  Secret256 key;
  return expand_label(secret, "finished", key) && hmac(*sha256(), key, hash, mac);
}

}  // namespace sallyport
