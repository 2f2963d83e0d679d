#include "admin/operations/console_sessions.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <ctime>
#include <iterator>

#include "cache/base/check.h"
#include "cache/crypto/hkdf.h"
#include "cache/crypto/sha2.h"

namespace sallyport {

namespace {

using Random = std::array<std::uint8_t, 32>;

std::optional<Random> random_bytes() {
  Random random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) return std::nullopt;
  return random;
}

bool same_text(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool only_reads(const std::string& method) {
  return method == "GET" || method == "HEAD";
}

}  // namespace

ConsoleSessions::Now ConsoleSessions::clock_of_the_machine() {
  const auto steady = std::chrono::steady_clock::now().time_since_epoch();
  return {std::time(nullptr), std::chrono::duration_cast<std::chrono::milliseconds>(steady).count()};
}

ConsoleSessions::ConsoleSessions(const Access& access, Logger& log, std::function<Now()> clock)
    : access_(access), clock_(std::move(clock)), log_(log) {
  const auto random = random_bytes();
  CHECK(random);  // a process that the kernel gives none has no TLS either
  key_ = *random;
}

// RFC 6265, section 4.2.1: NAME=VALUE; NAME=VALUE.
std::vector<std::string> ConsoleSessions::cookies_of(std::string_view header, bool tls) {
  std::vector<std::string> all;
  while (!header.empty() && all.size() < kMostCookies) {
    const std::size_t end = header.find(';');
    std::string_view pair = header.substr(0, end);
    header = end == std::string_view::npos ? std::string_view() : header.substr(end + 1);
    while (!pair.empty() && (pair.front() == ' ' || pair.front() == '\t')) pair.remove_prefix(1);
    const std::size_t equals = pair.find('=');
    if (equals != std::string_view::npos && equals + 1 < pair.size() && pair.substr(0, equals) == name_of_cookie(tls)) {
      all.emplace_back(pair.substr(equals + 1));
    }
  }
  return all;
}

// A browser says from where a request comes by Sec-Fetch-Site, over TLS and on loopback; an older one by Origin. Under
// TLS a name that was made to lead here fails by the certificate.
std::optional<HttpResponse> ConsoleSessions::refusal_of_origin(const HttpRequest& request) {
  if (!request.peer.tls && is_foreign_host(request.host)) {
    return problem(421, "foreign-host", "here is the console of this address and localhost, by no other name");
  }
  bool ours = request.fetch_site == "same-origin" || (request.fetch_site == "none" && only_reads(request.method));
  if (request.fetch_site.empty()) {
    ours = request.origin.empty() || request.origin == (request.peer.tls ? "https://" : "http://") + request.host;
  }
  if (ours) return std::nullopt;
  return problem(403, "cross-site", "this request does not come from the console's own page");
}

std::string ConsoleSessions::csrf_of(const std::string& cookie) const {
  Digest mac{};
  const Bytes text(reinterpret_cast<const std::uint8_t*>(cookie.data()), cookie.size());
  CHECK(hmac(*kdf_hash("SHA256"), key_, text, mac));
  return to_hex(mac);
}

// Every session is compared, each in constant time. Over plain HTTP any other server of this host name can plant a
// cookie of ours beside ours: the last one that was signed in counts.
std::list<ConsoleSessions::Kept>::iterator ConsoleSessions::find(const std::vector<std::string>& cookies,
                                                                 std::string& which) {
  auto found = kept_.end();
  for (const std::string& cookie : cookies) {
    const Digest id = Sha256::of(cookie);
    for (auto each = kept_.begin(); each != kept_.end(); ++each) {
      if (CRYPTO_memcmp(each->id.data(), id.data(), id.size()) != 0) continue;
      if (found != kept_.end() && found->number > each->number) continue;
      found = each;
      which = cookie;
    }
  }
  return found;
}

void ConsoleSessions::end(std::list<Kept>::iterator kept, std::string_view why) {
  log_.info("console-sign-out", {{"who", kept->name}, {"from", kept->from}, {"why", why}});
  kept_.erase(kept);
}

std::optional<Access::Holder> ConsoleSessions::alive(std::list<Kept>::iterator kept, const Now& now) {
  const auto holder = access_.still(kept->name, kept->token);
  const std::int64_t steady = now.steady_ms / 1000;
  if (!holder) return end(kept, "its token is revoked or over"), std::nullopt;
  if (kept->whole.over(now.wall, steady)) return end(kept, "its time is over"), std::nullopt;
  if (kept->idle.over(now.wall, steady)) return end(kept, "idle"), std::nullopt;
  return holder;
}

ConsoleSessions::Entry ConsoleSessions::enter(const HttpRequest& request) {
  const std::vector<std::string> cookies = cookies_of(request.cookie, request.peer.tls);
  if (cookies.empty()) return {};
  if (auto refused = refusal_of_origin(request)) return {std::nullopt, std::move(refused)};
  const Now now = clock_();
  const std::lock_guard lock(mutex_);
  std::string cookie;
  const auto kept = find(cookies, cookie);
  if (kept == kept_.end()) return {};
  const auto holder = alive(kept, now);
  if (!holder) return {};
  std::optional<Session> session(Session{holder->name, holder->operates, csrf_of(cookie), kept->ends_at});
  if (!only_reads(request.method) && !same_text(request.csrf, session->csrf)) {
    return {std::move(session), problem(403, "csrf",
                                        "a change that a cookie signs in takes the header X-Sallyport-CSRF with what "
                                        "the sign-in answered")};
  }
  if (!request.background) {
    kept->idle = Lifetime(now.wall + kIdle.count(), now.wall, now.steady_ms / 1000);
    kept_.splice(kept_.end(), kept_, kept);
  }
  return {std::move(session), std::nullopt};
}

bool ConsoleSessions::still_signed_in(const HttpRequest& request) {
  const Now now = clock_();
  const std::lock_guard lock(mutex_);
  std::string cookie;
  const auto kept = find(cookies_of(request.cookie, request.peer.tls), cookie);
  return kept != kept_.end() && alive(kept, now).has_value();
}

void ConsoleSessions::make_room(const std::string& name) {
  const auto of_token = [&](const Kept& each) { return each.name == name; };
  if (static_cast<std::size_t>(std::count_if(kept_.begin(), kept_.end(), of_token)) >= kMostOfToken) {
    end(std::find_if(kept_.begin(), kept_.end(), of_token), "another sign-in of its token");
  }
  if (kept_.size() >= kMost) end(kept_.begin(), "another sign-in");
}

std::optional<ConsoleSessions::SignedIn> ConsoleSessions::sign_in(std::string_view token, const HttpPeer& peer,
                                                                  NotSignedIn& why) {
  const Now now = clock_();
  const std::lock_guard lock(mutex_);
  const auto holder = access_.holder(token);
  if (!holder) {
    why.wait_seconds = limits_.take(peer.from, now.steady_ms);
    if (why.wait_seconds == 0) {
      log_.warn("console-refused", {{"from", peer.from}, {"why", "it is none that is valid now"}});
    }
    return std::nullopt;
  }
  why.wait_seconds = limits_.take_of_token(holder->name, now.steady_ms);
  why.valid = true;
  if (why.wait_seconds > 0) return std::nullopt;
  const auto random = random_bytes();
  if (!random) return std::nullopt;
  make_room(holder->name);
  SignedIn made{to_hex(*random), {holder->name, holder->operates, "", now.wall + kLongest.count()}};
  if (holder->ends_at != 0) made.session.ends_at = std::min(made.session.ends_at, holder->ends_at);
  made.session.csrf = csrf_of(made.cookie);
  const std::int64_t steady = now.steady_ms / 1000;
  kept_.push_back({Sha256::of(made.cookie), ++signed_in_, holder->name, holder->hash, peer.from,
                   Lifetime(now.wall + kIdle.count(), now.wall, steady),
                   Lifetime(now.wall + kLongest.count(), now.wall, steady), made.session.ends_at});
  log_.info("console-sign-in", {{"who", holder->name}, {"from", peer.from}});
  return made;
}

void ConsoleSessions::sign_out(const HttpRequest& request) {
  const std::lock_guard lock(mutex_);
  std::string cookie;
  const auto kept = find(cookies_of(request.cookie, request.peer.tls), cookie);
  if (kept != kept_.end()) end(kept, "asked");
}

void ConsoleSessions::tick() {
  const Now now = clock_();
  const std::lock_guard lock(mutex_);
  for (auto each = kept_.begin(); each != kept_.end();) {
    const auto at = each++;
    (void)alive(at, now);
  }
}

std::size_t ConsoleSessions::size() const {
  const std::lock_guard lock(mutex_);
  return kept_.size();
}

}  // namespace sallyport
