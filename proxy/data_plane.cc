#include "proxy/data_plane.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "cache/registry/registrar.h"
#include "proxy/listening_sockets.h"
#include "proxy/shard/shard.h"
#include "proxy/tls/ticket_keys.h"
#include "proxy/tls/tls_context.h"
#include "proxy/upstream/names.h"

namespace sallyport {

namespace {

constexpr std::uint64_t kNamesMs = 1'000;  // for the names of brokers, before listeners open

std::uint64_t steady_ms() {
  using namespace std::chrono;
  return static_cast<std::uint64_t>(duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count());
}

}  // namespace

class DataPlane::Impl {
 public:
  Impl(const Config& c, Log& l)
      : config(c),
        log(l),
        tickets(std::time(nullptr)),
        by_listener(c.listeners.size()),
        address_limits(c.listeners.size()),
        device_sessions(c.listeners.size()),
        device_rates(c.listeners.size()) {}

  // Posts to every shard that still runs and waits for their answers.
  template <typename What>
  std::uint64_t ask(const What& what) {
    Reply reply;
    for (const auto& shard : shards) shard->mailbox().post({what, &reply});
    return reply.wait();
  }

  // No session begins with a retired one, so what no shard finds in use is in use no more.
  void drop_unused_configs() {
    ConfigsInUse found;
    ask(FindConfigs{&found});
    const std::lock_guard lock(mutex);
    std::erase_if(retired, [&](const auto& setup) { return found.configs.count(&setup->listener) == 0; });
  }

  // With `mutex` held, or before there is any thread.
  void keep_keys_for_tickets() {
    std::chrono::milliseconds longest{0};
    for (const PreparedListener& listener : live) {
      longest = std::max(longest, listener.setup->listener.resumption_max_age);
    }
    tickets.serve_tickets_of(std::chrono::duration_cast<std::chrono::seconds>(longest).count());
  }

  // A name server that answers is waited for, one that does not is not.
  void wait_for_names() {
    const std::uint64_t give_up_ms = steady_ms() + kNamesMs;
    while (!upstreams->all_asked() && steady_ms() < give_up_ms) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      names->tick(steady_ms());
    }
  }
  void tell_targets(std::size_t upstream) { ask(SetTargets{upstream, upstreams->list(upstream)}); }

  SessionSettings settings_of(std::size_t index) const {
    const PreparedListener& listener = live[index];
    return {index, &listener.setup->listener, listener.tls.get(), listener.auth, &listener.setup->upstream};
  }
  ListenerInfo info_of(std::size_t index) const {
    const PreparedListener& listener = live[index];
    const ListenerConfig& its = listener.setup->listener;
    ListenerInfo info{its.name,
                      addresses[index],
                      listener.auth == AuthMode::Mutual ? "mutual" : "one-way",
                      its.protocol == Protocol::Mqtt ? "mqtt" : "tcp",
                      listener.setup->upstream.name,
                      its.tls_engine,
                      {},
                      {},
                      listener.auth_chosen,
                      listener.hosted};
    for (const Certificate& leaf : listener.tls->leaves()) {
      info.certificates.push_back(leaf.fingerprint());
      info.not_after.push_back(leaf.not_after());
    }
    return info;
  }

  const Config& config;
  Log& log;
  TicketKeys tickets;
  mutable std::mutex mutex;                             // guards live, addresses and retired
  std::vector<PreparedListener> live;                   // by listener
  std::vector<std::string> addresses;                   // as bound
  std::vector<std::unique_ptr<ListenerSetup>> retired;  // replaced, and sessions that began with them may be there
  std::mutex changing;                                  // lists of servers: the main thread and a reload
  std::unique_ptr<Upstreams> upstreams;
  std::optional<Names> names;
  std::atomic<bool> said_without_ring{false};
  std::atomic<std::uint64_t> connections{0};
  std::vector<std::atomic<std::uint64_t>> by_listener;
  std::deque<AddressLimits> address_limits;
  std::deque<DeviceSessions> device_sessions;
  std::deque<RateTable> device_rates;
  RateTable registration_rates;
  SeenTable seen;
  std::atomic<std::uint64_t> registration_pace{config.registry.max_registrations_per_second_per_ca};
  std::vector<std::unique_ptr<Shard>> shards;
  std::vector<ListeningSocket> listening;  // the shards own them
  CutsElsewhere* elsewhere = nullptr;
  Latency cuts;  // the registrar's thread writes it
};

