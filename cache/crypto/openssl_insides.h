// Whether Sallyport may reach into OpenSSL. Most of its speed comes from that, and each such place relies on what no
// manual promises:
//   light_parsing.h       the default provider's algorithms work in another context, with functions of ours among them
//   light_tls_kdf.h       libssl asks that context's KDFs for its key schedules, by the labels of RFC 8446
//   handshake_crypto.cc   a key, and a context that checks with it, goes on when the key gets another point
//   tls_session_swap.h    a live connection's session can be exchanged
//   tls_resumption.cc     the DER of a session: which element is the certificate, which bit the extended master secret
//   tls_session_ticket.h  how a ticket is sealed
//   tls_engine.cc         OpenSSL reads no byte beyond a handshake, and how many records it has sealed by then
// So it may where the library that runs is of a version the tests have passed with (the table is in the .cc file), and
// where each of these holds when it is tried at the start (light_self_test.h, tls_self_test.h). Where it may not, light
// context, own handshakes, own records and exchanged sessions are all left out together: everything is OpenSSL's,
// through what its manual promises, only slower. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace sallyport {

// False as well where OpenSSL is to be alone, here and now (openssl_alone.h).
bool openssl_insides_hold();
// Whether a live connection's session can be exchanged as well, which some of those versions do not allow. Where not,
// what OpenSSL keeps stays: the peer's certificate, in the connections it has not handed over and in its tickets.
bool openssl_exchanges_sessions();
// Why they do not; empty where they do, whether or not they are used.
std::string_view openssl_insides_refusal();
// From here on they do not, for good. Whoever finds that something does not hold says so before the first listener.
void give_up_openssl_insides(std::string_view why);

// The library that runs, which may be another than the one compiled against: "3.0.17".
std::string openssl_version();

}  // namespace sallyport
