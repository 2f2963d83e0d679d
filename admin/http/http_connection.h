// One client of the HTTP server, over TCP, TLS or a unix socket: reads the head, asks the handler what to do with
// it, takes the body, answers. Included by http_server.cc alone; Beast stays in these two.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <list>
#include <memory>
#include <optional>
#include <sstream>
#include <vector>

#include "admin/http/http_guests.h"
#include "admin/http/http_server.h"

namespace sallyport::http_detail {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

struct Server {
  HttpLimits limits;
  std::size_t connections = 0;  // io thread only; before `io`, whose end ends the last connections
  bool stopping = false;        // io thread only
  Guests guests;                // io thread only
  std::list<Guest*> streams;    // io thread only; their bodies come by and by
  asio::io_context io{1};
  asio::thread_pool workers;

  Server(HttpLimits l, unsigned w) : limits(l), workers(w) {}
  // False: everybody is being served.
  bool make_room() {
    Guest* leaves = guests.who_leaves(limits.connections);
    if (leaves == nullptr) return false;
    leaves->give_up();
    return true;
  }
};

// TCP and unix sockets are one type from here on: what Beast makes of a stream takes long to compile.
using Plain = beast::basic_stream<asio::generic::stream_protocol>;
using Tls = beast::ssl_stream<Plain>;

inline Plain& lowest(Plain& stream) {
  return stream;
}
inline Plain& lowest(Tls& stream) {
  return stream.next_layer();
}

// One client. Lives as long as an operation of it is pending; all members belong to the io thread, except
// that a worker fills `answer_` between posting the work and posting the result back.
template <class Stream>
class Connection final : public Guest, public std::enable_shared_from_this<Connection<Stream>> {
 public:
  Connection(Server& server, HttpHandler& handler, HttpPeer peer, Stream stream)
      : server_(server),
        handler_(handler),
        stream_(std::move(stream)),
        buffer_(server.limits.header_bytes + 64 * 1024) {
    ++server_.connections;
    local = peer.local;
    address_ = peer.local ? peer.name : peer.from.substr(0, peer.from.rfind(':'));
    holder = address_;
    request_.peer = std::move(peer);
  }
  ~Connection() override {
    leave_place();
    leave_streams();
    --server_.connections;
  }

  void begin() {
    place_ = server_.guests.enter(*this);
    if constexpr (std::is_same_v<Stream, Tls>) {
      lowest(stream_).expires_after(server_.limits.request_time);
      stream_.async_handshake(asio::ssl::stream_base::server, [self = this->shared_from_this()](error_code failure) {
        if (!failure) self->wait_for_request();
      });
    } else {
      wait_for_request();
    }
  }

  void give_up() override {
    gone_ = true;
    leave_place();
    if (stage != Stage::Worked) leave_streams();  // else the answer is the worker's; send() comes
    lowest(stream_).cancel();
    error_code ignored;
    lowest(stream_).socket().close(ignored);
  }

 private:
  void leave_place() {
    if (place_) server_.guests.leave(*place_);
    place_.reset();
  }

  // From here on nobody wakes it any more.
  void leave_streams() {
    if (stream_place_) server_.streams.erase(*stream_place_);
    stream_place_.reset();
    if (answer_.source) answer_.source->call_when_ready({});
    answer_.source.reset();
  }

