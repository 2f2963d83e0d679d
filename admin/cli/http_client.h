// The command line's end of the admin socket: one request, one answer, bounded in time. Boost.Beast stays
// in http_client.cc.
#pragma once

#include <string>
#include <string_view>

#include "cache/result.h"

namespace sallyport {

struct ApiAnswer {
  unsigned status = 0;
  std::string body;
};

// `body` is sent as JSON with POST. A refusal says in one line why the server could not be asked.
Answer<ApiAnswer> ask(const std::string& socket, std::string_view method, const std::string& target,
                      const std::string& body);

std::string percent_encoded(std::string_view value);  // for one value of a query

}  // namespace sallyport
