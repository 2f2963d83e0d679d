#include "admin/api/http_server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

namespace sallyport {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

struct Server {
  HttpLimits limits;
  std::size_t connections = 0;  // io thread only; before `io`, whose end ends the last connections
  bool stopping = false;        // io thread only
  asio::io_context io{1};
  asio::thread_pool workers;

  Server(HttpLimits l, unsigned w) : limits(l), workers(w) {}
};

// One client. Lives as long as an operation of it is pending; all members belong to the io thread, except
// that a worker fills `answer_` between posting the work and posting the result back.
template <class Protocol>
class Connection : public std::enable_shared_from_this<Connection<Protocol>> {
 public:
  using Stream = beast::basic_stream<Protocol>;

  Connection(Server& server, HttpHandler& handler, typename Protocol::socket socket)
      : server_(server),
        handler_(handler),
        stream_(std::move(socket)),
        buffer_(server.limits.header_bytes + 64 * 1024) {
    ++server_.connections;
  }
  ~Connection() { --server_.connections; }

  void wait_for_request() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(server_.limits.header_bytes));
    parser_->body_limit(server_.limits.body_bytes);
    // The first byte may take its time on a kept connection; from then on the whole request is due.
    if (buffer_.size() == 0 && served_ > 0) {
      stream_.expires_after(server_.limits.idle_time);
      stream_.async_read_some(buffer_.prepare(4096),
                              [self = this->shared_from_this()](error_code failure, std::size_t n) {
                                if (failure) return;
                                self->buffer_.commit(n);
                                self->read_request();
                              });
      return;
    }
    read_request();
  }

 private:
  void read_request() {
    stream_.expires_after(server_.limits.request_time);
    http::async_read(stream_, buffer_, *parser_,
                     [self = this->shared_from_this()](error_code failure, std::size_t) { self->on_request(failure); });
  }

  void on_request(error_code failure) {
    if (failure == http::error::header_limit) return refuse(431, "the header is larger than the server takes");
    if (failure == http::error::body_limit) return refuse(413, "the body is larger than the server takes");
    if (failure == beast::error::timeout || failure == http::error::end_of_stream) return;
    if (failure.category() == http::make_error_code(http::error::bad_version).category()) {
      return refuse(400, "this is not an HTTP request");
    }
    if (failure || server_.stopping) return;
    stream_.expires_never();
    auto& message = parser_->get();
    keep_alive_ = message.keep_alive();
    version_ = message.version();
    request_.method = std::string(message.method_string());
    const std::string_view target(message.target().data(), message.target().size());
    const std::size_t mark = target.find('?');
    request_.path = target.substr(0, mark);
    request_.query = mark == std::string_view::npos ? "" : target.substr(mark + 1);
    request_.body = std::move(message.body());
    asio::post(server_.workers, [self = this->shared_from_this()]() mutable {
      self->answer_ = self->handle();
      auto& io = self->server_.io;
      asio::post(io, [self = std::move(self)] { self->send(); });
    });
  }

  // Libraries' exceptions stop here: a handler that throws is a 500, never the end of the process.
  HttpResponse handle() {
    try {
      return handler_.handle(request_);
    } catch (const std::exception&) {
      return problem(500, "internal", "the server failed on this request");
    }
  }

  void refuse(unsigned status, std::string_view why) {
    keep_alive_ = false;
    answer_ = problem(status, "bad-request", why);
    send();
  }

  void send() {
    response_ = {};
    response_.version(version_);
    response_.result(answer_.status);
    response_.set(http::field::content_type, answer_.content_type);
    response_.set(http::field::cache_control, "no-store");
    response_.set("X-Content-Type-Options", "nosniff");
    response_.keep_alive(keep_alive_);
    response_.body() = std::move(answer_.body);
    response_.prepare_payload();
    if (request_.method == "HEAD") response_.body().clear();
    stream_.expires_after(server_.limits.request_time);
    http::async_write(stream_, response_, [self = this->shared_from_this()](error_code failure, std::size_t) {
      ++self->served_;
      if (failure) return;
      if (self->keep_alive_ && !self->server_.stopping) return self->wait_for_request();
      self->say_goodbye();
    });
  }

  // Closing while the client still sends (a body that is too large) would reset the connection and take the
  // answer with it: so stop sending, and swallow for a moment.
  void say_goodbye() {
    error_code ignored;
    stream_.socket().shutdown(asio::socket_base::shutdown_send, ignored);
    stream_.expires_after(std::chrono::seconds(1));
    swallow();
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
  std::optional<http::request_parser<http::string_body>> parser_;
  HttpRequest request_;
  HttpResponse answer_;
  http::response<http::string_body> response_;
  unsigned version_ = 11;
  unsigned served_ = 0;
  std::size_t swallowed_ = 0;
  bool keep_alive_ = false;
};

template <class Protocol>
class Listener {
 public:
  Listener(Server& server, HttpHandler& handler, typename Protocol::acceptor acceptor)
      : server_(server), handler_(handler), acceptor_(std::move(acceptor)), pause_(server.io) {}

  void accept() {
    acceptor_.async_accept([this](error_code failure, typename Protocol::socket socket) {
      if (server_.stopping) return;
      if (failure) return rest();
      if (server_.connections < server_.limits.connections) {
        std::make_shared<Connection<Protocol>>(server_, handler_, std::move(socket))->wait_for_request();
      }
      accept();
    });
  }
  void close() {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  }

