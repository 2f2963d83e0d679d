#include "admin/cli/http_client.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace sallyport {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using Local = boost::asio::local::stream_protocol;
using boost::system::error_code;

namespace {

constexpr std::uint64_t kAnswerLimit = 64 * 1024 * 1024;
constexpr auto kPatience = std::chrono::seconds(60);  // a change waits for the disk and for every shard

Refusal unreachable(const std::string& socket, const error_code& failure) {
  std::string what = "cannot reach sallyport at " + socket + ": " + failure.message();
  if (failure == boost::system::errc::permission_denied) {
    what += "; run as a member of the socket's group";
  } else {
    what += "; is `sallyport serve` running, and is --socket (or $SALLYPORT_SOCKET) its admin.socket?";
  }
  return {Refusal::Kind::Unavailable, what};
}

}  // namespace

Answer<ApiAnswer> ask(const std::string& socket, std::string_view method, const std::string& target,
                      const std::string& body) {
  if (socket.size() > 107) return Refusal{Refusal::Kind::Invalid, "the socket path is longer than 107 bytes"};
  boost::asio::io_context io;
  beast::basic_stream<Local> stream(io);
  error_code failure;
  stream.socket().connect(Local::endpoint(socket), failure);
  if (failure) return unreachable(socket, failure);

  http::request<http::string_body> request;
  request.version(11);
  request.method_string(beast::string_view(method.data(), method.size()));
  request.target(target);
  request.set(http::field::host, "localhost");
  request.set(http::field::user_agent, "sallyport");
  if (!body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = body;
  request.prepare_payload();
  request.keep_alive(false);

  // Asynchronous calls run to their end here: only those of a beast stream have a timeout.
  http::response_parser<http::string_body> parser;
  parser.body_limit(kAnswerLimit);
  beast::flat_buffer buffer;
  stream.expires_after(kPatience);
  http::async_write(stream, request, [&](error_code write_failure, std::size_t) {
    failure = write_failure;
    if (failure) return;
    http::async_read(stream, buffer, parser, [&](error_code read_failure, std::size_t) { failure = read_failure; });
  });
  io.run();
  if (failure)
    return Refusal{Refusal::Kind::Unavailable, "sallyport at " + socket + " did not answer: " + failure.message()};
  return ApiAnswer{parser.get().result_int(), std::move(parser.get().body())};
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
