// The HTTP server of the admin socket and of the metrics address: Boost.Beast behind a small interface,
// one thread for all connections and a few workers for handlers, which may wait for the disk. It never
// touches a session. Bounded in connections, header, body and time, so that slow or hostile clients hold
// up neither each other nor the data plane. Beast stays in http_server.cc.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cache/result.h"
#include "proxy/config.h"

namespace sallyport {

struct HttpRequest {
  std::string method;  // "GET", "POST", …
  std::string path;    // without the query, as sent
  std::string query;   // after '?', as sent
  std::string body;
};

struct HttpResponse {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
};

// Called by several workers at once.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  virtual HttpResponse handle(const HttpRequest& request) = 0;
};

struct HttpLimits {
  std::size_t header_bytes = 8 * 1024;
  std::size_t body_bytes = 1024 * 1024;
  std::size_t connections = 256;          // beyond it a new one is closed
  std::chrono::seconds request_time{10};  // a whole request must have arrived
  std::chrono::seconds idle_time{60};     // between requests of one connection
};

class HttpServer {
 public:
  HttpServer(HttpLimits limits, unsigned workers);
  ~HttpServer();  // stops: closes connections, joins
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Each may be called once or more before start(). The handler outlives the server. A refusal is one line.
  Answer<std::string> listen_tcp(const Endpoint& address, HttpHandler& handler);  // the address as bound
  // Mode 0660. A socket file that nobody answers on any more is replaced, a living one is a refusal.
  Answer<void> listen_unix(const std::string& path, HttpHandler& handler);
  void start();
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// A problem document (RFC 9457).
HttpResponse problem(unsigned status, std::string_view type, std::string_view detail);
// The decoded value of `name` in a query string; empty when absent. Bad %-escapes are kept as they are.
std::string query_value(std::string_view query, std::string_view name);

}  // namespace sallyport
