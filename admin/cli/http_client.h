// The command line's end of the API: over the admin socket, or over the network with a token. One request, one
// answer, bounded in time. Boost.Beast stays in http_client.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"

namespace sallyport {

struct ApiAddress {
  std::string socket;
  std::string url;       // "https://host:port" or "http://127.0.0.1:port"; empty: the socket
  std::string token;     // with the url
  std::string cacert{};  // PEM: who may have signed the server's certificate; empty: whom the system trusts
};

struct ApiAnswer {
  unsigned status = 0;
  std::string body;
};

// `body` is sent as JSON where no other type is named. A refusal says in one line why the server could not be asked.
Answer<ApiAnswer> ask(const ApiAddress& address, std::string_view method, const std::string& target,
                      const std::string& body, const std::string& content_type = "application/json");

// POSTs files one after the other as one body, in pieces. `sent` hears of every piece.
Answer<ApiAnswer> send_files(const ApiAddress& address, const std::string& target,
                             const std::vector<std::string>& paths, const std::function<void(std::uint64_t)>& sent);

// GETs a body that comes by and by. `piece` hears of each piece as it comes, and ends it by returning false. The answer
// has a body where it is a refusal. Who says nothing for so long that heartbeats must have come is gone.
Answer<ApiAnswer> follow(const ApiAddress& address, const std::string& target,
                         const std::function<bool(std::string_view)>& piece);

std::string percent_encoded(std::string_view value);  // for one value of a query

}  // namespace sallyport
