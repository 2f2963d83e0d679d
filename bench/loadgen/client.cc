#include "bench/loadgen/client.h"

#include <openssl/err.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace load {

namespace {

int device_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
  auto* device = static_cast<Device*>(SSL_get_ex_data(ssl, device_index()));
  if (device == nullptr) return 0;
  device->session.reset(session);
  return 1;
}

std::span<std::uint8_t> scratch() {
  thread_local std::uint8_t bytes[64 * 1024];
  return bytes;
}

}  // namespace

ContextPtr client_context(const TlsChoice& choice) {
  ContextPtr made(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = made.get();
  const int version = choice.version == "1.2" ? TLS1_2_VERSION : TLS1_3_VERSION;
  bool good = context != nullptr && SSL_CTX_set_min_proto_version(context, version) == 1 &&
              SSL_CTX_set_max_proto_version(context, version) == 1 &&
              SSL_CTX_set1_groups_list(context, choice.group.c_str()) == 1;
  if (good && !choice.cipher.empty()) {
    good = version == TLS1_3_VERSION ? SSL_CTX_set_ciphersuites(context, choice.cipher.c_str()) == 1
                                     : SSL_CTX_set_cipher_list(context, choice.cipher.c_str()) == 1;
  }
  if (good && !choice.trust.empty()) {
    good = SSL_CTX_load_verify_file(context, choice.trust.c_str()) == 1;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  }
  if (!good) {
    ERR_print_errors_fp(stderr);
    give_up("the TLS settings are not understood");
  }
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, &keep_session);
  return made;
}

void Client::connect(Device& device, bool resume, std::int64_t due_ns, std::size_t number) {
  drop();
  device_ = &device;
  due_ns_ = due_ns;
  resumed_ = was_connected_ = false;
  frames_ = {};
  fd_ = begin_connection(dialling_.to, number);
  state_ = State::Dialling;
  if (fd_ < 0) return close(std::strerror(errno));
  if (!dialling_.plain) {
    ssl_ = SSL_new(dialling_.context);
    if (ssl_ == nullptr) give_up("out of memory");
    SSL_set_fd(ssl_, fd_);
    SSL_set_ex_data(ssl_, device_index(), device_);
    SSL_use_cert_and_key(ssl_, device.credential.certificate.get(), device.credential.key.get(), nullptr, 1);
    if (dialling_.intermediate != nullptr) SSL_add1_chain_cert(ssl_, const_cast<X509*>(dialling_.intermediate));
    SSL_set_connect_state(ssl_);
    if (resume && device.session) SSL_set_session(ssl_, device.session.get());
  }
  events_ = EPOLLIN | EPOLLOUT;
  loop_.add(fd_, events_, *this);
}

void Client::listen_for(std::uint32_t events) {
  if (events == events_) return;
  events_ = events;
  loop_.change(fd_, events, *this);
}

void Client::drop() {
  // A connection that ends without a close_notify is no reason to forget its ticket.
  if (ssl_ != nullptr) SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl_);
  ssl_ = nullptr;
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  state_ = State::Closed;
  out_.clear();
}

void Client::close(std::string_view why) {
  ERR_clear_error();
  drop();
  owner_.on_closed(*this, why);
}

void Client::on_ready(std::uint32_t) {
  if (state_ == State::Dialling) {
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return close(std::strerror(error));
    if (dialling_.plain) return begin_mqtt();
    state_ = State::Handshaking;
  }
  if (state_ == State::Handshaking) return handshake();
  if (!out_.empty() && !write()) return close("the connection broke");
  read();
}

void Client::handshake() {
  ERR_clear_error();
  const int outcome = SSL_do_handshake(ssl_);
  if (outcome == 1) {
    resumed_ = SSL_session_reused(ssl_) == 1;
    return begin_mqtt();
  }
  const int error = SSL_get_error(ssl_, outcome);
  if (error == SSL_ERROR_WANT_READ) return listen_for(EPOLLIN);
  if (error == SSL_ERROR_WANT_WRITE) return listen_for(EPOLLIN | EPOLLOUT);
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  close(reason != nullptr ? reason : "closed during the handshake");
}

void Client::begin_mqtt() {
  state_ = State::AwaitingConnack;
  listen_for(EPOLLIN);
  send(connect_packet(device_->name, dialling_.v5));
}

void Client::send(std::string_view bytes) {
  if (!out_.empty()) {
    out_ += bytes;
    return;
  }
  out_ = bytes;
  if (!write()) return;  // found by the next read
  if (!out_.empty()) listen_for(EPOLLIN | EPOLLOUT);
}

// False: the connection is broken. What was not taken stays in out_.
bool Client::write() {
  std::size_t sent = 0;
  bool good = true;
  while (sent < out_.size() && good) {
    std::size_t n = 0;
    if (dialling_.plain) {
      const ssize_t taken = ::send(fd_, out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL);
      if (taken < 0) {
        good = errno == EAGAIN;
        break;
      }
      n = static_cast<std::size_t>(taken);
    } else {
      ERR_clear_error();
      const int outcome = SSL_write_ex(ssl_, out_.data() + sent, std::min<std::size_t>(out_.size() - sent, 16384), &n);
      if (outcome != 1) {
        good = SSL_get_error(ssl_, outcome) == SSL_ERROR_WANT_WRITE;
        break;
      }
    }
    sent += n;
  }
  out_.erase(0, sent);
  if (out_.empty() && (events_ & EPOLLOUT) != 0) listen_for(EPOLLIN);
  return good;
}

void Client::read() {
  while (open()) {
    std::size_t n = 0;
    if (dialling_.plain) {
      const ssize_t got = ::recv(fd_, scratch().data(), scratch().size(), 0);
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) return close(state_ == State::Leaving ? "" : "closed by the other side");
      n = static_cast<std::size_t>(got);
    } else {
      ERR_clear_error();
      const int outcome = SSL_read_ex(ssl_, scratch().data(), scratch().size(), &n);
      if (outcome != 1) {
        const int error = SSL_get_error(ssl_, outcome);
        if (error == SSL_ERROR_WANT_READ) return;
        // The end of a connection that we left is good however it comes.
        if (state_ == State::Leaving) return close("");
        const char* reason = ERR_reason_error_string(ERR_peek_error());
        return close(reason != nullptr ? reason : "closed by the other side");
      }
    }
    std::span<const std::uint8_t> bytes = scratch().first(n);
    while (open() && state_ != State::Leaving) {
      const Frames::Found found = frames_.next(bytes);
      if (found == Frames::Found::Malformed) return close("not MQTT");
      if (found == Frames::Found::NeedMore) break;
      if (state_ == State::AwaitingConnack) {
        if (frames_.packet() != Packet::Connack || frames_.head().size() < 2 || frames_.head()[1] != 0) {
          return close("refused by a CONNACK");
        }
        state_ = State::Connected;
        was_connected_ = true;
        owner_.on_connected(*this);
      } else {
        owner_.on_packet(*this, frames_);
      }
    }
    if (dialling_.plain && n < scratch().size()) return;
  }
}

void Client::leave() {
  if (!open()) return;
  send(kDisconnect);
  state_ = State::Leaving;
  if (ssl_ != nullptr) {
    ERR_clear_error();
    SSL_shutdown(ssl_);
  }
  ::shutdown(fd_, SHUT_WR);
}

}  // namespace load
