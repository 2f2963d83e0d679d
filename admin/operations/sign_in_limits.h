// How often a wrong token may be tried at the console's sign-in: by one address, and by all together. A token has 256
// random bits and needs no such help; what is bounded is the lines in the log that a stranger can cause. A right token
// is never refused for the wrong ones of others: whoever shares an address with a stranger could be kept out. How often
// a right one signs in is bounded, too: each writes a line of the audit log. Of fixed size. Not for several threads at
// once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

namespace sallyport {

class SignInLimits {
 public:
  static constexpr std::int64_t kOfAddress = 10, kOfAll = 300, kOfToken = 60;  // a minute, and as many at once
  static constexpr std::size_t kAddresses = 1024, kTokens = 1024;

  // Seconds to wait; 0: it may try, and has taken one. `now_ms`: the steady clock's.
  std::int64_t take(const std::string& peer, std::int64_t now_ms);
  // The same of one that is right, by its name.
  std::int64_t take_of_token(const std::string& name, std::int64_t now_ms);
  std::size_t addresses() const { return by_address_.size(); }

  // What is counted together: an IPv4 address, the 64 bits of an IPv6 network that one machine may have all of. `peer`:
  // an address and a port.
  static std::string address_of(const std::string& peer);

 private:
  // The generic cell rate algorithm: when the last one that was taken would be due, were they spread evenly.
  using Due = std::int64_t;
  static void forget(std::unordered_map<std::string, Due>& all, std::int64_t now_ms);

  Due all_ = 0;
  std::unordered_map<std::string, Due> by_address_, by_token_;
};

}  // namespace sallyport
