#include "admin/operations/sign_in_limits.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <iterator>

#include "cache/base/check.h"

namespace sallyport {

namespace {

constexpr std::int64_t kMinuteMs = 60'000;

// Seconds until one more fits; 0: it does, now.
std::int64_t wait_of(std::int64_t due, std::int64_t per_minute, std::int64_t now_ms) {
  const std::int64_t apart = kMinuteMs / per_minute;
  const std::int64_t early = due - now_ms - (per_minute - 1) * apart;
  return early <= 0 ? 0 : (early + 999) / 1000;
}

void take_one(std::int64_t& due, std::int64_t per_minute, std::int64_t now_ms) {
  due = std::max(due, now_ms) + kMinuteMs / per_minute;
}

}  // namespace

std::string SignInLimits::address_of(const std::string& peer) {
  const std::string address = peer.substr(0, peer.rfind(':'));
  in6_addr six{};
  if (::inet_pton(AF_INET6, address.c_str(), &six) != 1) return address;
  if (IN6_IS_ADDR_V4MAPPED(&six)) return address.substr(address.rfind(':') + 1);
  return {reinterpret_cast<const char*>(&six), 8};
}

std::int64_t SignInLimits::take(const std::string& peer, std::int64_t now_ms) {
  const std::string address = address_of(peer);
  const auto known = by_address_.find(address);
  const std::int64_t wait = std::max(wait_of(all_, kOfAll, now_ms),
                                     known == by_address_.end() ? 0 : wait_of(known->second, kOfAddress, now_ms));
  if (wait > 0) return wait;
  if (by_address_.size() >= kAddresses) forget(by_address_, now_ms);
  CHECK(by_address_.size() < kAddresses);
  take_one(all_, kOfAll, now_ms);
  take_one(by_address_[address], kOfAddress, now_ms);
  return 0;
}

std::int64_t SignInLimits::take_of_token(const std::string& name, std::int64_t now_ms) {
  const auto known = by_token_.find(name);
  const std::int64_t wait = known == by_token_.end() ? 0 : wait_of(known->second, kOfToken, now_ms);
  if (wait > 0) return wait;
  // A registry may have more tokens than this. Whose times are forgotten begins anew.
  if (by_token_.size() >= kTokens) forget(by_token_, now_ms);
  if (by_token_.size() >= kTokens) by_token_.erase(by_token_.begin());
  take_one(by_token_[name], kOfToken, now_ms);
  return 0;
}

static_assert(SignInLimits::kAddresses > 2 * SignInLimits::kOfAll);

// Those that may try as often as ever. What all together may try in a minute leaves far fewer than kAddresses others.
void SignInLimits::forget(std::unordered_map<std::string, Due>& all, std::int64_t now_ms) {
  for (auto each = all.begin(); each != all.end();) {
    each = each->second <= now_ms ? all.erase(each) : std::next(each);
  }
}

}  // namespace sallyport
