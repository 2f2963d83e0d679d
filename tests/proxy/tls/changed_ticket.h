// A client's session whose ticket says something else, sealed again with the key that it was sealed with: so that a
// test needs neither to wait nor to set a clock.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/tls/ticket.h"
#include "proxy/tls/ticket_keys.h"
#include "proxy/tls/tls_session_ticket.h"

namespace sallyport::test {

inline std::span<const std::uint8_t> ticket_of(const SSL_SESSION* session) {
  const unsigned char* ticket = nullptr;
  std::size_t length = 0;
  SSL_SESSION_get0_ticket(session, &ticket, &length);
  return {ticket, length};
}

inline Ticket said_in(const SSL_SESSION* session, const TicketKeys& keys, std::int64_t now) {
  const auto opened = opened_session(ticket_of(session), keys, now);
  void* data = nullptr;
  std::size_t length = 0;
  EXPECT_TRUE(opened && SSL_SESSION_get0_ticket_appdata(opened.get(), &data, &length) == 1);
  const auto ticket = decode_ticket({static_cast<const char*>(data), length});
  EXPECT_TRUE(ticket);
  return ticket.value_or(Ticket{});
}

// All that was sealed, the peer's certificate too, where opened_session() leaves it out.
inline SessionPtr whole_session(std::span<const std::uint8_t> sealed, const TicketKey& key) {
  constexpr std::size_t kName = 16, kIv = 16, kMac = 32;
  std::vector<std::uint8_t> der(sealed.size());
  const std::unique_ptr<EVP_CIPHER_CTX, OpensslFree<&EVP_CIPHER_CTX_free>> cipher(EVP_CIPHER_CTX_new());
  int whole = 0, last = 0;
  EXPECT_EQ(EVP_DecryptInit_ex2(cipher.get(), ticket_cipher(), key.cipher.data(), &sealed[kName], nullptr), 1);
  EXPECT_EQ(EVP_DecryptUpdate(cipher.get(), der.data(), &whole, &sealed[kName + kIv],
                              static_cast<int>(sealed.size() - kName - kIv - kMac)),
            1);
  EXPECT_EQ(EVP_DecryptFinal_ex(cipher.get(), der.data() + whole, &last), 1);
  const unsigned char* from = der.data();
  return SessionPtr(d2i_SSL_SESSION(nullptr, &from, whole + last));
}

// `change` must leave every text as long as it was.
template <class Change>
SessionPtr with_changed_ticket(const SSL_SESSION* session, const TicketKeys& keys, std::int64_t now, Change change) {
  const auto sealed = ticket_of(session);
  const auto key = keys.find(sealed.first(16), now);
  const auto opened = whole_session(sealed, *key);
  Ticket said = said_in(session, keys, now);
  change(said);
  const std::string body = encode_ticket(said);
  EXPECT_EQ(SSL_SESSION_set1_ticket_appdata(opened.get(), body.data(), body.size()), 1);
  const std::vector<std::uint8_t> again = sealed_session(opened.get(), *key);
  EXPECT_EQ(again.size(), sealed.size());
  unsigned char* der = nullptr;
  const int length = i2d_SSL_SESSION(session, &der);
  const auto at = std::search(der, der + length, sealed.begin(), sealed.end());
  EXPECT_NE(at, der + length);
  std::copy(again.begin(), again.end(), at);
  const unsigned char* from = der;
  SessionPtr changed(d2i_SSL_SESSION(nullptr, &from, length));
  OPENSSL_free(der);
  EXPECT_TRUE(changed);
  return changed;
}

}  // namespace sallyport::test
