// What an operator asks a shard: which sessions it has, and how many.
#include <algorithm>

#include "proxy/shard/shard.h"

namespace sallyport {

std::uint64_t Shard::answer(const CountDevices& mail) {
  SessionTally& tally = *mail.tally;
  std::vector<std::uint64_t> counts;
  std::uint64_t total = 0;
  for (const Digest& device : *tally.devices) {
    counts.push_back(index_.count_of_device(device));
    total += counts.back();
  }
  const std::lock_guard lock(tally.mutex);
  tally.sessions.resize(tally.devices->size());
  for (std::size_t i = 0; i < counts.size(); ++i) tally.sessions[i] += counts[i];
  return total;
}

std::uint64_t Shard::answer(const CountBelow& mail) {
  const auto sessions = index_.below(mail.ca);
  const std::lock_guard lock(mail.below->mutex);
  for (const IndexEntry* entry : sessions) mail.below->devices.insert(DigestHash()(entry->device));
  return sessions.size();
}

namespace {

std::string_view name_of(Session::State state) {
  switch (state) {
    case Session::State::Free: return "free";
    case Session::State::Handshaking: return "handshaking";
    case Session::State::AwaitingConnect: return "awaiting-connect";
    case Session::State::Connecting:
    case Session::State::Asking: return "connecting";
    case Session::State::Forwarding: return "forwarding";
    case Session::State::Delivering:
    case Session::State::Halted:
    case Session::State::Ending:
    case Session::State::Gone: return "closing";
  }
  return "";
}

// Whose session it is. While it shakes hands nobody has proven anything: anyone may have sent that certificate.
const Verdict* proven(const Session& session) {
  const Verdict* verdict = session.proven() ? session.verdict() : nullptr;
  return verdict != nullptr && verdict->admitted() && verdict->identity ? verdict : nullptr;
}

SessionInfo info_of(const Session& session) {
  SessionInfo info;
  info.id = session.id;
  info.listener = session.settings().listener;
  info.peer = peer_text(session.peer());
  if (const sockaddr_storage via = session.via(); via.ss_family != AF_UNSPEC) info.via = peer_text(via);
  if (const BrokerTarget* target = session.target()) info.server = target->server->text;
  info.client_id = session.client_id();
  info.state = name_of(session.state());
  info.resumed = session.resumed();
  info.since = session.since;
  if (session.state() != Session::State::Handshaking) {
    info.tls_version = kTlsVersionNames[static_cast<std::size_t>(session.tls_version_index())];
  }
  if (const auto version = session.mqtt_version())
    info.mqtt_version = kMqttVersionNames[static_cast<std::size_t>(*version)];
  const Verdict* verdict = proven(session);
  if (verdict == nullptr) return info;
  info.device = verdict->identity->fingerprint;
  if (verdict->identity->cns.size() == 1) info.cn = verdict->identity->cns.front();
  if (!verdict->chain_cas.empty()) info.ca = verdict->chain_cas.front();
  return info;
}

}  // namespace

std::uint64_t Shard::answer(const ListSessions& mail) {
  list_sessions(*mail.query);
  return 0;
}

// A bounded look at the slab: one question never holds up the sessions for long.
void Shard::list_sessions(SessionQuery& query) {
  constexpr std::size_t kMostLookedAt = 20'000;
  const auto wanted = [&](const Session& session) {
    if (!session.is_live()) return false;
    const Verdict* verdict = proven(session);
    if (query.device && (verdict == nullptr || verdict->identity->fingerprint != *query.device)) return false;
    if (query.clones && (verdict == nullptr || !(*parts_.device_sessions)[session.settings().listener].cloned(
                                                   verdict->identity->fingerprint))) {
      return false;
    }
    if (!query.ca) return true;
    return verdict != nullptr &&
           std::find(verdict->chain_cas.begin(), verdict->chain_cas.end(), *query.ca) != verdict->chain_cas.end();
  };
  const auto look_at = [&](std::size_t count, const auto& session_at) {
    for (std::size_t at = query.from; at < count; ++at) {
      if (query.found.size() == query.limit || at - query.from == kMostLookedAt) {
        query.next = at;
        return;
      }
      if (wanted(session_at(at))) query.found.push_back(info_of(session_at(at)));
    }
  };
  if (!query.device) return look_at(slab_.size(), [&](std::size_t at) -> const Session& { return slab_[at]; });
  const auto its_own = index_.of_device(*query.device);
  look_at(its_own.size(), [&](std::size_t at) -> const Session& { return *its_own[at]; });
}

}  // namespace sallyport
