#include "admin/operations/shared_ticket_keys.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "cache/registry/follower.h"
#include "cache/x509/certificate.h"

namespace sallyport {

namespace {

constexpr std::int64_t kRetrySeconds = 10;  // after a key file that cannot be read
constexpr std::int64_t kTurnSeconds = 2;    // after a turn that was not given

// What the sealed key is bound to: it opens tickets under this name alone.
std::string bound_to(const std::array<std::uint8_t, 16>& name) {
  return "sallyport ticket key " + to_hex(std::span(name));
}

}  // namespace

Answer<TicketKeyRow> seal_ticket_key(const TicketKey& key, const SealingKey& sealing) {
  TicketKeyRow row;
  row.name = key.name;
  row.made_at = key.made_at;
  std::string plain(key.cipher.size() + key.mac.size(), '\0');
  std::memcpy(plain.data(), key.cipher.data(), key.cipher.size());
  std::memcpy(plain.data() + key.cipher.size(), key.mac.data(), key.mac.size());
  auto sealed = sealing.seal(plain, bound_to(row.name));
  OPENSSL_cleanse(plain.data(), plain.size());
  if (!sealed) return sealed.error();
  row.sealed = std::move(*sealed);
  return row;
}

Answer<TicketKey> unseal_ticket_key(const TicketKeyRow& row, const SealingKey& sealing) {
  auto plain = sealing.unseal(row.sealed, bound_to(row.name));
  if (!plain) return plain.error();
  TicketKey key;
  const bool whole = plain->size() == key.cipher.size() + key.mac.size() && row.made_at != 0;
  if (whole) {
    key.name = row.name;
    key.made_at = row.made_at;
    std::memcpy(key.cipher.data(), plain->data(), key.cipher.size());
    std::memcpy(key.mac.data(), plain->data() + key.cipher.size(), key.mac.size());
  }
  OPENSSL_cleanse(plain->data(), plain->size());
  if (!whole) return Refusal{Refusal::Kind::Invalid, "it is of another version"};
  return key;
}

std::string SharedTicketKeys::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

void SharedTicketKeys::look(std::int64_t now) {
  if (config_.registry.shared.empty()) return;
  const std::string why = follow(now);
  if (!why.empty()) plane_.ticket_keys().part();
  {
    const std::lock_guard lock(mutex_);
    trouble_ = why;
  }
  warnings_.say(Warnings::Kind::KeyFile, "ticket keys",
                why.empty() ? why : why + ": a device resumes at the node alone that gave it its ticket");
}

std::string SharedTicketKeys::follow(std::int64_t now) {
  const std::string& path = config_.registry.key_file;
  if (path.empty()) return "registry.key_file is not set";
  if (!registrar_.shares_epochs()) return "the shared registry has schema 1: run `sallyport registry migrate`";
  if (path != sealing_of_ || (!sealing_ && now >= sealing_at_ + kRetrySeconds)) {
    auto key = SealingKey::load(path);
    sealing_ = key ? std::optional(*key) : std::nullopt;
    sealing_of_ = path;
    sealing_at_ = now;
    settings_seen_ = UINT64_MAX;
  }
  if (!sealing_) return path + ": this key cannot be used";
  const auto state = registrar_.shared_state();
  const std::int64_t ahead = state ? state->clock_ahead_us / 1'000'000 : 0;
  if (const std::uint64_t settings = registrar_.settings_changed(); settings != settings_seen_) {
    settings_seen_ = settings;
    take_trouble_ = take(now, ahead);
  }
  if (!take_trouble_.empty()) return take_trouble_;
  const bool due = newest_made_at_ == 0 || now + ahead - newest_made_at_ >= TicketKeys::kRotation;
  if (!due || !state || !state->connected || now < next_try_) return {};
  return make_next(now, ahead);
}

// Their ages are told by this machine's clock, which may not be PostgreSQL's.
std::string SharedTicketKeys::take(std::int64_t now, std::int64_t clock_ahead) {
  const auto rows = registrar_.ticket_keys();
  if (!rows) return rows.error().what;
  std::vector<TicketKey> keys;
  keys.reserve(TicketKeys::kSlots);  // what a vector outgrows is not wiped
  newest_made_at_ = rows->empty() ? 0 : rows->front().made_at;
  for (const TicketKeyRow& row : *rows) {
    if (keys.size() == TicketKeys::kSlots) break;
    auto key = unseal_ticket_key(row, *sealing_);
    if (!key) {
      return "registry.key_file is another one than the other nodes', or was changed: have one file everywhere, then "
             "run `sallyport ticket-keys rotate`";
    }
    key->made_at -= clock_ahead;
    keys.push_back(std::move(*key));
  }
  plane_.share_ticket_keys(keys, now);
  return {};
}

std::string SharedTicketKeys::make_next(std::int64_t now, std::int64_t clock_ahead) {
  next_try_ = now + kTurnSeconds;
  const auto make = [&](std::int64_t made_at) -> Answer<TicketKeyRow> {
    TicketKey key;
    const bool drawn = RAND_bytes(key.name.data(), static_cast<int>(key.name.size())) == 1 &&
                       RAND_priv_bytes(key.cipher.data(), static_cast<int>(key.cipher.size())) == 1 &&
                       RAND_priv_bytes(key.mac.data(), static_cast<int>(key.mac.size())) == 1;
    if (!drawn) return Refusal{Refusal::Kind::Unavailable, "the kernel gives no random bytes"};
    key.made_at = made_at;
    return seal_ticket_key(key, *sealing_);
  };
  const auto made = registrar_.rotate_ticket_keys({TicketKeys::kRotation, plane_.ticket_keys().life(), make});
  // While PostgreSQL is away the keys that there are go on.
  if (!made) return newest_made_at_ != 0 ? std::string() : made.error().what;
  if (*made) log_.info("ticket-keys", {{"what", "a new one for all nodes"}});
  settings_seen_ = registrar_.settings_changed();
  return take_trouble_ = take(now, clock_ahead);
}

}  // namespace sallyport