 private:
  // Out of descriptors, most likely: accepting again at once would spin.
  void rest() {
    pause_.expires_after(std::chrono::milliseconds(100));
    pause_.async_wait([this](error_code failure) {
      if (!failure) accept();
    });
  }

  Server& server_;
  HttpHandler& handler_;
  typename Protocol::acceptor acceptor_;
  asio::steady_timer pause_;
};

Refusal cannot_listen(const std::string& where, const error_code& failure) {
  return {Refusal::Kind::Unavailable, "cannot listen on " + where + ": " + failure.message()};
}

}  // namespace

class HttpServer::Impl : public Server {
 public:
  using Server::Server;
  std::vector<std::unique_ptr<Listener<asio::ip::tcp>>> tcp;
  std::vector<std::unique_ptr<Listener<asio::local::stream_protocol>>> local;
  std::vector<std::string> socket_files;
  std::thread thread;
};

HttpServer::HttpServer(HttpLimits limits, unsigned workers) : impl_(std::make_unique<Impl>(limits, workers)) {}
HttpServer::~HttpServer() {
  stop();
}

Answer<std::string> HttpServer::listen_tcp(const Endpoint& address, HttpHandler& handler) {
  using asio::ip::tcp;
  error_code failure;
  tcp::resolver resolver(impl_->io);
  const auto found = resolver.resolve(address.host, std::to_string(address.port), tcp::resolver::passive, failure);
  if (failure || found.empty()) return cannot_listen(address.text(), failure);
  const tcp::endpoint endpoint = found.begin()->endpoint();
  tcp::acceptor acceptor(impl_->io);
  acceptor.open(endpoint.protocol(), failure);
  if (!failure) acceptor.set_option(tcp::acceptor::reuse_address(true), failure);
  if (!failure) acceptor.bind(endpoint, failure);
  if (!failure) acceptor.listen(asio::socket_base::max_listen_connections, failure);
  if (failure) return cannot_listen(address.text(), failure);
  const Endpoint bound{address.host, acceptor.local_endpoint().port(), ""};
  impl_->tcp.push_back(std::make_unique<Listener<tcp>>(*impl_, handler, std::move(acceptor)));
  return bound.text();
}

Answer<void> HttpServer::listen_unix(const std::string& path, HttpHandler& handler) {
  using Local = asio::local::stream_protocol;
  error_code failure;
  std::error_code ignored;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
  Local::socket probe(impl_->io);
  probe.connect(Local::endpoint(path), failure);
  if (!failure) {
    return Refusal{Refusal::Kind::Unavailable,
                   "another process answers on " + path + ": is sallyport running already?"};
  }
  if (std::filesystem::is_socket(path, ignored)) std::filesystem::remove(path, ignored);
  failure = {};
  Local::acceptor acceptor(impl_->io);
  acceptor.open(Local(), failure);
  // The socket must never exist with a wider mode than the contract's 0660, not even for a moment.
  const mode_t before = ::umask(0117);
  if (!failure) acceptor.bind(Local::endpoint(path), failure);
  ::umask(before);
  if (!failure) acceptor.listen(asio::socket_base::max_listen_connections, failure);
  if (failure) return cannot_listen(path, failure);
  impl_->socket_files.push_back(path);
  impl_->local.push_back(std::make_unique<Listener<Local>>(*impl_, handler, std::move(acceptor)));
  return {};
}

void HttpServer::start() {
  for (auto& listener : impl_->tcp) listener->accept();
  for (auto& listener : impl_->local) listener->accept();
  impl_->thread = std::thread([this] {
    const auto keep_running = asio::make_work_guard(impl_->io);
    impl_->io.run();
  });
}

void HttpServer::stop() {
  if (!impl_->thread.joinable()) return;
  asio::post(impl_->io, [this] {
    impl_->stopping = true;
    for (auto& listener : impl_->tcp) listener->close();
    for (auto& listener : impl_->local) listener->close();
  });
  impl_->workers.join();  // what was asked for is finished and answered
  asio::post(impl_->io, [this] { impl_->io.stop(); });
  impl_->thread.join();
  for (const std::string& path : impl_->socket_files) ::unlink(path.c_str());
}

HttpResponse problem(unsigned status, std::string_view type, std::string_view detail) {
  const nlohmann::ordered_json body = {
      {"type", "urn:sallyport:" + std::string(type)},
      {"title", std::string(http::obsolete_reason(static_cast<http::status>(status)))},
      {"status", status},
      {"detail", std::string(detail)},
  };
  return {status, "application/problem+json",
          body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n"};
}

std::string query_value(std::string_view query, std::string_view name) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    const std::size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name || equals == std::string_view::npos) continue;
    const std::string_view raw = pair.substr(equals + 1);
    std::string value;
    for (std::size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] == '%' && i + 2 < raw.size() && digit(raw[i + 1]) >= 0 && digit(raw[i + 2]) >= 0) {
        value += static_cast<char>(digit(raw[i + 1]) * 16 + digit(raw[i + 2]));
        i += 2;
      } else {
        value += raw[i] == '+' ? ' ' : raw[i];
      }
    }
    return value;
  }
  return {};
}

}  // namespace sallyport
