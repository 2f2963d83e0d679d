// The HTTP server of the admin socket and of the metrics address: Boost.Beast behind a small interface,
// one thread for all connections and a few workers for handlers, which may wait for the disk. It never
// touches a session. Bounded in connections, header, body and time, so that slow or hostile clients hold
// up neither each other nor the data plane. Beast stays in http_server.cc.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/base/result.h"
#include "proxy/config/config.h"

namespace sallyport {

// Who is at the other end.
struct HttpPeer {
  bool local = false;  // the admin socket: whoever may open it is the operator
  std::string name;    // "uid 0" on the socket
  std::string from;    // "socket pid 4711", or the peer's address
  bool tls = false;
};

struct HttpRequest {
  std::string method;  // "GET", "POST", …
  std::string path;    // without the query, as sent
  std::string query;   // after '?', as sent
  std::string authorization;
  std::string host, accept, accept_encoding, content_type, if_none_match;
  // What a browser adds: its cookies, from which page the request comes, and what our page says beside it.
  std::string cookie, origin, fetch_site, csrf;
  bool background = false;  // asked by the page itself, not by a person
  HttpPeer peer;
  std::string body;  // empty where a BodySink takes it
};

// A body that comes by and by. All of it is called on the server's own thread, and must not block.
class BodySource {
 public:
  virtual ~BodySource() = default;
  virtual std::string take() = 0;  // what there is; empty: nothing now
  virtual bool over() const = 0;   // and nothing comes any more
  // What is called, on any thread, once there is something to take, or it is over. Not any more after the next call of
  // this, nor after the end of this object. Called once and never again where it is empty.
  virtual void call_when_ready(std::function<void()> wake) = 0;
};

struct HttpResponse {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::shared_ptr<BodySource> source = nullptr;  // in place of the body: ends when that is over, or its reader is gone
  std::vector<std::pair<std::string, std::string>> headers = {};  // beside the server's own, or in their place
};

// Takes a body in pieces, so that its size is no matter of memory. On a worker's thread; may block: then the
// client is not read from.
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual bool take(std::string_view piece) = 0;  // false: no more is wanted
  virtual HttpResponse finish(bool whole) = 0;    // `whole`: the body came to its end
};

// What is to be done with a request whose head has arrived.
struct HttpPlan {
  std::string holder;                   // whose valid token or sign-in it shows; empty: a stranger's
  std::optional<HttpResponse> refused;  // answered at once; the body is not read
  std::size_t body_bytes = 0;           // 0: the server's limit
  std::unique_ptr<BodySink> sink;       // null: the body is collected
};

// Called by several workers at once.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  virtual HttpResponse handle(const HttpRequest& request) = 0;
  // On the server's own thread: must not block. Strangers are turned away here, before their body is read.
  virtual HttpPlan plan(const HttpRequest&) { return {}; }
};

struct HttpLimits {
  std::size_t header_bytes = 8 * 1024;
  std::size_t body_bytes = 1024 * 1024;
  std::size_t connections = 256;          // beyond it somebody makes room: http_guests.h
  std::chrono::seconds request_time{10};  // a whole request must have arrived
  std::chrono::seconds piece_time{60};    // of a body that is taken in pieces: until the next piece
  std::chrono::seconds idle_time{60};     // between requests of one connection
};

class HttpServer {
 public:
  HttpServer(HttpLimits limits, unsigned workers);
  ~HttpServer();  // stops: closes connections, joins
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Each may be called once or more before start(). The handler outlives the server. A refusal is one line.
  // Returns the address as bound. With `tls` it speaks TLS 1.2 or 1.3 only; the files are read here.
  Answer<std::string> listen_tcp(const Endpoint& address, HttpHandler& handler,
                                 const std::optional<CertificateFiles>& tls = std::nullopt);
  // Mode 0660. A socket file that nobody answers on any more is replaced, a living one is a refusal.
  Answer<void> listen_unix(const std::string& path, HttpHandler& handler);
  // Reads and checks the files; once the answer is called, new connections of its one TLS address use them. After
  // start(), any thread; not after the end of this object.
  Answer<std::function<void()>> prepare_tls(const CertificateFiles& files);
  void start();
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// A problem document (RFC 9457).
HttpResponse problem(unsigned status, std::string_view type, std::string_view detail);
// Whether this Host header (RFC 9110, section 7.2) is a name that a page of somebody else's may have had resolved to
// this machine's own address (DNS rebinding): anything but an address and "localhost".
bool is_foreign_host(std::string_view host);
// %-escapes decoded; bad ones are kept as they are.
std::string percent_decoded(std::string_view raw, bool plus_is_space);
// The decoded value of `name` in a query string; empty when absent. Bad %-escapes are kept as they are.
std::string query_value(std::string_view query, std::string_view name);

}  // namespace sallyport
