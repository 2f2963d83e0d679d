#include "proxy/tls/tls_resumption.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <ctime>
#include <span>

#include "cache/crypto/hkdf.h"
#include "cache/crypto/keys_unread.h"
#include "cache/crypto/openssl_insides.h"
#include "cache/crypto/sha2.h"
#include "proxy/tls/tls13_key_schedule.h"
#include "proxy/tls/tls_session_ticket.h"

namespace sallyport {

namespace {

int data_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

std::int64_t made_at(const SSL_SESSION* session) {
#if OPENSSL_VERSION_PREREQ(3, 3)
  return SSL_SESSION_get_time_ex(session);
#else
  return SSL_SESSION_get_time(session);
#endif
}

// For TLS 1.2, and where a fragment length was negotiated, which OpenSSL and TlsEngine read from the session: neither
// that nor whether the master secret is an extended one can be set, so the session is written, cut and read again.
SessionPtr without_certificate(const SSL_SESSION* session) {
  const int length = i2d_SSL_SESSION(session, nullptr);
  if (length <= 0) return nullptr;
  Wiped der(static_cast<std::size_t>(length));
  unsigned char* into = der.data();
  i2d_SSL_SESSION(session, &into);
  const Wiped stripped = without_certificate(der);
  if (stripped.empty()) return nullptr;
  const unsigned char* from = stripped.data();
  return SessionPtr(d2i_SSL_SESSION(nullptr, &from, static_cast<long>(stripped.size())));
}

// TLS 1.3. What a resumption needs (RFC 8446, section 4.6.1): the secret and its hash, and whose session it is. The
// ticket's age is left out: it matters to early data alone, which is never taken.
SessionPtr of_tls13(const SSL_CIPHER* cipher, std::span<const unsigned char> secret,
                    std::span<const unsigned char> id_context) {
  SessionPtr made(SSL_SESSION_new());
  const bool done =
      made && !secret.empty() && SSL_SESSION_set_protocol_version(made.get(), TLS1_3_VERSION) == 1 &&
      SSL_SESSION_set_cipher(made.get(), cipher) == 1 &&
      SSL_SESSION_set1_master_key(made.get(), secret.data(), secret.size()) == 1 &&
      SSL_SESSION_set1_id_context(made.get(), id_context.data(), static_cast<unsigned>(id_context.size())) == 1;
  return done ? std::move(made) : nullptr;
}

SessionPtr of_tls13(const SSL_SESSION* session) {
  std::array<unsigned char, SSL_MAX_MASTER_KEY_LENGTH> secret;
  const std::size_t length = SSL_SESSION_get_master_key(session, secret.data(), secret.size());
  unsigned int id_length = 0;
  const unsigned char* id_context = SSL_SESSION_get0_id_context(session, &id_length);
  SessionPtr made =
      of_tls13(SSL_SESSION_get0_cipher(session), std::span(secret).first(length), {id_context, id_length});
  OPENSSL_cleanse(secret.data(), secret.size());
  return made;
}

// TLS 1.2, with an extended master secret: that it is one can only be read, from the flags (element [13]) of a DER.
SessionPtr of_tls12(std::uint16_t suite, std::span<const unsigned char> master,
                    std::span<const unsigned char> id_context) {
  const std::array<unsigned char, 22> der = {
      0x30, 20, 2, 1, 1,    2, 2, 3, 3, 4, 2, static_cast<unsigned char>(suite >> 8), static_cast<unsigned char>(suite),
      4,    0,  4, 0, 0xAD, 3, 2, 1, 1};
  const unsigned char* from = der.data();
  SessionPtr made(d2i_SSL_SESSION(nullptr, &from, static_cast<long>(der.size())));
  const bool done =
      made && SSL_SESSION_set1_master_key(made.get(), master.data(), master.size()) == 1 &&
      SSL_SESSION_set1_id_context(made.get(), id_context.data(), static_cast<unsigned>(id_context.size())) == 1;
  return done ? std::move(made) : nullptr;
}

}  // namespace

std::span<const unsigned char> Resumption::id_context_bytes() const {
  return {reinterpret_cast<const unsigned char*>(id_context_.data()), id_context_.size()};
}

void Resumption::install(SSL_CTX* context) {
  const STACK_OF(SSL_CIPHER)* ciphers = SSL_CTX_get_ciphers(context);
  for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); ++i) {
    const SSL_CIPHER* each = sk_SSL_CIPHER_value(ciphers, i);
    if (SSL_CIPHER_get_id(each) == TLS1_3_CK_AES_128_GCM_SHA256) cipher_ = each;
  }
  SSL_CTX_set_ex_data(context, data_index(), this);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);  // tickets alone; no ids of sessions kept here
  SSL_CTX_clear_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 1);
  SSL_CTX_set_max_early_data(context, 0);
  SSL_CTX_set_timeout(context, static_cast<long>(max_age_));
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, &Resumption::ticket_key);
  SSL_CTX_set_session_ticket_cb(context, &Resumption::generate, &Resumption::decrypted, this);
}

