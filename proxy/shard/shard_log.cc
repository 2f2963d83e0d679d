// What a shard says of its sessions: a line when one begins to be served and one when it ends, with the same names for
// the same things; a line for each refusal, unless there are too many of them; and what `rejections` keeps.
#include "cache/base/text.h"
#include "proxy/session/session.h"
#include "proxy/shard/shard.h"

namespace sallyport {

namespace {

// Whose session it is, and how it came: made once a line.
struct SessionWords {
  std::string session, peer, via, serial, fingerprint;
  std::string_view subject, cn, tls, kind, engine, group, mqtt, upstream, server;
};

std::string_view kind_of(const Session& session, const Verdict* verdict) {
  if (session.resumed()) return "resumed";
  if (verdict == nullptr) return "full";  // there is no device: a one-way listener
  return verdict->fresh ? "new" : "known";
}

SessionWords words_of(const Session& session) {
  SessionWords words;
  words.session = session_id(session.id);
  words.peer = peer_text(session.peer());
  if (const sockaddr_storage via = session.via(); via.ss_family != AF_UNSPEC) words.via = peer_text(via);
  const Verdict* verdict = session.verdict();
  if (verdict != nullptr && verdict->identity) {
    const Identity& identity = *verdict->identity;
    const auto* serial = reinterpret_cast<const std::uint8_t*>(identity.serial.data());
    words.serial = serial_hex({serial, identity.serial.size()});
    words.fingerprint = to_hex(identity.fingerprint);
    words.subject = identity.subject;
    if (identity.cns.size() == 1) words.cn = identity.cns.front();
  }
  if (const TlsEngine* tls = session.established_tls()) {
    words.tls = kTlsVersionNames[static_cast<std::size_t>(tls->version_index())];
    words.engine = kTlsMakerNames[static_cast<std::size_t>(tls->handshake_maker())];
    words.group = kKeyGroupNames[static_cast<std::size_t>(tls->key_group())];
    words.kind = kind_of(session, verdict);
  }
  if (const auto version = session.mqtt_version()) words.mqtt = kMqttVersionNames[static_cast<std::size_t>(*version)];
  words.upstream = session.settings().config->upstream_name;
  if (const BrokerTarget* target = session.target()) words.server = target->server->text;
  return words;
}

// Of one that was not served: an end that nobody outside has chosen. An operator will ask why.
bool is_told(Cause cause) {
  return cause == Cause::Cut || cause == Cause::Timeout;
}

}  // namespace

void Shard::over(Session& session, const Error& error, Cause cause, bool served) {
  leave_handshaking(session);
  const std::size_t listener = session.settings().listener;
  ListenerCounters& counters = counters_.listeners[listener];
  const Verdict* verdict = session.verdict();
  const Identity* identity = verdict != nullptr && verdict->identity ? &*verdict->identity : nullptr;
  const bool claimed = identity != nullptr && !session.proven();
  const bool refused = !served && error.reason != Reason::None;
  if (session.silent()) {
    counters.silent.add();
  } else if (refused) {
    counters.rejections[static_cast<std::size_t>(error.reason)].add();
    if (claimed) counters.claimed[static_cast<std::size_t>(error.reason)].add();
    note_rejection(*session.settings().config, error, session.peer(), session.via(), identity, claimed,
                   issuer_of(verdict));
  } else {
    counters.ended[static_cast<std::size_t>(error.origin)][static_cast<std::size_t>(cause)].add();
  }
  if (served) note_seen(session);
  const Level level = refused ? (error.reason == Reason::SerialConflict ? Level::Warn : Level::Info)
                              : (served || is_told(cause) ? Level::Info : Level::Debug);
  if (!log_.wants(level)) return;
  // Whoever watches gets each of them.
  const bool told_only = refused && !logs_refusal(listener, error.reason);
  if (told_only && !log_.watched()) return;
  if (served) return say_ended(session, level, error, cause);
  const SessionWords words = words_of(session);
  const std::string_view event = refused ? "rejected" : session.silent() ? "silent" : "ended";
  const std::initializer_list<Field> fields = {{"session", words.session},
                                               {"listener", session.settings().config->name},
                                               {"reason", to_string(error.reason)},
                                               {"peer", words.peer},
                                               {"via", words.via},
                                               {"subject", words.subject},
                                               {"cn", words.cn},
                                               {"serial", words.serial},
                                               {"fingerprint", words.fingerprint},
                                               {"claimed", claimed ? 1 : 0},
                                               {"tls", words.tls},
                                               {"engine", words.engine},
                                               {"group", words.group},
                                               {"client_id", session.client_id()},
                                               {"origin", to_string(error.origin)},
                                               {"cause", kCauseNames[static_cast<std::size_t>(cause)]},
                                               {"what", error.what},
                                               {"detail", error.detail}};
  told_only ? log_.tell(event, fields) : log_.write(level, event, fields);
}

// The name in the certificate where it was refused at once; afterwards nobody has the certificate any more, and it is
// the registered CA that vouched for it.
std::string Shard::issuer_of(const Verdict* verdict) const {
  if (verdict == nullptr || !verdict->identity) return {};
  if (!verdict->admitted() && verdict->identity->fingerprint == refused_) return refused_issuer_;
  const auto owner = verdict->chain_cas.empty() ? std::nullopt : cas_->find(verdict->chain_cas.front());
  return owner ? shortened(cas_->entry(*owner).certificate.subject()) : std::string();
}

void Shard::note_seen(const Session& session) {
  const Verdict* verdict = session.verdict();
  if (verdict == nullptr || !verdict->identity) return;
  parts_.seen->saw(DigestHash()(verdict->identity->fingerprint), unix_now());
}

void Shard::begun(Session& session) {
  note_seen(session);
  if (!log_.wants(Level::Info)) return;
  const SessionWords words = words_of(session);
  log_.info("began", {{"session", words.session},
                      {"listener", session.settings().config->name},
                      {"peer", words.peer},
                      {"via", words.via},
                      {"subject", words.subject},
                      {"cn", words.cn},
                      {"serial", words.serial},
                      {"fingerprint", words.fingerprint},
                      {"tls", words.tls},
                      {"kind", words.kind},
                      {"engine", words.engine},
                      {"group", words.group},
                      {"mqtt", words.mqtt},
                      {"client_id", session.client_id()},
                      {"upstream", words.upstream},
                      {"server", words.server}});
}

void Shard::say_ended(const Session& session, Level level, const Error& error, Cause cause) {
  const SessionWords words = words_of(session);
  log_.write(level, "ended",
             {{"session", words.session},
              {"listener", session.settings().config->name},
              {"reason", to_string(error.reason)},
              {"peer", words.peer},
              {"via", words.via},
              {"subject", words.subject},
              {"cn", words.cn},
              {"serial", words.serial},
              {"fingerprint", words.fingerprint},
              {"tls", words.tls},
              {"kind", words.kind},
              {"engine", words.engine},
              {"group", words.group},
              {"mqtt", words.mqtt},
              {"client_id", session.client_id()},
              {"upstream", words.upstream},
              {"server", words.server},
              {"lasted_ms", (now_us() - session.began_us()) / 1000},
              {"bytes_to_broker", session.bytes_to_broker()},
              {"bytes_to_client", session.bytes_to_client()},
              {"origin", to_string(error.origin)},
              {"cause", kCauseNames[static_cast<std::size_t>(cause)]},
              {"what", error.what},
              {"detail", error.detail}});
}

void Shard::note_rejection(const ListenerConfig& listener, const Error& error, const sockaddr_storage& peer,
                           const sockaddr_storage& via, const Identity* identity, bool claimed, std::string issuer) {
  Rejection seen;
  seen.reason = error.reason;
  seen.what = error.what;
  seen.listener = listener.name;
  seen.peer = peer_text(peer);
  if (via.ss_family != AF_UNSPEC) seen.via = peer_text(via);
  seen.last = unix_now();
  if (identity != nullptr) {
    seen.subject = identity->subject;
    seen.issuer = std::move(issuer);
    seen.claimed = claimed;
    const auto* serial = reinterpret_cast<const std::uint8_t*>(identity->serial.data());
    seen.serial = serial_hex({serial, identity->serial.size()});
    seen.fingerprint = to_hex(identity->fingerprint);
  }
  rejections_.add(seen);
}

// One of them that is not written is counted instead, and said later.
bool Shard::logs_refusal(std::size_t listener, Reason reason) {
  constexpr std::uint64_t kSayMs = 1000;
  const std::uint64_t now = now_us();
  if (refusal_log_.wants(listener, reason, now)) return true;
  if (!left_out_timer_.running()) timers_.start(left_out_timer_, now / 1000, kSayMs);
  return false;
}

void Shard::say_left_out() {
  for (const RefusalLog::LeftOut& kind : refusal_log_.take_left_out()) {
    log_.info("rejected-more", {{"listener", listening_[kind.listener].settings.config->name},
                                {"reason", to_string(kind.reason)},
                                {"count", kind.count}});
  }
}

}  // namespace sallyport
