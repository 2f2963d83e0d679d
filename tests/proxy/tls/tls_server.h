// The server's side of the TLS tests: a listener's TLS, and a verifier that says what it is told to.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/crypto/keys_unread.h"
#include "cache/crypto/openssl_alone.h"
#include "cache/x509/plain_leaf.h"
#include "proxy/tls/ticket_keys.h"
#include "proxy/tls/tls_context.h"
#include "proxy/tls/verifier.h"
#include "tests/cache/test_pki.h"

namespace sallyport::test {

class Says final : public Verifier {
 public:
  explicit Says(Reason reason) : reason_(reason) {}
  Verdict verify(const PeerChain& peer) override {
    ++asked;
    EXPECT_FALSE(KeysUnread::begun()) << "OpenSSL's default context is there for whoever decides";
    saw_leaf = peer.leaf != nullptr || peer.plain != nullptr;
    saw_behind.clear();
    for (const std::span<const std::uint8_t> der : peer.behind) saw_behind.emplace_back(der.begin(), der.end());
    Verdict verdict;
    verdict.reason = reason_;
    auto leaf = peer.leaf != nullptr ? Certificate::from_x509(peer.leaf) : Answer<Certificate>(Refusal{});
    verdict.identity = peer.plain != nullptr ? peer.plain->identity : leaf ? make_identity(*leaf) : Identity{};
    if (not_after) verdict.identity->not_after = *not_after;
    verdict.known = true;
    verdict.chain_id = 7;
    verdict.epoch = epoch;
    return verdict;
  }
  Verdict resume(const Identity& identity, std::uint64_t chain_id, std::uint32_t ticket_epoch) override {
    ++asked_to_resume;
    EXPECT_FALSE(KeysUnread::begun());
    came_back_epoch = ticket_epoch;
    came_back = identity;
    came_back_chain = chain_id;
    Verdict verdict;
    verdict.reason = on_resume;
    verdict.identity = identity;
    verdict.known = true;
    verdict.chain_id = chain_id;
    verdict.epoch = epoch;
    return verdict;
  }
  int asked = 0, asked_to_resume = 0;
  bool saw_leaf = false;
  std::optional<std::int64_t> not_after;  // in place of the certificate's
  std::vector<std::vector<std::uint8_t>> saw_behind;
  Reason on_resume = Reason::None;
  Identity came_back;
  std::uint64_t came_back_chain = 0;
  std::uint32_t epoch = 5, came_back_epoch = 0;

 private:
  Reason reason_;
};

// A listener's TLS with certificates on disk, as it is configured.
class Server {
 public:
  Server() : ca(make_ca("Server CA")) {
    if (openssl_alone()) config.tls_engine = TlsMadeBy::Openssl;  // as a file's listener follows [proxy]
  }

  void add(const std::string& names, Kind kind) {
    Leaf leaf;
    leaf.cn = "server";
    leaf.subject_alt_name = names;
    leaf.extended_key_usage = "serverAuth";
    const Identity509 made = make(leaf, &ca, make_key(kind));
    const std::string number = std::to_string(config.certificates.size());
    config.certificates.push_back({dir.write("chain" + number, made.certificate.pem() + ca.certificate.pem()),
                                   dir.write("key" + number, key_pem(made.key.get()))});
    leaves.push_back(made.certificate);
  }
  TlsContext& context() {
    if (!made_) {
      if (config.certificates.empty()) add("DNS:localhost", Kind::P256);
      if (config.name.empty()) config.name = "test";
      auto created = TlsContext::create(config, tickets);
      if (!created) ADD_FAILURE() << created.error().what;
      made_ = std::move(*created);
    }
    return *made_;
  }

  TempDir dir;
  Identity509 ca;
  ListenerConfig config;
  const TicketKeys* tickets = nullptr;
  std::vector<Certificate> leaves;

 private:
  std::unique_ptr<TlsContext> made_;
};

}  // namespace sallyport::test
