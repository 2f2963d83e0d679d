#include "admin/operations/caretaker.h"

#include <ctime>

#include "admin/operations/build_info.h"
#include "admin/operations/objects.h"
#include "cache/crypto/keys_unread.h"
#include "cache/crypto/locked_memory.h"
#include "proxy/tls/tls_files.h"

namespace sallyport {

namespace {

using Found = std::vector<std::pair<std::string, std::string>>;
using Kind = Warnings::Kind;

}  // namespace

Caretaker::Caretaker(DataPlane& plane, Registrar& registrar, Access& access, ConsoleSessions& signed_in,
                     ListenerControl& listeners, Warnings& warnings, Samples& samples, SharedTicketKeys& ticket_keys,
                     Logger& log)
    : plane_(plane),
      registrar_(registrar),
      access_(access),
      signed_in_(signed_in),
      listeners_(listeners),
      warnings_(warnings),
      samples_(samples),
      ticket_keys_(ticket_keys),
      log_(log),
      clock_(std::time(nullptr), steady_seconds()) {}

void Caretaker::look_at_settings() {
  if (const std::uint64_t settings = registrar_.settings_changed(); settings != settings_seen_) {
    settings_seen_ = settings;
    if (const auto taken = access_.follow_others(); !taken) log_.error("access", {{"why", taken.error().what}});
    listeners_.follow_others();
  }
  ticket_keys_.look(std::time(nullptr));
}

void Caretaker::look() {
  const std::int64_t now = std::time(nullptr);
  plane_.tick(now);
  registrar_.look_at_shared();
  look_at_settings();
  samples_.look(std::chrono::steady_clock::now(), now);
  look_at_clock(now);
  listeners_.look_at_files();
  warn_of_clock(now);
  warn_of_certificates(now);
  warn_of_listener_cas();
  warn_of_tickets();
  for (const CrlRecord& crl : registrar_.newly_overdue(now)) {
    log_.warn("crl-overdue", {{"ca", to_hex(crl.ca)},
                              {"scope", crl.scope},
                              {"due", utc(crl.next_update)},
                              {"means", "what was revoked since is not known here: import the CA's next CRL"}});
  }
  Found names, cas;
  for (const std::string& server : plane_.unresolved()) {
    names.emplace_back(server, "the name does not resolve: no session goes there; Sallyport asks again by itself");
  }
  warnings_.say_all(Kind::BrokerName, names);
  for (const Certificate& ca : registrar_.passed_over()) {
    cas.emplace_back(ca.subject(), "named by registry.trusted_cas, " + std::string(date_flaw(ca, now)) +
                                       " and not registered: its devices are refused");
  }
  warnings_.say_all(Kind::TrustedCa, cas);
  warnings_.say(Kind::KeyMemory, "private keys", key_memory_flaw(KeyMemory::state()));
}

// What a date decides is looked at every second, and all of it where the clock was set.
void Caretaker::look_at_clock(std::int64_t now) {
  access_.tick(now);
  signed_in_.tick();
  // Both clocks at one time: where this thread had to wait between the two, the next look tells.
  const std::int64_t before = steady_seconds(), wall = std::time(nullptr), steady = steady_seconds();
  if (const std::int64_t by = steady - before > 1 ? 0 : clock_.set_by(wall, steady); by != 0) {
    log_.warn("clock-set", {{"by_seconds", by}, {"what", "the dates of every session are looked at again"}});
    registrar_.clock_was_set(now);
    plane_.clock_was_set();
  } else {
    registrar_.look_at_dates(now);
  }
}

void Caretaker::warn_of_clock(std::int64_t now) {
  std::tm day{};
  const bool known = ::strptime(kBuildInfo.date, "%Y-%m-%d", &day) != nullptr;
  const bool before = known && now < ::timegm(&day);
  // Without the time in the sentence: it is one warning, however long it lasts.
  warnings_.say(Kind::Clock, "clock",
                before ? "it is before " + std::string(kBuildInfo.date) +
                             ", when this program was built: set it; certificates that are valid are refused until then"
                       : std::string());
}

void Caretaker::warn_of_certificates(std::int64_t now) {
  Found found;
  const auto listeners = plane_.listeners();
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    for (const ServerCertificate& each : plane_.certificates(i)) {
      const std::string_view flaw = date_flaw(each.leaf(), now);
      if (flaw.empty()) continue;
      found.emplace_back("listener " + listeners[i].name + ": " + to_hex(each.leaf().fingerprint()),
                         "the server certificate of " + each.names.front() + " " + std::string(flaw) + " (" +
                             utc(each.leaf().not_before()) + " to " + utc(each.leaf().not_after()) +
                             "): a client that looks at dates refuses it; renew it, or set the clock");
    }
  }
  warnings_.say_all(Kind::ServerCertificate, found);
}

// A slip in an id keeps every device out, or its CA may be registered after the file was written: both are told until
// it is there.
void Caretaker::warn_of_listener_cas() {
  Found found;
  for (const ListenerInfo& listener : plane_.listeners()) {
    const auto admits = plane_.listener_admits(listener.name);
    if (!admits) continue;
    for (const Digest& id : admits->cas) {
      if (registrar_.ca(id)) continue;
      found.emplace_back(
          "listener " + listener.name + ": " + to_hex(id),
          "its cas names a CA that is not registered: it lets nobody in; `sallyport ca list` has the ids");
    }
  }
  warnings_.say_all(Kind::ListenerCas, found);
}

void Caretaker::warn_of_tickets() {
  if (gave_up_said_ || !KeysUnread::given_up()) return;
  gave_up_said_ = true;
  log_.warn("openssl-alone",
            {{"keys_of_tickets", "read"},
             {"why", "a provider could not open a ticket in OpenSSL's default library context's absence"},
             {"means", "the device that came with it comes again; tickets cost more from now on"}});
}

}  // namespace sallyport
