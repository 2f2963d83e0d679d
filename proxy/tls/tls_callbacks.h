// What OpenSSL calls back into: the custom BIO of an engine, the verify callback, and what a ticket asks of
// its engine. Included by the tls_*.cc files alone.
#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "cache/standing/device_gate.h"
#include "proxy/tls/ticket.h"

namespace sallyport {

class ServerNames;

// What a ticket that is about to be issued may say.
struct Ticketed {
  bool mutual = false;
  const Verdict* verdict = nullptr;   // of a mutual listener; null: nobody decided
  std::string_view server_name;       // as Ticket has it
  std::int64_t authenticated_at = 0;  // as Ticket has it; 0: now
};

// X25519 first: a P-256 exchange costs 60 us more. The others are last and only there because OpenSSL refuses a TLS 1.2
// client certificate on a curve that is not in this list.
inline constexpr const char* kGroups = "X25519:P-256:P-384:P-521";
// For a client that has sent a share for it. Nobody is asked for one: a HelloRetryRequest would cost a round trip.
inline constexpr const char* kPostQuantumGroups = "X25519MLKEM768:X25519:P-256:P-384:P-521";

struct TlsCallbacks {
  struct Chooser {
    const ServerNames* names = nullptr;
    std::vector<SSL_CTX*> contexts;
  };

  // Makes handshakes from `context` ask the engine's Verifier (mutual) or ask for no certificate.
  static void install(SSL_CTX* context, bool mutual);
  // A BIO that reads what was lent to the engine and appends to its output. Null when out of memory.
  static BIO* make_bio(void* engine);

  static Ticketed ticketed(const SSL* ssl);
  // Whether a ticket that came back is honoured; asks the engine's Verifier for the device's standing.
  static bool resume(SSL* ssl, const Ticket& ticket);
  static void declined(SSL* ssl, TicketFate fate);
  static void issued(SSL* ssl);

  static int bio_read(BIO* bio, char* into, int size);
  static int bio_write(BIO* bio, const char* from, int size);
  static long bio_control(BIO* bio, int command, long number, void* pointer);
  // What SSL_set_msg_callback(3) calls with each record's header and each message, before OpenSSL reads the message.
  static void on_message(int written, int version, int type, const void* bytes, std::size_t length, SSL* ssl,
                         void* engine);
  static int verify(X509_STORE_CTX* store_context, void* unused);
  // SSL_CTX_set_client_hello_cb(3), for each ClientHello: ends the handshake where on_message() found a rule broken;
  // takes the server name, for tickets; chooses the groups of who has sent a share for X25519MLKEM768.
  static int on_client_hello(SSL* ssl, int* alert, void* unused);
};

}  // namespace sallyport
