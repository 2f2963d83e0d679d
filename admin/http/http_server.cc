#include "admin/http/http_server.h"

#include <arpa/inet.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "admin/http/http_connection.h"
#include "cache/base/text.h"
#include "cache/crypto/locked_memory.h"
#include "proxy/tls/tls_files.h"

namespace sallyport {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using namespace http_detail;

namespace {

using Tcp = asio::ip::tcp;
using Local = asio::local::stream_protocol;
using TlsPtr = std::unique_ptr<asio::ssl::context>;

// Checked as a listener's files are; asio then reads them again for itself.
Answer<TlsPtr> tls_from(const CertificateFiles& files) {
  if (const auto checked = load_server_certificate(files); !checked) return checked.error();
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  error_code failure;
  const KeyMemory locked;  // the private key's
  context->set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1, failure);
  if (!failure) context->use_certificate_chain_file(files.chain, failure);
  if (!failure) context->use_private_key_file(files.key, asio::ssl::context::pem, failure);
  if (failure) return Refusal{Refusal::Kind::Invalid, files.chain + ": " + failure.message()};
  return context;
}

HttpPeer peer_of(const Tcp::socket& socket) {
  error_code failure;
  const auto remote = socket.remote_endpoint(failure);
  return {false, "", failure ? "unknown" : remote.address().to_string() + ":" + std::to_string(remote.port())};
}
HttpPeer peer_of(Local::socket& socket) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  // unix(7): who connected, as the kernel saw it then.
  if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return {true, "uid unknown", "socket"};
  }
  return {true, "uid " + std::to_string(credentials.uid), "socket pid " + std::to_string(credentials.pid)};
}

template <class Protocol>
class Listener {
 public:
  Listener(Server& server, HttpHandler& handler, typename Protocol::acceptor acceptor, TlsPtr tls = nullptr)
      : server_(server), handler_(handler), acceptor_(std::move(acceptor)), tls_(std::move(tls)), pause_(server.io) {}

  void accept() {
    acceptor_.async_accept([this](error_code failure, typename Protocol::socket socket) {
      if (server_.stopping) return;
      if (failure) return rest();
      // Give one up, and there is room from the next turn of the loop on; for a moment there is one more.
      if (server_.connections < server_.limits.connections || server_.make_room()) serve(std::move(socket));
      accept();
    });
  }
  // Connections that are open keep what they began with.
  void set_tls(TlsPtr tls) { tls_ = std::move(tls); }
  void close() {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  }

 private:
  void serve(typename Protocol::socket socket) {
    HttpPeer peer = peer_of(socket);
    peer.tls = tls_ != nullptr;
    Plain plain(std::move(socket));
    if (tls_ == nullptr) {
      return std::make_shared<Connection<Plain>>(server_, handler_, std::move(peer), std::move(plain))->begin();
    }
    std::make_shared<Connection<Tls>>(server_, handler_, std::move(peer), Tls(std::move(plain), *tls_))->begin();
  }

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
  TlsPtr tls_;  // null: plain
  asio::steady_timer pause_;
};

Refusal cannot_listen(const std::string& where, const error_code& failure) {
  return {Refusal::Kind::Unavailable, "cannot listen on " + where + ": " + failure.message()};
}

}  // namespace

class HttpServer::Impl : public Server {
 public:
  using Server::Server;
  std::vector<std::unique_ptr<Listener<Tcp>>> tcp;
  std::vector<std::unique_ptr<Listener<Local>>> local;
  std::vector<std::string> socket_files;
  std::thread thread;
};

HttpServer::HttpServer(HttpLimits limits, unsigned workers) : impl_(std::make_unique<Impl>(limits, workers)) {}
HttpServer::~HttpServer() {
  stop();
}

Answer<std::string> HttpServer::listen_tcp(const Endpoint& address, HttpHandler& handler,
                                           const std::optional<CertificateFiles>& tls) {
  error_code failure;
  TlsPtr context;
  if (tls) {
    auto made = tls_from(*tls);
    if (!made) return made.error();
    context = std::move(*made);
  }
  Tcp::resolver resolver(impl_->io);
  const auto found = resolver.resolve(address.host, std::to_string(address.port), Tcp::resolver::passive, failure);
  if (failure || found.empty()) return cannot_listen(address.text(), failure);
  const Tcp::endpoint endpoint = found.begin()->endpoint();
  Tcp::acceptor acceptor(impl_->io);
  acceptor.open(endpoint.protocol(), failure);
  if (!failure) acceptor.set_option(Tcp::acceptor::reuse_address(true), failure);
  if (!failure) acceptor.bind(endpoint, failure);
  if (!failure) acceptor.listen(asio::socket_base::max_listen_connections, failure);
  if (failure) return cannot_listen(address.text(), failure);
  const Endpoint bound{address.host, acceptor.local_endpoint().port(), ""};
  impl_->tcp.push_back(std::make_unique<Listener<Tcp>>(*impl_, handler, std::move(acceptor), std::move(context)));
  return bound.text();
}

Answer<void> HttpServer::listen_unix(const std::string& path, HttpHandler& handler) {
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
  // The socket must never exist with a wider mode than 0660, not even for a moment.
  const mode_t before = ::umask(0117);
  if (!failure) acceptor.bind(Local::endpoint(path), failure);
  ::umask(before);
  if (!failure) acceptor.listen(asio::socket_base::max_listen_connections, failure);
  if (failure) return cannot_listen(path, failure);
  impl_->socket_files.push_back(path);
  impl_->local.push_back(std::make_unique<Listener<Local>>(*impl_, handler, std::move(acceptor)));
  return {};
}

Answer<std::function<void()>> HttpServer::prepare_tls(const CertificateFiles& files) {
  auto made = tls_from(files);
  if (!made) return made.error();
  auto context = std::make_shared<TlsPtr>(std::move(*made));
  return std::function<void()>([this, context] {
    asio::post(impl_->io, [this, context] {
      for (auto& listener : impl_->tcp) listener->set_tls(std::move(*context));
    });
  });
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
    while (!impl_->streams.empty()) impl_->streams.front()->give_up();
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
          steering_escaped(body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)) + "\n"};
}

bool is_foreign_host(std::string_view host) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    if (end == std::string_view::npos) return true;
    host = host.substr(1, end - 1);
  } else if (std::count(host.begin(), host.end(), ':') == 1) {
    host = host.substr(0, host.find(':'));
  }
  if (host.empty()) return false;  // HTTP/1.0 has none
  const std::string name(host);
  in6_addr room{};
  return ::strcasecmp(name.c_str(), "localhost") != 0 && ::inet_pton(AF_INET, name.c_str(), &room) != 1 &&
         ::inet_pton(AF_INET6, name.c_str(), &room) != 1;
}

std::string percent_decoded(std::string_view raw, bool plus_is_space) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string value;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] == '%' && i + 2 < raw.size() && digit(raw[i + 1]) >= 0 && digit(raw[i + 2]) >= 0) {
      value += static_cast<char>(digit(raw[i + 1]) * 16 + digit(raw[i + 2]));
      i += 2;
    } else {
      value += raw[i] == '+' && plus_is_space ? ' ' : raw[i];
    }
  }
  return value;
}

std::string query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    const std::size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name || equals == std::string_view::npos) continue;
    return percent_decoded(pair.substr(equals + 1), true);
  }
  return {};
}

}  // namespace sallyport
