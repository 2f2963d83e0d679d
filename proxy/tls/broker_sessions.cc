#include "proxy/tls/broker_sessions.h"

#include <openssl/x509.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace sallyport {

void BrokerSessions::keep(const std::string& server, SSL_SESSION* session, const Proof& proof) {
  SessionPtr copy(SSL_SESSION_dup(session));
  const std::lock_guard lock(mutex_);
  if (copy) by_server_[server] = {std::move(copy), proof, ++kept_};
}

BrokerSessions::Kept BrokerSessions::last(const std::string& server, std::int64_t now) {
  const std::lock_guard lock(mutex_);
  const auto found = by_server_.find(server);
  if (found == by_server_.end()) return {};
  const Kept& kept = found->second;
  const Proof& proof = kept.proof;
  // Where the wall clock was set back nobody knows how long it was.
  if (now > proof.good_until || now < proof.made_at || now - proof.made_at >= kLongestS) {
    by_server_.erase(found);
    return {};
  }
  return {SessionPtr(SSL_SESSION_dup(kept.session.get())), proof, kept.number};
}

void BrokerSessions::forget(const std::string& server, std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  const auto found = by_server_.find(server);
  if (found != by_server_.end() && found->second.number == number) by_server_.erase(found);
}

BrokerSessions::Proof BrokerSessions::proof_of(const SSL* ssl, std::int64_t now) {
  Proof proof{now, INT64_MAX};
  const STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);
  if (chain == nullptr) return {now, 0};
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    std::tm ends{};
    const bool read = ASN1_TIME_to_tm(X509_get0_notAfter(sk_X509_value(chain, i)), &ends) == 1;
    proof.good_until = std::min(proof.good_until, read ? static_cast<std::int64_t>(::timegm(&ends)) : 0);
  }
  return proof;
}

}  // namespace sallyport
