#include "proxy/shard/device_sessions.h"

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

std::size_t DeviceSessions::devices() const {
  std::size_t all = 0;
  for (const Stripe& stripe : stripes_) {
    const std::lock_guard lock(stripe.mutex);
    all += stripe.entries.size();
  }
  return all;
}

}  // namespace sallyport
