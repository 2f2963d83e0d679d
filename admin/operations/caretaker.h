// What may change without anybody telling: the clock, what hangs on dates, certificate files, names. Looked at about
// every second, on the main thread.
#pragma once

#include "admin/operations/access.h"
#include "admin/operations/console_sessions.h"
#include "admin/operations/listener_control.h"
#include "admin/operations/samples.h"
#include "admin/operations/shared_ticket_keys.h"
#include "admin/operations/warnings.h"
#include "cache/base/clock_watch.h"
#include "cache/registry/registrar.h"
#include "proxy/data_plane.h"

namespace sallyport {

class Caretaker {
 public:
  // All outlive it.
  Caretaker(DataPlane& plane, Registrar& registrar, Access& access, ConsoleSessions& signed_in,
            ListenerControl& listeners, Warnings& warnings, Samples& samples, SharedTicketKeys& ticket_keys,
            Logger& log);

  void look();
  void look_at_settings();  // that others changed: at once, where the registrar's settings_fd() is rung

 private:
  void look_at_clock(std::int64_t now);
  void warn_of_clock(std::int64_t now);
  void warn_of_certificates(std::int64_t now);
  void warn_of_listener_cas();
  void warn_of_tickets();

  DataPlane& plane_;
  Registrar& registrar_;
  Access& access_;
  ConsoleSessions& signed_in_;
  ListenerControl& listeners_;
  Warnings& warnings_;
  Samples& samples_;
  SharedTicketKeys& ticket_keys_;
  Logger& log_;
  ClockWatch clock_;
  bool gave_up_said_ = false;
  std::uint64_t settings_seen_ = 0;  // what other nodes changed
};

}  // namespace sallyport
