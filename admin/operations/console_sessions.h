// Who is signed in to the console: a token is shown once, and a cookie of 256 random bits stands for it afterwards. Of
// the cookie its SHA-256 alone is kept, and what a change must carry beside it (the CSRF value) is made from it by a
// key of this process, so that nothing here signs anybody in. A session is never more than its token: role and end are
// asked for on every request. It ends 15 minutes after the last request that a person made, after 12 hours at most, by
// the wall clock or by the steady one; a restart ends all. Of fixed size. Any thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/http/http_server.h"
#include "admin/operations/access.h"
#include "admin/operations/sign_in_limits.h"
#include "cache/base/clock_watch.h"
#include "cache/base/log.h"

namespace sallyport {

class ConsoleSessions {
 public:
  static constexpr std::chrono::seconds kIdle{15 * 60}, kLongest{12 * 3600};
  static constexpr std::size_t kMostOfToken = 16, kMost = 1000;
  // Under TLS a browser takes it from this address alone: __Host- (RFC 6265bis, section 4.1.3.2).
  static constexpr std::string_view name_of_cookie(bool tls) {
    return tls ? "__Host-sallyport_console" : "sallyport_console";
  }

  struct Now {
    std::int64_t wall = 0, steady_ms = 0;
  };
  // `access` and `log` outlive it. `clock`: for tests.
  ConsoleSessions(const Access& access, Logger& log, std::function<Now()> clock = clock_of_the_machine);

  struct Session {
    std::string name;  // of the token
    bool operates = false;
    std::string csrf;
    std::int64_t ends_at = 0;  // Unix seconds, at the latest
  };

  // Of a request without Authorization: who it is, or why not. Both empty: nobody is signed in.
  struct Entry {
    std::optional<Session> session;
    std::optional<HttpResponse> refused;
  };
  Entry enter(const HttpRequest& request);
  // The same where time has passed since: a stream that goes on. Prolongs nothing.
  bool still_signed_in(const HttpRequest& request);

  struct SignedIn {
    std::string cookie;  // here and nowhere else
    Session session;
  };
  struct NotSignedIn {
    std::int64_t wait_seconds = 0;  // 0: the token is none; else too many were tried
    bool valid = false;             // it has signed in too often
  };
  std::optional<SignedIn> sign_in(std::string_view token, const HttpPeer& peer, NotSignedIn& why);
  void sign_out(const HttpRequest& request);
  void tick();  // about every second: says which ones have ended
  std::size_t size() const;

  // Why a request may not have come from our own page; nothing: it may. Also for a sign-in, which has no session yet.
  static std::optional<HttpResponse> refusal_of_origin(const HttpRequest& request);
  // The values of ours, of which there may be several: other servers of this host name can plant one.
  static constexpr std::size_t kMostCookies = 8;
  static std::vector<std::string> cookies_of(std::string_view header, bool tls);
  static Now clock_of_the_machine();

 private:
  struct Kept {
    Digest id{};               // SHA-256 of the cookie
    std::uint64_t number = 0;  // of its sign-in: they rise
    std::string name;
    Digest token{};
    std::string from;
    Lifetime idle, whole;
    std::int64_t ends_at = 0;
  };
  // `which`: the one that was found.
  std::list<Kept>::iterator find(const std::vector<std::string>& cookies, std::string& which);
  // Of one that is found and has not ended; it is taken out where it has.
  std::optional<Access::Holder> alive(std::list<Kept>::iterator kept, const Now& now);
  std::string csrf_of(const std::string& cookie) const;
  void end(std::list<Kept>::iterator kept, std::string_view why);
  void make_room(const std::string& name);

  const Access& access_;
  const std::function<Now()> clock_;
  std::array<std::uint8_t, 32> key_{};
  mutable std::mutex mutex_;
  Logger& log_;           // under the mutex: several workers, one producer
  std::list<Kept> kept_;  // whoever has been here last at its end
  SignInLimits limits_;
  std::uint64_t signed_in_ = 0;
};

}  // namespace sallyport
