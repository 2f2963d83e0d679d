// What systemd hears of this process where it runs as a unit of Type=notify or notify-reload: datagrams to
// $NOTIFY_SOCKET, a path or, with @, an abstract name (sd_notify(3)). Written here, because libsystemd would bring five
// libraries along. Without that variable nothing is sent. The main thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>

namespace sallyport {

class Systemd {
 public:
  // $NOTIFY_SOCKET, and $WATCHDOG_USEC: whether a watchdog waits to be fed.
  static Systemd from_environment();
  Systemd(std::string socket, bool has_watchdog) : socket_(std::move(socket)), has_watchdog_(has_watchdog) {}

  void ready(std::string_view status) const;
  // Before a reload, and ready() behind it. systemd takes no answer for one that was sent before it asked.
  void reloading() const;
  void stopping(std::string_view status, std::chrono::milliseconds within) const;
  // Another process of this unit is the one to watch from now on.
  void main_is(pid_t pid) const;
  void feed_watchdog() const;

 private:
  void tell(const std::string& message) const;

  const std::string socket_;
  const bool has_watchdog_;
};

}  // namespace sallyport
