// Who may do what over the network. Whoever may open the admin socket is the operator (its file mode decides);
// the TCP address asks for a token. Tokens are 256 random bits, kept as their SHA-256 alone, compared in
// constant time; each has a role and may end. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/http/http_server.h"
#include "cache/base/clock_watch.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"

namespace sallyport {

struct Caller {
  Actor actor;
  bool operates = false;  // may change things; else only read
  bool local = false;     // on the admin socket
};

struct TokenInfo {
  std::string name;
  bool operates = false;
  std::int64_t created_at = 0, expires_at = 0;  // 0: never
};

class Access {
 public:
  explicit Access(Registrar& registrar) : registrar_(registrar) {}
  Answer<void> load();  // before the first request
  // Another node made or revoked tokens.
  Answer<void> follow_others();

  static bool shows_token(const HttpRequest& request);  // valid or not
  // Nothing: the request shows no token that is valid now.
  std::optional<Caller> caller(const HttpRequest& request) const;

  // Whose token it is; nothing where there is none like it that is valid now. Constant time.
  struct Holder {
    std::string name;
    Digest hash{};
    bool operates = false;
    std::int64_t ends_at = 0;  // 0: never
  };
  std::optional<Holder> holder(std::string_view token) const;
  // The same token again, by its name; one that was revoked and made anew under that name is another.
  std::optional<Holder> still(const std::string& name, const Digest& hash) const;

  // The token itself is in the answer and nowhere else.
  struct Created {
    std::string token;
    TokenInfo info;
  };
  Answer<Created> create(const std::string& name, bool operates, std::int64_t ttl_seconds, const Actor& by);
  Answer<TokenInfo> revoke(const std::string& name, const Actor& by);
  // About every second: takes tokens that have ended out of the registry, as revoke() does. Ended once is ended for
  // ever, wherever the clock is set afterwards, and after a restart.
  void tick(std::int64_t now);
  std::vector<TokenInfo> list() const;

 private:
  Registrar& registrar_;
  struct Token {
    TokenRow row;
    std::optional<Lifetime> life;  // none: no end
  };
  static Token token_of(const TokenRow& row, std::int64_t now);
  static bool alive(Token& token, std::int64_t now);

  mutable std::mutex mutex_;
  mutable std::map<std::string, Token> tokens_;  // that one has ended is found when it is asked for
  std::mutex changing_;                          // one change at a time
  std::map<std::string, TokenInfo> undurable_;   // revoked, but for the disk; under changing_
};

}  // namespace sallyport
