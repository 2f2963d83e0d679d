#include "proxy/tls13_key_schedule.h"

#include <openssl/crypto.h>

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
    if (sha256() != nullptr && hmac(*sha256(), {}, zeros, early) &&
        expand_label(early, "derived", sha256()->of_nothing_bytes(), salt)) {
      made = salt;
    }
    return made;
  }();
  return derived ? Bytes(*derived) : Bytes();
}

}  // namespace

Tls13Secret::~Tls13Secret() {
  OPENSSL_cleanse(data(), size());
}

bool Tls13KeySchedule::begin() {
  transcript_.reset(EVP_MD_CTX_new());
  return transcript_ && sha256() != nullptr && EVP_DigestInit_ex2(transcript_.get(), sha256()->md, nullptr) == 1;
}

bool Tls13KeySchedule::add(Bytes message) {
  return EVP_DigestUpdate(transcript_.get(), message.data(), message.size()) == 1;
}

bool Tls13KeySchedule::transcript(TranscriptHash& hash) const {
  thread_local const MdContextPtr copy(EVP_MD_CTX_new());
  return copy && EVP_MD_CTX_copy_ex(copy.get(), transcript_.get()) == 1 &&
         EVP_DigestFinal_ex(copy.get(), hash.data(), nullptr) == 1;
}

bool Tls13KeySchedule::derive_handshake(Bytes shared) {
  const Bytes salt = derived_early_secret();
  TranscriptHash hash;
  return !salt.empty() && transcript(hash) && hmac(*sha256(), salt, shared, handshake_) &&
         expand_label(handshake_, "c hs traffic", hash, client_handshake_) &&
         expand_label(handshake_, "s hs traffic", hash, server_handshake_);
}

bool Tls13KeySchedule::derive_application() {
  const TranscriptHash zeros{};
  TranscriptHash hash;
  Tls13Secret salt;
  return transcript(hash) && expand_label(handshake_, "derived", sha256()->of_nothing_bytes(), salt) &&
         hmac(*sha256(), salt, zeros, master_) && expand_label(master_, "c ap traffic", hash, client_application_) &&
         expand_label(master_, "s ap traffic", hash, server_application_);
}

bool Tls13KeySchedule::derive_ticket(Bytes nonce, Tls13Secret& secret) const {
  TranscriptHash hash;
  Tls13Secret resumption;
  return transcript(hash) && expand_label(master_, "res master", hash, resumption) &&
         expand_label(resumption, "resumption", nonce, secret);
}

bool finished_mac(const Tls13Secret& secret, const TranscriptHash& hash, TranscriptHash& mac) {
  Tls13Secret key;
  return expand_label(secret, "finished", key) && hmac(*sha256(), key, hash, mac);
}

}  // namespace sallyport
