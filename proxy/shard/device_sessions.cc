#include "proxy/shard/device_sessions.h"

#include <algorithm>
#include <cstring>

#include "cache/base/check.h"

namespace sallyport {

namespace {

std::uint64_t key_of(const Digest& device) {
  std::uint64_t key = 0;
  std::memcpy(&key, device.data(), sizeof key);
  return key;
}

}  // namespace

DevicePlace DeviceSessions::enter(const Digest& device, std::uint64_t most) {
  const std::uint64_t key = key_of(device);
  Stripe& stripe = stripe_of(key);
  const std::lock_guard lock(stripe.mutex);
  Entry& entry = stripe.entries[key];
  if (most == 0 || entry.sessions < most) {
    ++entry.sessions;
    return DevicePlace::Taken;
  }
  if (entry.to_be_told == kToBeTold) return DevicePlace::Refused;
  ++entry.to_be_told;
  return DevicePlace::ToBeTold;
}

void DeviceSessions::leave(const Digest& device, DevicePlace place) {
  if (place == DevicePlace::Refused) return;
  const std::uint64_t key = key_of(device);
  Stripe& stripe = stripe_of(key);
  const std::lock_guard lock(stripe.mutex);
  const auto found = stripe.entries.find(key);
  CHECK(found != stripe.entries.end());
  std::uint32_t& count = place == DevicePlace::Taken ? found->second.sessions : found->second.to_be_told;
  CHECK(count > 0);
  --count;
  if (found->second.sessions == 0 && found->second.to_be_told == 0) stripe.entries.erase(found);
}

bool DeviceSessions::use(const Digest& device, const sockaddr_storage& peer, std::string_view client_id, bool refuse,
                         DeviceUse& use) {
  use.address = static_cast<std::uint32_t>(hash_.hash64(client_network(peer)));
  use.client_id = static_cast<std::uint32_t>(
      hash_.hash64({reinterpret_cast<const std::uint8_t*>(client_id.data()), client_id.size()}));
  const std::uint64_t key = key_of(device);
  Stripe& stripe = stripe_of(key);
  const std::lock_guard lock(stripe.mutex);
  const auto found = stripe.entries.find(key);
  CHECK(found != stripe.entries.end() && found->second.sessions > 0);
  Entry& entry = found->second;
  Counted* same = entry.first.sessions > 0 && entry.first.use.same(use) ? &entry.first : nullptr;
  bool differs = entry.first.sessions > 0 && same == nullptr;
  if (entry.others) {
    for (Counted& each : *entry.others) {
      if (each.use.same(use)) {
        same = &each;
      } else {
        differs = true;
      }
    }
  }
  if (differs && refuse) return true;
  use.order = ++stripe.uses;
  if (same != nullptr) {
    ++same->sessions;
  } else if (entry.first.sessions == 0) {
    entry.first = {use, 1};
  } else {
    if (!entry.others) entry.others = std::make_unique<std::vector<Counted>>();
    entry.others->push_back({use, 1});
  }
  return differs;
}

void DeviceSessions::unuse(const Digest& device, const DeviceUse& use) {
  const std::uint64_t key = key_of(device);
  Stripe& stripe = stripe_of(key);
  const std::lock_guard lock(stripe.mutex);
  const auto found = stripe.entries.find(key);
  CHECK(found != stripe.entries.end());
  Entry& entry = found->second;
  if (entry.first.sessions > 0 && entry.first.use.same(use)) {
    --entry.first.sessions;
    return;
  }
  CHECK(entry.others != nullptr);
  const auto counted =
      std::find_if(entry.others->begin(), entry.others->end(), [&](const Counted& each) { return each.use.same(use); });
  CHECK(counted != entry.others->end());
  if (--counted->sessions == 0) entry.others->erase(counted);
  if (entry.others->empty()) entry.others.reset();
}

bool DeviceSessions::cloned(const Digest& device) {
  const std::uint64_t key = key_of(device);
  Stripe& stripe = stripe_of(key);
  const std::lock_guard lock(stripe.mutex);
  const auto found = stripe.entries.find(key);
  if (found == stripe.entries.end() || !found->second.others) return false;
  return found->second.others->size() + (found->second.first.sessions > 0 ? 1 : 0) > 1;
}

std::size_t DeviceSessions::devices() const {
  std::size_t all = 0;
  for (const Stripe& stripe : stripes_) {
    const std::lock_guard lock(stripe.mutex);
    all += stripe.entries.size();
  }
  return all;
}

}  // namespace sallyport
