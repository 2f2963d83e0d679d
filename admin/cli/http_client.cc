#include "admin/cli/http_client.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <cerrno>
#include <cstring>

namespace sallyport {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Local = asio::local::stream_protocol;
using Tcp = asio::ip::tcp;
// TCP and unix sockets are one type once they are connected: what Beast makes of a stream takes long to compile.
using Plain = beast::basic_stream<asio::generic::stream_protocol>;
using Tls = beast::ssl_stream<Plain>;
using boost::system::error_code;

namespace {

constexpr std::uint64_t kAnswerLimit = 64 * 1024 * 1024;
constexpr auto kPatience = std::chrono::seconds(60);  // a change waits for the disk and for every shard

Refusal unavailable(std::string what) {
  return {Refusal::Kind::Unavailable, std::move(what)};
}

Refusal unreachable(const std::string& socket, const error_code& failure) {
  std::string what = "cannot reach sallyport at " + socket + ": " + failure.message();
  if (failure == boost::system::errc::permission_denied) {
    what += "; run as a member of the socket's group";
  } else {
    what += "; is `sallyport serve` running, and is --socket (or $SALLYPORT_SOCKET) its admin.socket?";
  }
  return unavailable(what);
}

struct Url {
  bool tls = false;
  std::string host, port;
};

Answer<Url> parse_url(const std::string& text) {
  Url url;
  std::string_view rest = text;
  if (rest.substr(0, 8) == "https://") {
    url.tls = true;
    rest.remove_prefix(8);
  } else if (rest.substr(0, 7) == "http://") {
    rest.remove_prefix(7);
  } else {
    return Refusal{Refusal::Kind::Invalid, "--url takes https://HOST:PORT, or http:// on loopback"};
  }
  while (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  const std::size_t bracket = rest.find(']');
  const std::size_t colon = rest.find(':', bracket == std::string_view::npos ? 0 : bracket);
  url.host = rest.substr(0, colon);
  url.port = colon == std::string_view::npos ? (url.tls ? "443" : "80") : std::string(rest.substr(colon + 1));
  if (url.host.size() > 2 && url.host.front() == '[') url.host = url.host.substr(1, url.host.size() - 2);
  if (url.host.empty() || url.host.find('/') != std::string::npos || url.port.find('/') != std::string::npos) {
    return Refusal{Refusal::Kind::Invalid, "--url takes https://HOST:PORT and nothing behind it"};
  }
  return url;
}

template <class Request>
void fill(Request& request, std::string_view method, const std::string& target, const ApiAddress& address) {
  request.version(11);
  request.method_string(beast::string_view(method.data(), method.size()));
  request.target(target);
  request.set(http::field::host, address.url.empty() ? "localhost" : address.url.substr(address.url.find("//") + 2));
  request.set(http::field::user_agent, "sallyport");
  if (!address.token.empty()) request.set(http::field::authorization, "Bearer " + address.token);
  request.keep_alive(false);
}

Plain& lowest(Plain& stream) {
  return stream;
}
Plain& lowest(Tls& stream) {
  return stream.next_layer();
}

// Asynchronous calls run to their end: only those of a beast stream have a timeout.
template <class Stream>
Answer<ApiAnswer> read_answer(asio::io_context& io, Stream& stream, const std::string& where) {
  http::response_parser<http::string_body> parser;
  parser.body_limit(kAnswerLimit);
  beast::flat_buffer buffer;
  error_code failure;
  lowest(stream).expires_after(kPatience);
  http::async_read(stream, buffer, parser, [&](error_code read_failure, std::size_t) { failure = read_failure; });
  io.restart();
  io.run();
  if (failure) return unavailable("sallyport at " + where + " did not answer: " + failure.message());
  return ApiAnswer{parser.get().result_int(), std::move(parser.get().body())};
}

// Calls `speak(io, stream, where)` with a connected stream of whichever kind the address asks for.
template <class Speak>
Answer<ApiAnswer> with_stream(const ApiAddress& address, Speak speak) {
  asio::io_context io;
  error_code failure;
  if (address.url.empty()) {
    if (address.socket.size() > 107) return Refusal{Refusal::Kind::Invalid, "the socket path is longer than 107 bytes"};
    Local::socket socket(io);
    socket.connect(Local::endpoint(address.socket), failure);
    if (failure) return unreachable(address.socket, failure);
    Plain plain(std::move(socket));
    return speak(io, plain, address.socket);
  }
  const auto url = parse_url(address.url);
  if (!url) return url.error();
  if (address.token.empty()) {
    return Refusal{Refusal::Kind::Invalid, "--url needs a token: --token-file FILE, or $SALLYPORT_TOKEN"};
  }
  Tcp::resolver resolver(io);
  const auto found = resolver.resolve(url->host, url->port, failure);
  if (failure) return unavailable("cannot resolve " + url->host + ": " + failure.message());
  const bool loopback = !found.empty() && found.begin()->endpoint().address().is_loopback();
  if (!url->tls && !loopback) {
    return Refusal{Refusal::Kind::Invalid, "http:// would send the token in clear: use https://"};
  }
  beast::tcp_stream tcp(io);
  tcp.expires_after(kPatience);
  tcp.async_connect(found, [&](error_code connected, const Tcp::endpoint&) { failure = connected; });
  io.run();
  if (failure) return unavailable("cannot reach sallyport at " + address.url + ": " + failure.message());
  Plain plain(tcp.release_socket());
  if (!url->tls) return speak(io, plain, address.url);
  asio::ssl::context context(asio::ssl::context::tls_client);
  if (address.cacert.empty()) {
    context.set_default_verify_paths(failure);
  } else if (context.load_verify_file(address.cacert, failure); failure) {
    return Refusal{Refusal::Kind::Invalid, "--cacert: " + address.cacert + ": " + failure.message()};
  }
  context.set_verify_mode(asio::ssl::verify_peer);
  Tls stream(std::move(plain), context);
  stream.set_verify_callback(asio::ssl::host_name_verification(url->host), failure);
  lowest(stream).expires_after(kPatience);
  stream.async_handshake(asio::ssl::stream_base::client, [&](error_code shaken) { failure = shaken; });
  io.restart();
  io.run();
  if (failure) {
    return unavailable("TLS with " + address.url + " failed: " + failure.message() +
                       "; is its CA trusted here (--cacert FILE, or $SSL_CERT_FILE)?");
  }
  return speak(io, stream, address.url);
}

}  // namespace

Answer<ApiAnswer> ask(const ApiAddress& address, std::string_view method, const std::string& target,
                      const std::string& body, const std::string& content_type) {
  http::request<http::string_body> request;
  fill(request, method, target, address);
  if (!body.empty()) request.set(http::field::content_type, content_type);
  request.body() = body;
  request.prepare_payload();
  return with_stream(address, [&](asio::io_context& io, auto& stream, const std::string& where) -> Answer<ApiAnswer> {
    lowest(stream).expires_after(kPatience);
    // A server that refuses may answer before it has read everything: its answer counts.
    http::async_write(stream, request, [](error_code, std::size_t) {});
    io.restart();
    io.run();
    return read_answer(io, stream, where);
  });
}

Answer<ApiAnswer> send_files(const ApiAddress& address, const std::string& target,
                             const std::vector<std::string>& paths, const std::function<void(std::uint64_t)>& sent) {
  return with_stream(address, [&](asio::io_context& io, auto& stream, const std::string& where) -> Answer<ApiAnswer> {
    http::request<http::empty_body> head;
    fill(head, "POST", target, address);
    head.set(http::field::content_type, "application/x-pem-file");
    head.chunked(true);
    http::request_serializer<http::empty_body> serializer(head);
    error_code failure;
    // While the server works it does not read, for as long as it takes: no timeout here.
    lowest(stream).expires_never();
    http::write_header(stream, serializer, failure);
    std::vector<char> piece(64 * 1024);
    std::uint64_t total = 0;
    for (const std::string& path : paths) {
      const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      if (fd < 0) return Refusal{Refusal::Kind::Invalid, path + ": " + std::strerror(errno)};
      ssize_t n = 0;
      char last = '\n';
      while (!failure && (n = ::read(fd, piece.data(), piece.size())) > 0) {
        asio::write(stream, http::make_chunk(asio::buffer(piece.data(), static_cast<std::size_t>(n))), failure);
        last = piece[static_cast<std::size_t>(n) - 1];
        total += static_cast<std::uint64_t>(n);
        sent(total);
      }
      ::close(fd);
      // Files that do not end in a line end must not run into each other.
      if (!failure && last != '\n') asio::write(stream, http::make_chunk(asio::buffer("\n", 1)), failure);
    }
    if (!failure) asio::write(stream, http::make_chunk_last(), failure);
    return read_answer(io, stream, where);
  });
}

Answer<ApiAnswer> follow(const ApiAddress& address, const std::string& target,
                         const std::function<bool(std::string_view)>& piece) {
  constexpr auto kSilence = std::chrono::seconds(35);  // three heartbeats
  http::request<http::empty_body> request;
  fill(request, "GET", target, address);
  return with_stream(address, [&](asio::io_context& io, auto& stream, const std::string& where) -> Answer<ApiAnswer> {
    error_code failure;
    const auto finish = [&] {
      io.restart();
      io.run();
      return !failure;
    };
    const auto noted = [&failure](error_code met, std::size_t) { failure = met; };
    lowest(stream).expires_after(kPatience);
    http::async_write(stream, request, noted);
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(UINT64_MAX);
    beast::flat_buffer buffer;
    if (finish()) {
      lowest(stream).expires_after(kPatience);
      http::async_read_header(stream, buffer, parser, noted);
    }
    if (failure || !finish()) return unavailable("sallyport at " + where + " did not answer: " + failure.message());
    ApiAnswer answer{parser.get().result_int(), ""};
    std::vector<char> room(64 * 1024);
    while (!parser.is_done()) {
      parser.get().body().data = room.data();
      parser.get().body().size = room.size();
      lowest(stream).expires_after(kSilence);
      http::async_read_some(stream, buffer, parser, noted);
      finish();
      if (failure == http::error::need_buffer) failure = {};  // the piece is full: there is more
      if (failure) return unavailable("sallyport at " + where + " is gone: " + failure.message());
      const std::string_view came(room.data(), room.size() - parser.get().body().size);
      if (answer.status != 200) {
        answer.body += came;
        if (answer.body.size() > kAnswerLimit) break;
      } else if (!came.empty() && !piece(came)) {
        break;
      }
    }
    return answer;
  });
}

std::string percent_encoded(std::string_view value) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                       byte == '-' || byte == '.' || byte == '_' || byte == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

}  // namespace sallyport