DataPlane::DataPlane(const Config& config, Log& log) : impl_(std::make_unique<Impl>(config, log)) {}

DataPlane::~DataPlane() {
  stop_now();
  join();
}

std::string_view DataPlane::io_name() const {
  return impl_->config.io == IoEngine::Epoll || impl_->said_without_ring ? "epoll" : "io_uring";
}

unsigned DataPlane::shards() const {
  return shards_of(impl_->config);
}

Answer<std::vector<Digest>> DataPlane::prepare() {
  std::vector<Digest> keys;
  for (const ListenerConfig& listener : impl_->config.listeners) {
    auto certificates = load_server_certificates(listener.certificates);
    const UpstreamConfig& upstream = impl_->config.upstreams[listener.upstream];
    auto prepared = certificates ? prepare_listener(listener, upstream, listener.auth, std::move(*certificates))
                                 : Answer<PreparedListener>(certificates.error());
    if (!prepared) return Refusal{prepared.error().kind, "listener " + listener.name + ": " + prepared.error().what};
    const auto address = resolve_address(listener.address, true);
    if (!address) return Refusal{address.error().kind, "listener " + listener.name + ": " + address.error().what};
    for (const Certificate& leaf : prepared->tls->leaves()) keys.push_back(leaf.spki_hash());
    impl_->live.push_back(std::move(*prepared));
  }
  impl_->keep_keys_for_tickets();
  auto upstreams = Upstreams::create(impl_->config);
  if (!upstreams) return upstreams.error();
  impl_->upstreams = std::move(*upstreams);
  impl_->names.emplace(*impl_->upstreams);
  impl_->names->tick(steady_ms());
  return keys;
}

std::uint64_t DataPlane::connections_max() const {
  return impl_->shards.empty() ? 0 : impl_->shards.front()->connections_max();
}

Answer<void> DataPlane::start(const DeviceGate& gate, Registrar& registrar, Capacity capacity,
                              std::vector<ListeningSocket> taken, CutsElsewhere* elsewhere) {
  TakenSockets inherited(std::move(taken));
  impl_->elsewhere = elsewhere;
  impl_->wait_for_names();
  std::vector<SessionSettings> settings;
  for (std::size_t i = 0; i < impl_->live.size(); ++i) settings.push_back(impl_->settings_of(i));
  ShardParts parts{.cpus = DataPlane::usable_cpus(),
                   .config = &impl_->config,
                   .listeners = &settings,
                   .upstreams = impl_->upstreams.get(),
                   .gate = &gate,
                   .tickets = &impl_->tickets,
                   .registrar = &registrar,
                   .capacity = capacity,
                   .said_without_ring = &impl_->said_without_ring,
                   .connections = &impl_->connections,
                   .by_listener = &impl_->by_listener,
                   .address_limits = &impl_->address_limits,
                   .device_sessions = &impl_->device_sessions,
                   .device_rates = &impl_->device_rates,
                   .registration_rates = &impl_->registration_rates,
                   .seen = &impl_->seen,
                   .registration_pace = &impl_->registration_pace,
                   .shards = &impl_->shards};
  std::vector<ServerAddress> addresses;
  for (const ListenerConfig& listener : impl_->config.listeners) {
    auto address = resolve_address(listener.address, true);
    if (!address) return address.error();
    const bool goes_on = inherited.fits(listener, *address);
    if (listener.address.port != 0 && !goes_on) {
      if (auto free = not_taken(listener.name, *address); !free) return free;
    }
    addresses.push_back(*address);
  }
  for (unsigned i = 0; i < shards(); ++i) {
    std::vector<int> sockets;
    for (std::size_t l = 0; l < addresses.size(); ++l) {
      const ListenerConfig& listener = impl_->config.listeners[l];
      const std::optional<int> goes_on = inherited.next(listener);
      auto socket = goes_on ? Answer<int>(*goes_on) : listen_on(listener, addresses[l]);
      if (!socket) {
        for (const int fd : sockets) ::close(fd);
        stop_now();
        return socket.error();
      }
      sockets.push_back(*socket);
      impl_->listening.push_back({listener.name, *socket});
    }
    parts.first = i == 0;
    parts.number = i;
    impl_->shards.push_back(std::make_unique<Shard>(parts, std::move(sockets), impl_->log.logger()));
  }
  for (const auto& shard : impl_->shards) {
    if (auto started = shard->start(); !started) {
      stop_now();
      return started;
    }
  }
  const std::lock_guard lock(impl_->mutex);
  for (const ServerAddress& address : addresses) impl_->addresses.push_back(peer_text(address.address));
  return {};
}

