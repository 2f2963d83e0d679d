// A real PostgreSQL for tests: Debian's, in a temporary folder and on a loopback port of its own, by a user that is not
// root, ended by its process id.
#pragma once

#include <sys/types.h>

#include <string>

#include "tests/cache/test_pki.h"

namespace sallyport::test {

class Postgres {
 public:
  Postgres();  // initdb, start, and a registry in it
  // Another server with the data of one that is stopped, as a standby that took over. It has to be started.
  struct CopyOf {
    const Postgres& stopped;
  };
  explicit Postgres(CopyOf from);
  ~Postgres();
  void start();
  void kill9();  // as a machine that dies
  void stop();   // in an orderly manner
  void pause();  // SIGSTOP: connections stay open and nothing is answered
  void go_on();
  std::string url() const { return "postgresql://postgres@" + place() + "/postgres"; }
  std::string place() const { return "127.0.0.1:" + std::to_string(port_); }
  const std::string& data() const { return data_; }
  static bool installed();

 private:
  void own(const std::string& path) const;
  void configure() const;
  void spawn();
  void signal(int which) const;
  void run(const std::string& program, const std::string& arguments) const;
  bool answers() const;

  TempDir dir_;
  std::string bin_, data_;
  unsigned short port_ = 0;
  pid_t pid_ = 0;
};

}  // namespace sallyport::test