// SSL_CTX_set_tlsext_ticket_key_evp_cb(3).
int Resumption::ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                           int encrypt) {
  KeysUnread::end();
  const auto* self = static_cast<const Resumption*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), data_index()));
  if (self == nullptr) return encrypt != 0 ? -1 : 0;
  const std::int64_t now = std::time(nullptr);
  const auto newest = self->keys_.newest(now);
  auto key = encrypt != 0 ? newest : self->keys_.find({name, 16}, now);
  if (!key) return encrypt != 0 ? -1 : 0;
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac.data(), key->mac.size()),
                               OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_construct_end()};
  if (EVP_MAC_CTX_set_params(mac, params) != 1) return -1;
  if (encrypt != 0) {
    std::copy(key->name.begin(), key->name.end(), name);
    if (RAND_bytes(iv, 16) != 1) return -1;
    return EVP_EncryptInit_ex2(cipher, ticket_cipher(), key->cipher.data(), iv, nullptr) == 1 ? 1 : -1;
  }
  if (EVP_DecryptInit_ex2(cipher, ticket_cipher(), key->cipher.data(), iv, nullptr) != 1) return -1;
  // Next the session is read, until decrypted().
  KeysUnread::begin();
  return newest && newest->name == key->name ? 1 : 2;  // 2: a new one is due
}

bool Resumption::replace_session(SSL* ssl, const std::string& body, std::int64_t lifetime) {
  SSL_SESSION* session = SSL_get_session(ssl);
  if (!openssl_exchanges_sessions()) {  // as SSL_CTX_set_session_ticket_cb(3) has it: the certificate is in the ticket
    SSL_SESSION_set_timeout(session, static_cast<long>(lifetime));
    return SSL_SESSION_set1_ticket_appdata(session, body.data(), body.size()) == 1;
  }
  const bool whole_records = SSL_SESSION_get_max_fragment_length(session) == TLSEXT_max_fragment_length_DISABLED;
  const SessionPtr light =
      SSL_version(ssl) >= TLS1_3_VERSION && whole_records ? of_tls13(session) : without_certificate(session);
  if (!light || SSL_SESSION_set1_ticket_appdata(light.get(), body.data(), body.size()) != 1) return false;
  SSL_SESSION_set_timeout(light.get(), static_cast<long>(lifetime));
  return swap_.put(ssl, light.get());
}

Resumption::Said Resumption::said(const Ticketed& ticketed, std::int64_t now) const {
  Ticket ticket;
  ticket.listener = listener_;
  ticket.mutual = ticketed.mutual;
  ticket.server_name = ticketed.server_name;
  ticket.authenticated_at = ticketed.authenticated_at != 0 ? ticketed.authenticated_at : now;
  std::int64_t lifetime = std::min(max_age_, ticket.authenticated_at + max_age_ - now);
  if (lifetime <= 0) return {};
  if (!ticketed.mutual) return {encode_ticket(ticket), lifetime};
  if (ticketed.verdict == nullptr || !ticketed.verdict->admitted() || !ticketed.verdict->identity) return {};
  ticket.chain_id = ticketed.verdict->known ? ticketed.verdict->chain_id : 0;
  ticket.epoch = ticketed.verdict->epoch;
  ticket.identity = ticketed.verdict->identity;
  lifetime = std::min(lifetime, ticket.identity->not_after - now);
  if (lifetime <= 0) return {};
  return {encode_ticket(ticket), lifetime};
}