  void wait_for_request() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(server_.limits.header_bytes));
    parser_->body_limit(UINT64_MAX);  // ours is known with the head; none at all is larger than nothing in Beast 1.74
    stage = Stage::Waiting;
    if (place_) server_.guests.renew(*place_);
    // The first byte may take its time on a kept connection; from then on the whole request is due.
    if (buffer_.size() == 0 && served_ > 0) {
      lowest(stream_).expires_after(server_.limits.idle_time);
      stream_.async_read_some(buffer_.prepare(4096),
                              [self = this->shared_from_this()](error_code failure, std::size_t n) {
                                if (failure) return;
                                self->buffer_.commit(n);
                                self->read_head();
                              });
      return;
    }
    read_head();
  }

  void read_head() {
    lowest(stream_).expires_after(server_.limits.request_time);
    http::async_read_header(stream_, buffer_, *parser_,
                            [self = this->shared_from_this()](error_code failure, std::size_t) {
                              self->stage = Stage::Served;
                              if (self->readable(failure)) self->on_head();
                            });
  }

  // False: the connection is over, or an answer is on its way.
  bool readable(error_code failure) {
    if (failure == http::error::header_limit) return refuse(431, "the header is larger than the server takes"), false;
    if (failure == http::error::body_limit) return refuse(413, "the body is larger than the server takes"), false;
    if (failure == beast::error::timeout || failure == http::error::end_of_stream) return false;
    if (failure.category() == http::make_error_code(http::error::bad_version).category()) {
      return refuse(400, "this is not an HTTP request"), false;
    }
    return !failure && !server_.stopping;
  }

  void on_head() {
    const auto& message = parser_->get();
    keep_alive_ = message.keep_alive();
    version_ = message.version();
    request_.method = std::string(message.method_string());
    const std::string_view target(message.target().data(), message.target().size());
    const std::size_t mark = target.find('?');
    request_.path = target.substr(0, mark);
    request_.query = mark == std::string_view::npos ? "" : target.substr(mark + 1);
    request_.authorization = std::string(message[http::field::authorization]);
    request_.host = std::string(message[http::field::host]);
    request_.accept = std::string(message[http::field::accept]);
    request_.accept_encoding = std::string(message[http::field::accept_encoding]);
    request_.content_type = std::string(message[http::field::content_type]);
    request_.if_none_match = std::string(message[http::field::if_none_match]);
    request_.cookie = std::string(message[http::field::cookie]);
    request_.origin = std::string(message[http::field::origin]);
    request_.fetch_site = std::string(message["Sec-Fetch-Site"]);
    request_.csrf = std::string(message["X-Sallyport-CSRF"]);
    request_.background = message["X-Sallyport-Background"] == "1";
    request_.body.clear();
    HttpPlan plan = handler_.plan(request_);
    known = !plan.holder.empty();
    // No address is written like that, and no name is taken for one.
    holder = known ? "token " + plan.holder : address_;
    if (plan.refused) {
      answer_ = std::move(*plan.refused);
      keep_alive_ = keep_alive_ && parser_->is_done();
      return send();
    }
    sink_ = std::move(plan.sink);
    most_ = sink_ ? UINT64_MAX : plan.body_bytes != 0 ? plan.body_bytes : server_.limits.body_bytes;
    if (parser_->content_length() && *parser_->content_length() > most_) {
      return refuse(413, "the body is larger than the server takes");
    }
    if (beast::iequals(message[http::field::expect], "100-continue")) return say_continue();
    read_body();
  }

  // RFC 9110, section 10.1.1: the client waits for it before it sends a large body.
  void say_continue() {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(stream_, asio::buffer(kContinue.data(), kContinue.size()),
                      [self = this->shared_from_this()](error_code failure, std::size_t) {
                        if (!failure) self->read_body();
                      });
  }

  void read_body() {
    if (parser_->is_done()) return on_request(true);
    auto& body = parser_->get().body();
    body.data = piece_.data();
    body.size = piece_.size();
    if (sink_) lowest(stream_).expires_after(server_.limits.piece_time);
    http::async_read_some(stream_, buffer_, *parser_,
                          [self = this->shared_from_this()](error_code failure, std::size_t) {
                            // The piece is full: there is more.
                            if (failure == http::error::need_buffer) failure = {};
                            const std::size_t n = self->piece_.size() - self->parser_->get().body().size;
                            if (failure && self->sink_ && !self->server_.stopping) return self->on_request(false);
                            if (self->readable(failure)) self->on_piece(n);
                          });
  }

  void on_piece(std::size_t n) {
    if (!sink_) {
      if (request_.body.size() + n > most_) return refuse(413, "the body is larger than the server takes");
      request_.body.append(piece_.data(), n);
      return read_body();
    }
    lowest(stream_).expires_never();
    stage = Stage::Worked;
    asio::post(server_.workers, [self = this->shared_from_this(), n]() mutable {
      bool more = false;
      try {
        more = self->sink_->take({self->piece_.data(), n});
      } catch (const std::exception&) {
      }
      auto& io = self->server_.io;
      asio::post(io, [self = std::move(self), more] {
        self->stage = Stage::Served;
        if (more) return self->read_body();
        self->keep_alive_ = false;
        self->on_request(true);
      });
    });
  }

  void on_request(bool whole) {
    lowest(stream_).expires_never();
    stage = Stage::Worked;
    asio::post(server_.workers, [self = this->shared_from_this(), whole]() mutable {
      if (!self->gone_) self->answer_ = self->handle(whole);  // of a crowd much is queued, and worth nothing by now
      auto& io = self->server_.io;
      asio::post(io, [self = std::move(self)] { self->send(); });
    });
  }

  // Libraries' exceptions stop here: a handler that throws is a 500, never the end of the process.
  HttpResponse handle(bool whole) {
    try {
      if (!sink_) return handler_.handle(request_);
      HttpResponse answer = sink_->finish(whole);
      sink_.reset();
      return answer;
    } catch (const std::exception&) {
      return problem(500, "internal", "the server failed on this request");
    }
  }

  void refuse(unsigned status, std::string_view why) {
    keep_alive_ = false;
    answer_ = problem(status, "bad-request", why);
    send();
  }

  template <class Message>
  void set_headers(Message& message) const {
    if (!answer_.content_type.empty()) message.set(http::field::content_type, answer_.content_type);
    message.set(http::field::cache_control, "no-store");
    message.set("X-Content-Type-Options", "nosniff");
    for (const auto& [name, value] : answer_.headers) message.set(name, value);
  }

  void send() {
    stage = Stage::Served;
    if (gone_) return leave_streams();
    if (answer_.source) return begin_stream();
    response_ = {};
    response_.version(version_);
    response_.result(answer_.status);
    set_headers(response_);
    if (answer_.status == 401) response_.set(http::field::www_authenticate, "Bearer");
    response_.keep_alive(keep_alive_);
    response_.body() = std::move(answer_.body);
    response_.prepare_payload();
    if (request_.method == "HEAD") response_.body().clear();
    lowest(stream_).expires_after(server_.limits.request_time);
    http::async_write(stream_, response_, [self = this->shared_from_this()](error_code failure, std::size_t) {
      ++self->served_;
      if (failure) return;
      if (self->keep_alive_ && !self->server_.stopping) return self->wait_for_request();
      self->say_goodbye();
    });
  }

  // The head; then each piece as a chunk, once the one before is on its way. What the reader does not take in time ends
  // it, as does whatever it says: an end, above all.
  void begin_stream() {
    if (server_.stopping) return leave_streams();
    keep_alive_ = false;
    stage = Stage::Streamed;
    stream_place_ = server_.streams.insert(server_.streams.end(), this);
    http::response<http::empty_body> head;
    head.version(version_);
    head.result(answer_.status);
    set_headers(head);
    chunked_ = version_ >= 11;
    head.chunked(chunked_);
    head.keep_alive(false);
    std::ostringstream text;
    text << head.base();
    piece_out_ = text.str();
    notice_unreachable();
    notice_leaving();
    auto& io = server_.io;
    answer_.source->call_when_ready([&io, weak = this->weak_from_this()] {
      asio::post(io, [weak] {
        if (const auto self = weak.lock()) self->go_on();
      });
    });
    write_piece();
  }

  void go_on() {
    if (writing_ || !answer_.source) return;
    std::string piece = answer_.source->take();
    if (piece.empty()) {
      if (answer_.source->over()) end_stream();
      return;
    }
    if (!chunked_) {
      piece_out_ = std::move(piece);
    } else {
      std::ostringstream size;
      size << std::hex << piece.size();
      piece_out_ = size.str() + "\r\n" + piece + "\r\n";
    }
    write_piece();
  }

  void write_piece() {
    writing_ = true;
    lowest(stream_).expires_after(server_.limits.piece_time);
    asio::async_write(stream_, asio::buffer(piece_out_),
                      [self = this->shared_from_this()](error_code failure, std::size_t) {
                        self->writing_ = false;
                        if (failure) return self->give_up();
                        self->go_on();
                      });
  }

  void end_stream() {
    leave_streams();
    piece_out_ = chunked_ ? "0\r\n\r\n" : "";
    lowest(stream_).expires_after(server_.limits.request_time);
    asio::async_write(stream_, asio::buffer(piece_out_), [self = this->shared_from_this()](error_code, std::size_t) {
      error_code ignored;
      lowest(self->stream_).socket().shutdown(asio::socket_base::shutdown_send, ignored);
      self->give_up();
    });
  }

  // What it is sent finds out: heartbeats, at the latest. tcp(7), TCP_USER_TIMEOUT; a unix socket has none.
  void notice_unreachable() {
    const unsigned ms = 30'000;
    ::setsockopt(lowest(stream_).socket().native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
  }
  void notice_leaving() {
    lowest(stream_).expires_never();
    stream_.async_read_some(asio::buffer(piece_), [self = this->shared_from_this()](error_code, std::size_t) {
      if (self->answer_.source) self->give_up();
    });
  }

  // Closing while the client still sends (a body that is too large) would reset the connection and take the
  // answer with it: so stop sending, and swallow for a moment.
  void say_goodbye() {
    stage = Stage::Waiting;  // may be given up for another
    if constexpr (std::is_same_v<Stream, Tls>) {
      lowest(stream_).expires_after(std::chrono::seconds(1));
      stream_.async_shutdown([self = this->shared_from_this()](error_code) {});
    } else {
      error_code ignored;
      stream_.socket().shutdown(asio::socket_base::shutdown_send, ignored);
      stream_.expires_after(std::chrono::seconds(1));
      swallow();
    }
  }
  void swallow() {
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(4096),
                            [self = this->shared_from_this()](error_code failure, std::size_t n) {
                              self->swallowed_ += n;
                              if (!failure && self->swallowed_ < 4 * self->server_.limits.body_bytes) self->swallow();
                            });
  }

  Server& server_;
  HttpHandler& handler_;
  Stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::buffer_body>> parser_;
  std::vector<char> piece_ = std::vector<char>(16 * 1024);
  std::unique_ptr<BodySink> sink_;
  std::uint64_t most_ = 0;  // bytes of body
  std::string address_;     // of the peer, without its port; on the admin socket its uid
  std::optional<Guests::Place> place_;
  std::optional<std::list<Guest*>::iterator> stream_place_;
  HttpRequest request_;
  HttpResponse answer_;
  http::response<http::string_body> response_;
  unsigned version_ = 11;
  unsigned served_ = 0;
  std::size_t swallowed_ = 0;
  bool keep_alive_ = false;
  std::string piece_out_;  // of a body that comes by and by
  bool writing_ = false, chunked_ = false;
  std::atomic<bool> gone_{false};  // given up: set by the io thread, read by a worker, too
};

}  // namespace sallyport::http_detail
