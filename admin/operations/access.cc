#include "admin/operations/access.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "cache/crypto/sha2.h"
#include "cache/registry/follower.h"

namespace sallyport {

namespace {

constexpr std::size_t kMostTokens = 1000;
constexpr std::string_view kPrefix = "sallyport_";  // so that a scanner of leaked secrets can tell what it is

TokenInfo info_of(const std::string& name, const TokenRow& row) {
  return {name, row.operates, row.created_at, row.expires_at};
}

bool good_name(const std::string& name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '@';
  });
}

// What stands behind "Bearer ". RFC 9110, section 11.1: the scheme's case says nothing.
std::optional<std::string_view> token_in(std::string_view authorization) {
  constexpr std::string_view kScheme = "Bearer ";
  const bool bearer = authorization.size() > kScheme.size() &&
                      std::equal(kScheme.begin(), kScheme.end(), authorization.begin(),
                                 [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
  if (!bearer) return std::nullopt;
  return authorization.substr(kScheme.size());
}

}  // namespace

bool Access::shows_token(const HttpRequest& request) {
  return token_in(request.authorization).has_value();
}

Answer<void> Access::load() {
  const auto stored = registrar_.tokens();
  if (!stored) return stored.error();
  const std::lock_guard lock(mutex_);
  for (const auto& [name, row] : *stored) tokens_.insert_or_assign(name, token_of(row, std::time(nullptr)));
  return {};
}

Answer<void> Access::follow_others() {
  const std::lock_guard changing(changing_);
  const auto stored = registrar_.tokens();
  if (!stored) return stored.error();
  std::map<std::string, Token> next;
  const std::lock_guard lock(mutex_);
  for (const auto& [name, row] : *stored) {
    // One that was here already keeps what is known of its end, wherever the clock was set meanwhile.
    const auto here = tokens_.find(name);
    const bool same = here != tokens_.end() && here->second.row.hash == row.hash;
    next.emplace(name, same ? here->second : token_of(row, std::time(nullptr)));
  }
  tokens_ = std::move(next);
  return {};
}

Access::Token Access::token_of(const TokenRow& row, std::int64_t now) {
  if (row.expires_at == 0) return {row, {}};
  return {row, Lifetime(row.expires_at, now, steady_seconds())};
}

bool Access::alive(Token& token, std::int64_t now) {
  return !token.life || !token.life->over(now, steady_seconds());
}

void Access::tick(std::int64_t now) {
  std::vector<std::string> over;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [name, token] : tokens_) {
      if (!alive(token, now)) over.push_back(name);
    }
  }
  // Also where the disk does not take it: out of memory it is, and the ledger owes the rest.
  for (const std::string& name : over) (void)revoke(name, {"its end", "-"});
}

std::optional<Caller> Access::caller(const HttpRequest& request) const {
  if (request.peer.local) return Caller{{request.peer.name, request.peer.from}, true, true};
  const auto given = token_in(request.authorization);
  if (!given) return std::nullopt;
  const auto found = holder(*given);
  if (!found) return std::nullopt;
  return Caller{{found->name, request.peer.from}, found->operates, false};
}

std::optional<Access::Holder> Access::holder(std::string_view given) const {
  const Digest hash = Sha256::of(given);
  const std::int64_t now = std::time(nullptr);
  std::optional<Holder> found;
  const std::lock_guard lock(mutex_);
  // Every token is compared, each in constant time: the answer's delay tells nothing.
  for (auto& [name, token] : tokens_) {
    const bool same = CRYPTO_memcmp(token.row.hash.data(), hash.data(), hash.size()) == 0;
    if (same && alive(token, now)) found = Holder{name, token.row.hash, token.row.operates, token.row.expires_at};
  }
  return found;
}

std::optional<Access::Holder> Access::still(const std::string& name, const Digest& hash) const {
  const std::int64_t now = std::time(nullptr);
  const std::lock_guard lock(mutex_);
  const auto found = tokens_.find(name);
  if (found == tokens_.end() || found->second.row.hash != hash || !alive(found->second, now)) return std::nullopt;
  const TokenRow& row = found->second.row;
  return Holder{name, row.hash, row.operates, row.expires_at};
}

Answer<Access::Created> Access::create(const std::string& name, bool operates, std::int64_t ttl_seconds,
                                       const Actor& by) {
  if (!good_name(name)) {
    return Refusal{Refusal::Kind::Invalid, "a token's name has 1 to 64 letters, digits, '-', '_', '.' or '@'"};
  }
  const std::lock_guard changing(changing_);
  {
    const std::lock_guard lock(mutex_);
    if (tokens_.count(name) != 0) {
      return Refusal{Refusal::Kind::Conflict, "there is a token '" + name + "': revoke it first, or take another name"};
    }
    if (tokens_.size() >= kMostTokens) {
      return Refusal{Refusal::Kind::Conflict, "there are 1,000 tokens: revoke those that are not used"};
    }
  }
  std::array<std::uint8_t, 32> random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) {
    return Refusal{Refusal::Kind::Unavailable, "the kernel gives no random bytes"};
  }
  Created created{std::string(kPrefix) + to_hex(random), {}};
  TokenRow row;
  row.hash = Sha256::of(created.token);
  row.operates = operates;
  row.created_at = std::time(nullptr);
  row.expires_at = ttl_seconds == 0 ? 0 : row.created_at + ttl_seconds;
  created.info = info_of(name, row);
  if (const auto stored = registrar_.put_token(name, row, by); !stored) return stored.error();
  undurable_.erase(name);  // one of this name was revoked, and written before this one was
  const std::lock_guard lock(mutex_);
  tokens_.insert_or_assign(name, token_of(row, row.created_at));
  return created;
}

// Out of memory first: a revoked token opens nothing more, whatever the disk says. Revoking it again says whether the
// disk has taken it meanwhile.
Answer<TokenInfo> Access::revoke(const std::string& name, const Actor& by) {
  const std::lock_guard changing(changing_);
  TokenInfo info;
  std::optional<Token> was;
  const auto before = undurable_.find(name);
  const bool again = before != undurable_.end();
  if (again) {
    info = before->second;
  } else {
    const std::lock_guard lock(mutex_);
    const auto found = tokens_.find(name);
    if (found == tokens_.end()) return Refusal{Refusal::Kind::NotFound, "there is no token '" + name + "'"};
    info = info_of(name, found->second.row);
    was = found->second;
    tokens_.erase(found);
  }
  if (const auto removed = registrar_.remove_token(name, again, by); !removed) {
    if (registrar_.shared_state()) {  // refused: it is valid on every node, this one as well
      const std::lock_guard lock(mutex_);
      if (was) tokens_.emplace(name, *was);
      return removed.error();
    }
    undurable_[name] = info;
    return removed.error();
  }
  undurable_.erase(name);
  return info;
}

std::vector<TokenInfo> Access::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<TokenInfo> all;
  for (const auto& [name, token] : tokens_) all.push_back(info_of(name, token.row));
  return all;
}

}  // namespace sallyport
