// The PROXY protocol on both sides of a session: the header that a balancer sends us before TLS begins, and the one
// that the broker gets before the CONNECT.
#include <algorithm>
#include <array>
#include <utility>

#include "cache/base/text.h"
#include "proxy/proxy_protocol/proxy_header.h"
#include "proxy/proxy_protocol/proxy_writer.h"
#include "proxy/session/first_bytes.h"
#include "proxy/session/session.h"

namespace sallyport {

namespace {

constexpr std::array<std::string_view, 2> kTlsNames = {"TLSv1.2", "TLSv1.3"};  // as OpenSSL and HAProxy write them

}  // namespace

// What the first bytes pass by before TLS looks at them. False: the session waits for more, or has ended.
bool Session::comes_to_tls() {
  if (client_.received.empty() && client_.fin) return left_silently(), false;
  if (header_due_ && !read_proxy_header()) return false;
  const FirstBytes first = look_at_first_bytes(client_.received.bytes());
  if (first.undecided && !client_.fin) return start_client_recv(), false;
  if (first.reason == Reason::None) return true;
  terminate({Origin::Client, first.reason, 0, first.what}, Cause::Protocol);
  return false;
}

// A balancer's health check, a scanner: nothing was asked of us, so nothing is refused.
void Session::left_silently() {
  silent_ = true;
  terminate({Origin::Client, Reason::None, client_.error, "it left before its first byte"}, Cause::Closed);
}

// True: it was read, and bytes of the client's stand behind it.
bool Session::read_proxy_header() {
  const auto refuse = [&](std::string_view what) {
    terminate({Origin::Client, Reason::BadProxyHeader, 0, what}, Cause::Protocol, Manner::Abrupt);
    return false;
  };
  const ProxyHeaderProgress progress = parse_proxy_header(client_.received.bytes());
  switch (progress.state) {
    case ProxyHeaderProgress::State::Refused: return refuse(progress.what);
    case ProxyHeaderProgress::State::NeedMore:
      if (client_.fin) return refuse("the connection ended within its PROXY header");
      return start_client_recv(), false;
    case ProxyHeaderProgress::State::Complete: break;
  }
  client_.received.consume(progress.header_bytes);
  header_due_ = false;
  if (progress.proxied.client.known()) {
    via_ = std::exchange(peer_, progress.proxied.client);
    local_ = progress.proxied.destination;
  }
  const Error refused = host_->admission.address_enters(settings_.listener, peer());
  if (refused.reason != Reason::None) return terminate(refused, Cause::Protocol, Manner::Abrupt), false;
  address_counts_ = true;
  if (!client_.received.empty()) return true;
  if (client_.fin) return left_silently(), false;
  return start_client_recv(), false;
}

bool Session::shows_certificate() const {
  return settings_.upstream != nullptr && settings_.upstream->proxy_protocol_certificate;
}

void Session::keep_certificate(const PeerChain& peer) {
  if (!shows_certificate()) return;
  if (peer.plain != nullptr) {
    certificate_.append(peer.plain->der);
  } else if (const auto brief = Certificate::brief(peer.leaf)) {
    const std::string& der = brief->der();
    certificate_.append({reinterpret_cast<const std::uint8_t*>(der.data()), der.size()});
  }
}

// Before the CONNECT, so that both go in one piece. False: the session has ended, for its device has no name that the
// broker could safely take for it.
bool Session::put_proxy_header() {
  if (settings_.upstream == nullptr || !settings_.upstream->proxy_protocol) return true;
  const Verdict* decided = verdict();
  Result<std::string> cn = std::string();  // words has a view of it
  ProxyWords words;
  words.client = peer_;
  words.destination = local_;
  words.tls_version = kTlsNames[static_cast<std::size_t>(engine_->version_index())];
  words.cipher = engine_->cipher_name();
  if (decided != nullptr) {
    cn = IdentityTemplate::value_of(IdentityTemplate::Field::Cn, *decided->identity, "");
    if (!cn) return not_told(cn.error());
    words.proven = proven_;
    words.shown = !engine_->resumed();
    words.common_name = *cn;
    words.certificate = certificate_.bytes();
  }
  const std::size_t length = proxy_header_bytes(words);
  // A device that the broker would know by its certificate does not go there without.
  if (length == 0 || (decided != nullptr && shows_certificate() && certificate_.empty())) {
    say_refused(Reason::InternalError);
    terminate({Origin::Proxy, Reason::InternalError, 0, "what the broker is to be told fits in no PROXY header"},
              Cause::Internal);
    return false;
  }
  ByteBuffer both;
  write_proxy_header(words, both.prepare(length + broker_.to_send.size()));
  both.commit(length);
  both.append(broker_.to_send.bytes());
  broker_.to_send.swap(both);
  certificate_.release();
  return true;
}

}  // namespace sallyport
