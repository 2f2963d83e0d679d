#include "proxy/shard/broker_probes.h"

#include <algorithm>
#include <random>

#include "cache/base/text.h"
#include "proxy/mqtt/mqtt_connack.h"
#include "proxy/proxy_protocol/proxy_writer.h"

namespace sallyport {

namespace {

constexpr std::string_view kDisconnect("\xE0\x00", 2);

// MQTT 3.1.1, section 3.1: clean session, no user name. What the broker thinks of that is its word, and so its health.
std::string connect_packet(const std::string& client_id) {
  constexpr std::string_view kHeader("\x00\x04MQTT\x04\x02\x00\x3C\x00", 11);  // up to the high byte of its length
  std::string packet = "\x10";
  packet += static_cast<char>(kHeader.size() + 1 + client_id.size());
  packet += kHeader;
  packet += static_cast<char>(client_id.size());
  return packet + client_id;
}

}  // namespace

BrokerProbes::BrokerProbes(Host& host) : host_(host) {
  std::random_device random;
  std::array<std::uint8_t, 4> bytes{};
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  client_id_ = "sallyport-" + to_hex(bytes);
}

void BrokerProbes::set(std::size_t upstream, const TargetList* list) {
  const auto has = [&](const BrokerTarget* target) {
    return std::find(list->targets.begin(), list->targets.end(), target) != list->targets.end();
  };
  for (Probe& probe : probes_) {
    if (probe.target == nullptr || probe.upstream != upstream) continue;
    probe.list = list;
    probe.ending = !has(probe.target);
    if (probe.ending && probe.step == Step::Idle) release(probe);
  }
  for (BrokerTarget* target : list->targets) {
    const auto same = std::find_if(probes_.begin(), probes_.end(), [&](const Probe& p) { return p.target == target; });
    if (same != probes_.end()) continue;
    auto place = std::find_if(probes_.begin(), probes_.end(), [](const Probe& p) { return p.target == nullptr; });
    if (place == probes_.end()) {
      Probe& made = probes_.emplace_back();
      made.owner = this;
      made.connected.arm<&Probe::on_connected>(made);
      made.sent.arm<&Probe::on_sent>(made);
      made.received.arm<&Probe::on_received>(made);
      made.timer.arm<&Probe::on_timer>(made);
      made.patience.arm<&Probe::on_patience>(made);
      place = std::prev(probes_.end());
    }
    place->upstream = upstream;
    place->target = target;
    place->list = list;
    place->ending = false;
    target->holds.fetch_add(1, std::memory_order_relaxed);
    begin(*place);
  }
}

void BrokerProbes::stop() {
  stopped_ = true;
  for (Probe& probe : probes_) host_.timers().stop(probe.timer);
}

void BrokerProbes::release(Probe& probe) {
  host_.timers().stop(probe.timer);
  host_.timers().stop(probe.patience);
  probe.target->holds.fetch_sub(1, std::memory_order_release);
  probe.target = nullptr;
}

void BrokerProbes::begin(Probe& probe) {
  start(probe.timer, std::max<std::uint64_t>(probe.list->health_ms, 1));
  if (stopped_ || probe.step != Step::Idle) return;
  probe.socket = host_.open_probe(*probe.target);
  if (!probe.socket.valid()) return;
  probe.step = Step::Connecting;
  // One that was left out because it does not answer CONNECTs shows by answering one that it is back, or a hung broker,
  // whose kernel goes on accepting, would be used again and again. Behind a PROXY header only health = "mqtt" asks.
  probe.asks = probe.list->health == HealthCheck::Mqtt ||
               (probe.target->health.state() == Health::State::Ejected && !probe.list->proxy_protocol);
  const ServerAddress& to = probe.target->address;
  host_.io().connect(probe.socket, reinterpret_cast<const sockaddr*>(&to.address), to.length, probe.connected);
  start(probe.patience, probe.list->connect_ms);
}

void BrokerProbes::give_up(Probe& probe) {
  switch (probe.step) {
    case Step::Connecting: return host_.io().cancel(probe.connected);
    case Step::Shaking: return judge(probe, false, "tls: no handshake in time", 0);
    case Step::Proving:
      // It has had the time to refuse our certificate, and some brokers say nothing by themselves.
      return probe.sent.submitted() ? judge(probe, false, "tls: no handshake in time", 0) : judge(probe, true, "", 0);
    case Step::Sending:
    case Step::Awaiting: return judge(probe, false, "no CONNACK in time", 0);
    case Step::Idle:
    case Step::Leaving: return;
  }
}

void BrokerProbes::on_connected(Probe& probe, const IoResult& result) {
  const int error = -result.value;
  if (result.value < 0 && is_our_shortage(error)) {
    host_.timers().stop(probe.patience);
    return leave(probe);
  }
  if (result.value < 0) return judge(probe, false, error == ECANCELED ? "not connected in time" : "", error);
  if (probe.ending) {  // the list that it is in no more may have had other TLS than that of now
    host_.timers().stop(probe.patience);
    return leave(probe);
  }
  if (probe.list->tls == nullptr) return ask(probe);
  probe.tls = std::make_unique<BrokerTls>(*probe.list->tls, probe.target->server->endpoint, BrokerTls::Resumes::No);
  probe.step = Step::Shaking;
  shake(probe, {});
}

void BrokerProbes::shake(Probe& probe, std::span<const std::uint8_t> ciphertext) {
  const auto step = probe.tls->take(ciphertext, probe.answer);
  if (step == sallyport::Step::Failed) return tls_failed(probe);
  const bool done = step == sallyport::Step::Done;
  if (step == sallyport::Step::Closed && (probe.asks || !probe.tls->accepted())) {
    return judge(probe, false, "tls: it ends the handshake", 0);
  }
  // Whoever asks it something hears in place of an answer that our certificate is refused.
  if (probe.tls->accepted() || (done && probe.asks)) return ask(probe);
  if (done && probe.step == Step::Shaking) {
    probe.step = Step::Proving;
    start(probe.patience, std::max<std::uint64_t>(probe.list->connect_ms / 4, 1));
  }
  send(probe, "");
}

void BrokerProbes::tls_failed(Probe& probe) {
  judge(probe, false, "tls: " + std::string(probe.tls->error().what), 0);
}

void BrokerProbes::ask(Probe& probe) {
  host_.timers().stop(probe.patience);
  probe.said.clear();
  if (probe.list->proxy_protocol) {
    // A broker closes what LOCAL opens, so who asks it something speaks for somebody: for this host.
    const std::span<const std::uint8_t> header =
        probe.asks ? std::span<const std::uint8_t>(kProxyOwnHeader) : kProxyLocalHeader;
    probe.said.assign(reinterpret_cast<const char*>(header.data()), header.size());
  }
  if (probe.asks) {
    probe.said += connect_packet(client_id_ + "-" + std::to_string(probe.target->slot));
  }
  if (probe.said.empty() || stopped_) return judge(probe, true, "", 0);
  probe.step = Step::Sending;
  start(probe.patience, probe.list->connack_ms);
  send(probe, std::move(probe.said));
}

// With TLS what it has to say comes with it, a handshake's message or an end.
void BrokerProbes::send(Probe& probe, std::string text) {
  if (probe.tls) {
    // A failure is told by the next read; what cannot be written now waits for one.
    probe.owed += text;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(probe.owed.data());
    if (probe.tls->write({bytes, probe.owed.size()}) == sallyport::Step::Done) probe.owed.clear();
    const auto output = probe.tls->output().bytes();
    text.assign(reinterpret_cast<const char*>(output.data()), output.size());
    probe.tls->output().release();
    if (text.empty()) return sent(probe);
  }
  probe.said = std::move(text);
  host_.io().send(probe.socket, {reinterpret_cast<const std::uint8_t*>(probe.said.data()), probe.said.size()},
                  Behind::Others, probe.sent);
}

// A few packets at most: the kernel takes them whole.
void BrokerProbes::on_sent(Probe& probe, const IoResult& result) {
  if (probe.step == Step::Leaving) return leave(probe);
  if (result.value < 0) return judge(probe, false, "", -result.value);
  sent(probe);
}

void BrokerProbes::sent(Probe& probe) {
  switch (probe.step) {
    case Step::Leaving: return leave(probe);
    case Step::Sending:
      if (!probe.asks) return judge(probe, true, "", 0);
      probe.step = Step::Awaiting;
      break;
    case Step::Idle:
    case Step::Connecting:
    case Step::Shaking:
    case Step::Proving:
    case Step::Awaiting: break;
  }
  host_.io().recv(probe.socket, Reading::Once, probe.received);
}

void BrokerProbes::on_received(Probe& probe, const IoResult& result) {
  if (probe.step == Step::Leaving) return leave(probe);
  const bool over = result.value <= 0 && result.value != -ENOBUFS;
  const bool shakes = probe.step == Step::Shaking || probe.step == Step::Proving;
  if (over && shakes) return judge(probe, false, "tls: it ends the handshake", -result.value);
  if (result.value == 0) return judge(probe, false, "closed without a CONNACK", 0);
  if (result.value < 0 && result.value != -ENOBUFS) return judge(probe, false, "", -result.value);
  if (shakes) return shake(probe, result.data);
  auto step = sallyport::Step::Done;
  if (!probe.tls) {
    probe.answer.append(result.data);
  } else {
    step = probe.tls->take(result.data, probe.answer);
    if (step == sallyport::Step::Failed) return tls_failed(probe);
  }
  switch (broker_word(MqttVersion::V311, probe.answer.bytes())) {
    case BrokerWord::NeedMore:
      if (step == sallyport::Step::Closed) return judge(probe, false, "closed without a CONNACK", 0);
      if (probe.tls) return send(probe, "");
      return host_.io().recv(probe.socket, Reading::Once, probe.received);
    case BrokerWord::Unavailable: return judge(probe, false, "its CONNACK says that it is unavailable", 0);
    case BrokerWord::NotMqtt: return judge(probe, false, "it answers with something that is not a CONNACK", 0);
    case BrokerWord::Spoken: break;
  }
  judge(probe, true, "", 0);
}

void BrokerProbes::judge(Probe& probe, bool good, std::string_view what, int error) {
  host_.timers().stop(probe.patience);
  const bool asked = probe.step == Step::Awaiting;
  host_.probed(probe.upstream, *probe.target, good, what, error);
  probe.step = Step::Leaving;
  if (!good || (!asked && !probe.tls)) return leave(probe);
  if (probe.tls) {
    if (asked) (void)probe.tls->write({reinterpret_cast<const std::uint8_t*>(kDisconnect.data()), kDisconnect.size()});
    (void)probe.tls->close();
  }
  send(probe, probe.tls ? std::string() : std::string(kDisconnect));
}

// Once nothing of it is in flight.
void BrokerProbes::leave(Probe& probe) {
  probe.step = Step::Leaving;
  host_.io().cancel(probe.received);
  host_.io().cancel(probe.sent);
  if (probe.connected.submitted() || probe.sent.submitted() || probe.received.submitted()) return;
  host_.io().close(probe.socket);
  probe.socket = Socket();
  probe.answer.release();
  probe.owed.clear();
  probe.tls.reset();
  probe.step = Step::Idle;
  if (probe.ending) release(probe);
}

}  // namespace sallyport
