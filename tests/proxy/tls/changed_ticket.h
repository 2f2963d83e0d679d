// A client's session whose ticket says something else, sealed again with the key that it was sealed with: so that a
// test needs neither to wait nor to set a clock.
#pragma once

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
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

// `change` must leave every text as long as it was.
template <class Change>
SessionPtr with_changed_ticket(const SSL_SESSION* session, const TicketKeys& keys, std::int64_t now, Change change) {
  const auto sealed = ticket_of(session);
  const auto opened = opened_session(sealed, keys, now);
  const auto key = keys.find(sealed.first(16), now);
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