const std::vector<ListeningSocket>& DataPlane::listening() const {
  return impl_->listening;
}

void DataPlane::put_in_force(const Notice& notice) {
  const auto begun = std::chrono::steady_clock::now();
  if (!notice.cuts.empty() && impl_->elsewhere != nullptr) impl_->elsewhere->end_sessions();
  impl_->ask(PutInForce{&notice});
  if (notice.cuts.empty()) return;
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begun);
  impl_->cuts.record(static_cast<std::uint64_t>(took.count()));
}

const Latency& DataPlane::cut_latency() const {
  return impl_->cuts;
}

std::optional<std::size_t> DataPlane::listener_index(std::string_view name) const {
  for (std::size_t i = 0; i < impl_->config.listeners.size(); ++i) {
    if (impl_->config.listeners[i].name == name) return i;
  }
  return std::nullopt;
}

std::optional<DataPlane::ListenerAdmits> DataPlane::listener_admits(std::string_view name) const {
  const auto index = listener_index(name);
  if (!index) return std::nullopt;
  const std::lock_guard lock(impl_->mutex);
  const PreparedListener& listener = impl_->live[*index];
  const auto& [its, upstream] = *listener.setup;
  return ListenerAdmits{
      listener.auth,          its.cas, its.client_id, upstream.username, upstream.client_id, upstream.user_properties,
      upstream.proxy_protocol};
}

Answer<PreparedListener> DataPlane::prepare_listener(const ListenerConfig& config, const UpstreamConfig& upstream,
                                                     AuthMode auth, std::vector<ServerCertificate> certificates) const {
  if (auto why = why_not_told(config, upstream, auth); !why.empty()) {
    return Refusal{Refusal::Kind::Conflict, std::move(why)};
  }
  auto context = TlsContext::create(config, auth, presented_of(certificates, std::time(nullptr)), &impl_->tickets);
  if (!context) return context.error();
  PreparedListener prepared;
  prepared.certificates = std::move(certificates);
  prepared.setup = std::make_unique<ListenerSetup>(ListenerSetup{config, upstream});
  prepared.tls = std::move(*context);
  prepared.auth = auth;
  return prepared;
}

std::vector<ServerCertificate> DataPlane::certificates(std::size_t index) const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->live[index].certificates;
}

std::optional<Digest> DataPlane::hosted(std::size_t index) const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->live[index].hosted;
}

std::vector<Digest> DataPlane::presented(std::size_t index) const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<Digest> ids;
  for (const Certificate& leaf : impl_->live[index].tls->leaves()) ids.push_back(leaf.fingerprint());
  return ids;
}

