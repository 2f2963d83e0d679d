// A connection string of PostgreSQL (libpq, "Connection URIs"), as libpq reads it: what it says, and what is wrong with
// it. It may hold a password, which is in nothing that these functions return but value(). Any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct _PQconninfoOption;

namespace sallyport {

// A server of those that a connection string names. `address`: where its name has led, so that nobody asks again.
struct PgPlace {
  std::string host, address, port;
  bool operator==(const PgPlace&) const = default;
};

class PgUrl {
 public:
  explicit PgUrl(const std::string& url);
  explicit operator bool() const { return options_ != nullptr; }  // false: libpq cannot read it, or is not there
  std::string value(std::string_view keyword) const;              // empty where it does not say
  // With what libpq takes from the environment or from a service's file where the string does not say.
  bool all_on_this_machine() const;
  // The servers, to be tried one after the other. Empty: libpq sorts it out alone, as the string says.
  std::vector<PgPlace> places() const;

  // What is wrong with a connection string; empty: nothing. Where it does not say how it is protected, a server that is
  // not on this machine has to show a certificate for its name (sslmode=verify-full).
  static std::string flaw(const std::string& url);
  // The same as a warning: an operator chose a weaker sslmode. Empty: none.
  static std::string weakness(const std::string& url);
  // A file that the string names, or whose certificates would prove the server, and that cannot be read, or holds none.
  // Empty: there is no such file.
  static std::string unreadable(const std::string& url);
  // To be shown: host, port and database.
  static std::string shown(const std::string& url);

 private:
  struct Free {
    void operator()(_PQconninfoOption* options) const;
  };
  std::unique_ptr<_PQconninfoOption, Free> options_;
  std::string why_;  // it cannot be read
};

}  // namespace sallyport