int Resumption::generate(SSL* ssl, void* self) {
  auto& resumption = *static_cast<Resumption*>(self);
  // A ticket that says nothing is never honoured: the client makes a full handshake.
  const Said said = resumption.said(TlsCallbacks::ticketed(ssl), std::time(nullptr));
  const bool replaced = resumption.replace_session(ssl, said.body, std::max<std::int64_t>(said.lifetime, 1));
  ERR_clear_error();
  if (replaced && !said.body.empty()) TlsCallbacks::issued(ssl);
  // Next the session is written and read again, until ticket_key().
  if (replaced) KeysUnread::begin();
  return replaced ? 1 : 0;
}

std::optional<Resumption::Issued> Resumption::sealed(const Said& said, SSL_SESSION* session, std::int64_t now) const {
  const auto key = keys_.newest(now);
  if (session == nullptr || !key || SSL_SESSION_set1_ticket_appdata(session, said.body.data(), said.body.size()) != 1) {
    return std::nullopt;
  }
  SSL_SESSION_set_timeout(session, static_cast<long>(said.lifetime));
  Issued issued{static_cast<std::uint32_t>(said.lifetime), sealed_session(session, *key)};
  if (issued.ticket.empty()) return std::nullopt;
  return issued;
}

std::optional<Resumption::Issued> Resumption::issue(const Ticketed& ticketed, std::span<const std::uint8_t> secret,
                                                    std::int64_t now) const {
  const Said said = this->said(ticketed, now);
  if (said.body.empty() || cipher_ == nullptr) return std::nullopt;
  return sealed(said, of_tls13(cipher_, secret, id_context_bytes()).get(), now);
}

std::optional<Resumption::Issued> Resumption::issue12(const Ticketed& ticketed, std::uint16_t suite,
                                                      std::span<const std::uint8_t> master, std::int64_t now) const {
  const Said said = this->said(ticketed, now);
  if (said.body.empty()) return std::nullopt;
  return sealed(said, of_tls12(suite, master, id_context_bytes()).get(), now);
}

std::optional<Ticket> Resumption::said_by(SSL_SESSION* session) const {
  void* data = nullptr;
  std::size_t length = 0;
  if (SSL_SESSION_get0_ticket_appdata(session, &data, &length) != 1 || data == nullptr) return std::nullopt;
  auto ticket = decode_ticket({static_cast<const char*>(data), length});
  return ticket && ticket->listener == listener_ ? std::move(ticket) : std::nullopt;
}

bool Resumption::is_alive_here(const SSL_SESSION* session, std::int64_t now) const {
  unsigned int id_length = 0;
  const unsigned char* id_context = SSL_SESSION_get0_id_context(session, &id_length);
  const std::string_view context(reinterpret_cast<const char*>(id_context), id_length);
  return context == id_context_ && now - made_at(session) <= SSL_SESSION_get_timeout(session);
}