std::vector<Digest> DataPlane::server_keys(std::size_t index, const PreparedListener& prepared) const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<Digest> keys;
  for (std::size_t i = 0; i < impl_->live.size(); ++i) {
    const TlsContext& context = i == index ? *prepared.tls : *impl_->live[i].tls;
    for (const Certificate& leaf : context.leaves()) keys.push_back(leaf.spki_hash());
  }
  return keys;
}

void DataPlane::install_listener(std::size_t index, PreparedListener prepared) {
  SessionSettings settings;
  bool cuts = false;
  {
    const std::lock_guard lock(impl_->mutex);
    std::swap(impl_->live[index], prepared);
    impl_->keep_keys_for_tickets();
    const PreparedListener& now = impl_->live[index];
    const auto& cas = prepared.setup->listener.cas;
    cuts = (prepared.auth != now.auth && now.auth == AuthMode::Mutual) || cas != now.setup->listener.cas;
    impl_->retired.push_back(std::move(prepared.setup));
    settings = impl_->settings_of(index);
  }
  if (cuts && impl_->elsewhere != nullptr) impl_->elsewhere->end_sessions();
  impl_->ask(SetListener{&settings});
  // No shard makes an engine from the old context any more; those that were made keep what they need.
  impl_->drop_unused_configs();
}

std::size_t DataPlane::retired_configs() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->retired.size();
}

void DataPlane::set_cut_pace(std::uint64_t per_second) {
  impl_->ask(SetCutPace{per_second});
}

void DataPlane::set_registration_pace(std::uint64_t per_second) {
  impl_->registration_pace.store(per_second, std::memory_order_relaxed);
}

TicketKeys& DataPlane::ticket_keys() {
  return impl_->tickets;
}

void DataPlane::drop_ticket_keys(std::int64_t now) {
  impl_->tickets.drop(now);
  if (impl_->elsewhere != nullptr) impl_->elsewhere->end_sessions();  // that process has the keys, too
  put_in_force(Notice{});  // every shard has ended what it had begun with one of them
}

void DataPlane::share_ticket_keys(std::span<const TicketKey> keys, std::int64_t now) {
  if (!impl_->tickets.share(keys, now)) return;
  if (impl_->elsewhere != nullptr) impl_->elsewhere->end_sessions();
  put_in_force(Notice{});
}

void DataPlane::tick(std::int64_t now) {
  impl_->tickets.rotate(now);
  const std::lock_guard lock(impl_->changing);
  for (const std::size_t upstream : impl_->names->tick(steady_ms())) impl_->tell_targets(upstream);
  impl_->upstreams->collect();
}

std::vector<std::string> DataPlane::unresolved() const {
  return impl_->upstreams->unresolved();
}

std::vector<UpstreamInfo> DataPlane::upstreams() const {
  return impl_->upstreams ? impl_->upstreams->info(steady_ms()) : std::vector<UpstreamInfo>();
}

Answer<void> DataPlane::drain_server(std::string_view upstream, std::string_view server, bool drained) {
  if (!impl_->upstreams) return Refusal{Refusal::Kind::Unavailable, "the brokers are not known yet"};
  return impl_->upstreams->drain(upstream, server, drained);
}

void DataPlane::set_upstreams(const std::vector<UpstreamConfig>& upstreams, BrokerTlsContexts tls) {
  const std::lock_guard lock(impl_->changing);
  for (std::size_t i = 0; i < impl_->config.upstreams.size(); ++i) {
    const std::string& name = impl_->config.upstreams[i].name;
    const auto next = std::find_if(upstreams.begin(), upstreams.end(), [&](const auto& u) { return u.name == name; });
    if (next == upstreams.end()) continue;
    if (impl_->upstreams->configure(i, *next, std::move(tls[next->name]))) impl_->tell_targets(i);
  }
  impl_->upstreams->collect();
}

void DataPlane::clock_was_set() {
  impl_->ask(ClockSet{});
}

