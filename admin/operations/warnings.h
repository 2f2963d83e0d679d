// What is wrong and served nevertheless: an expired certificate, a clock that cannot be right, a broker whose name does
// not resolve. Each is in the log when it begins, changes and ends, and in status and metrics while it lasts. Any
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/base/log.h"

namespace sallyport {

class Warnings {
 public:
  enum class Kind : std::uint8_t {
    Clock,
    ServerCertificate,
    KeyFile,
    BrokerName,
    TrustedCa,
    Reload,
    KeyMemory,
    ListenerCas,
    CertificateFiles
  };
  static constexpr std::array<std::string_view, 9> kKinds = {"clock",       "server-certificate", "key-file",
                                                             "broker-name", "trusted-ca",         "reload",
                                                             "key-memory",  "listener-cas",       "certificate-files"};
  struct Warning {
    Kind kind = Kind::Clock;
    std::string about;       // a listener's name, a server's address, a CA's subject
    std::string what;        // a sentence, with what to do
    std::int64_t since = 0;  // Unix seconds
  };

  explicit Warnings(Logger& log) : log_(log) {}

  // Empty: it is over, if it ever was.
  void say(Kind kind, const std::string& about, const std::string& what);
  // Of one kind all there are now, `about` first in each pair: what is not among them is over.
  void say_all(Kind kind, const std::vector<std::pair<std::string, std::string>>& found);
  std::vector<Warning> all() const;

 private:
  void say_locked(Kind kind, const std::string& about, const std::string& what);

  Logger& log_;
  mutable std::mutex mutex_;
  std::map<std::pair<Kind, std::string>, Warning> warnings_;
};

}  // namespace sallyport