// What OpenSSL looks at, too, in ssl_get_prev_session() and tls_parse_ctos_psk() of its ssl/.
std::optional<Ticket> Resumption::open(std::span<const std::uint8_t> ticket, std::int64_t now, Secret256& secret,
                                       TicketFate& fate) const {
  const SessionPtr session = opened_session(ticket, keys_, now);
  fate = session ? TicketFate::OtherName : TicketFate::UnknownKey;
  if (!session || SSL_SESSION_get_protocol_version(session.get()) != TLS1_3_VERSION ||
      SSL_SESSION_get0_cipher(session.get()) != cipher_ ||
      SSL_SESSION_get_max_fragment_length(session.get()) != TLSEXT_max_fragment_length_DISABLED ||
      SSL_SESSION_get_master_key(session.get(), nullptr, 0) != secret.size()) {
    return std::nullopt;
  }
  if (!is_alive_here(session.get(), now)) {
    if (now - made_at(session.get()) > SSL_SESSION_get_timeout(session.get())) fate = TicketFate::TooOld;
    return std::nullopt;
  }
  SSL_SESSION_get_master_key(session.get(), secret.data(), secret.size());
  return said_by(session.get());
}

bool Resumption::young(const Ticket& ticket, std::int64_t now) const {
  return now - ticket.authenticated_at <= max_age_ && ticket.authenticated_at - now <= TicketKeys::kAhead;
}

namespace {

// RFC 8446, section 4.2.11.2, with the hash of the ticket's cipher suite.
bool binder_holds(const SSL_SESSION* session, const TicketOffer& offer) {
  KdfSecret secret;
  const std::size_t size = SSL_SESSION_get_master_key(session, secret.data(), secret.size());
  if (offer.first.binder.size() != size) return false;
  const std::span<const std::uint8_t> bound = offer.message.first(offer.first.binders_at);
  std::array<std::uint8_t, KdfHash::kMostBytes> hash, mac;
  std::size_t length = 0;
  if (size == Sha256::kBytes) {
    const Sha256::Hash made = Sha256::of(bound);
    std::copy(made.begin(), made.end(), hash.begin());
  } else if (EVP_Q_digest(nullptr, "SHA2-384", nullptr, bound.data(), bound.size(), hash.data(), &length) != 1) {
    return false;
  }
  return binder_mac(std::span(secret).first(size), std::span(hash).first(size), std::span(mac).first(size)) &&
         CRYPTO_memcmp(mac.data(), offer.first.binder.data(), size) == 0;
}

}  // namespace

std::optional<Ticket> Resumption::devices(const TicketOffer& offer, std::int64_t now) const {
  const SessionPtr session = opened_session(offer.first.ticket, keys_, now);
  const bool tls13 = offer.version == TlsVersion::V13;
  if (!session || !is_alive_here(session.get(), now) ||
      (SSL_SESSION_get_protocol_version(session.get()) == TLS1_3_VERSION) != tls13 ||
      (tls13 && !binder_holds(session.get(), offer))) {
    return std::nullopt;
  }
  auto said = said_by(session.get());
  return said && said->mutual && said->identity && young(*said, now) ? std::move(said) : std::nullopt;
}

int Resumption::decrypted(SSL* ssl, SSL_SESSION* session, const unsigned char*, std::size_t, int status, void* self) {
  KeysUnread::end();
  if (status == SSL_TICKET_EMPTY) return SSL_TICKET_RETURN_IGNORE_RENEW;
  TlsCallbacks::declined(ssl, status == SSL_TICKET_NO_DECRYPT ? TicketFate::UnknownKey : TicketFate::OtherName);
  if (status == SSL_TICKET_NO_DECRYPT) return SSL_TICKET_RETURN_IGNORE_RENEW;
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) return SSL_TICKET_RETURN_ABORT;
  // A ticket of another version is none. OpenSSL would go on with it, and end the handshake.
  if (SSL_SESSION_get_protocol_version(session) != SSL_version(ssl)) return SSL_TICKET_RETURN_IGNORE_RENEW;
  const auto ticket = static_cast<const Resumption*>(self)->said_by(session);
  if (!ticket || !TlsCallbacks::resume(ssl, *ticket)) return SSL_TICKET_RETURN_IGNORE_RENEW;
  // TLS 1.3 tickets are for one use each (RFC 8446, appendix C.4).
  const bool renew = status == SSL_TICKET_SUCCESS_RENEW || SSL_version(ssl) >= TLS1_3_VERSION;
  return renew ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

}  // namespace sallyport