std::vector<ListenerInfo> DataPlane::listeners() const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<ListenerInfo> all;
  for (std::size_t i = 0; i < impl_->addresses.size(); ++i) all.push_back(impl_->info_of(i));
  return all;
}

std::vector<ShardInfo> DataPlane::shard_info() const {
  std::vector<ShardInfo> all;
  for (const auto& shard : impl_->shards) all.push_back(shard->info());
  return all;
}

std::vector<std::uint64_t> DataPlane::sessions_of_devices(const std::vector<Digest>& ids) {
  SessionTally tally;
  tally.devices = &ids;
  tally.sessions.resize(ids.size());
  impl_->ask(CountDevices{&tally});
  return tally.sessions;
}

std::uint64_t DataPlane::sessions_of_device(const Digest& id) {
  return sessions_of_devices({id}).front();
}

Impact DataPlane::impact_of_ca(const Digest& id) {
  DevicesBelow below;
  const std::uint64_t sessions = impl_->ask(CountBelow{id, &below});
  return {sessions, below.devices.size()};
}

// The token is "SHARD-PLACE".
Answer<SessionPage> DataPlane::sessions(std::optional<Digest> device, std::optional<Digest> ca, bool clones,
                                        std::size_t limit, std::string_view page_token) {
  std::size_t shard = 0, place = 0;
  if (!page_token.empty()) {
    const auto* end = page_token.data() + page_token.size();
    const auto [dash, failure] = std::from_chars(page_token.data(), end, shard);
    const bool good =
        failure == std::errc() && dash != end && *dash == '-' && std::from_chars(dash + 1, end, place).ptr == end;
    if (!good) return Refusal{Refusal::Kind::Invalid, "the page_token is not one of a list answer"};
  }
  SessionPage page;
  while (shard < impl_->shards.size() && page.sessions.size() < limit) {
    SessionQuery query{device, ca, clones, place, limit - page.sessions.size(), {}, std::nullopt};
    Reply reply;
    impl_->shards[shard]->mailbox().post({ListSessions{&query}, &reply});
    reply.wait();
    for (SessionInfo& session : query.found) page.sessions.push_back(std::move(session));
    place = query.next.value_or(0);
    if (!query.next) ++shard;
    if (query.next && query.found.empty()) break;  // a long way without a match: the next page goes on
  }
  if (shard < impl_->shards.size()) page.next_page_token = std::to_string(shard) + "-" + std::to_string(place);
  return page;
}

bool DataPlane::cut_session(std::uint64_t id) {
  return impl_->ask(CutSession{id}) > 0;
}

std::int64_t DataPlane::last_connected(const Digest& device) const {
  return impl_->seen.last(DigestHash()(device));
}

std::vector<Rejection> DataPlane::rejections(std::size_t most) {
  std::vector<std::vector<Rejection>> parts(impl_->shards.size());
  Reply reply;
  for (std::size_t i = 0; i < impl_->shards.size(); ++i) {
    impl_->shards[i]->mailbox().post({ListRejections{&parts[i], most}, &reply});
  }
  reply.wait();
  return merged(std::move(parts));
}

std::vector<const ShardCounters*> DataPlane::counters() const {
  std::vector<const ShardCounters*> all;
  for (const auto& shard : impl_->shards) all.push_back(&shard->counters());
  return all;
}

void DataPlane::drain(std::chrono::milliseconds limit) {
  impl_->ask(Drain{static_cast<std::uint64_t>(limit.count())});
}

void DataPlane::stop_now() {
  for (const auto& shard : impl_->shards) shard->mailbox().post({Stop{}, nullptr});
}

void DataPlane::join() {
  for (const auto& shard : impl_->shards) shard->join();
}

bool DataPlane::finished() const {
  return std::all_of(impl_->shards.begin(), impl_->shards.end(), [](const auto& shard) { return shard->finished(); });
}

}  // namespace sallyport
