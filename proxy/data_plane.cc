#include "proxy/data_plane.h"

#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "cache/registrar.h"
#include "proxy/shard.h"
#include "proxy/tls_context.h"

namespace sallyport {

namespace {

constexpr int kBacklog = 4096;  // the kernel caps it at net.core.somaxconn

unsigned usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

// A listening socket of one shard. `address` gets the port the kernel chose.
Answer<int> listen_on(const std::string& name, ServerAddress& address) {
  const auto refusal = [&](const char* call) {
    std::string what = "listener " + name + " cannot listen on " + peer_text(address.address) + " (" + call +
                       "): " + std::strerror(errno);
    if (errno == EACCES) what += "; ports below 1024 need CAP_NET_BIND_SERVICE";
    if (errno == EADDRINUSE) what += "; another program has the port";
    return Refusal{Refusal::Kind::Unavailable, std::move(what)};
  };
  const int fd = ::socket(address.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return refusal("socket");
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // inherited by what it accepts
  const char* call = "bind";
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address.address), address.length) == 0) {
    call = "listen";
    if (::listen(fd, kBacklog) == 0) {
      socklen_t length = sizeof address.address;
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address.address), &length);
      return fd;
    }
  }
  auto refused = refusal(call);
  ::close(fd);
  return refused;
}

// With SO_REUSEPORT a second Sallyport of the same user would share the port silently: ask first.
Answer<void> not_taken(const std::string& name, const ServerAddress& address) {
  const int fd = ::socket(address.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return {};
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool free = ::bind(fd, reinterpret_cast<const sockaddr*>(&address.address), address.length) == 0;
  const int why = errno;
  ::close(fd);
  if (free || why != EADDRINUSE) return {};
  return Refusal{Refusal::Kind::Unavailable, "listener " + name + " cannot listen on " + peer_text(address.address) +
                                                 ": another program has the port"};
}

}  // namespace

class DataPlane::Impl {
 public:
  Impl(const Config& c, Log& l) : config(c), log(l), by_listener(c.listeners.size()) {}

  // Posts to every shard that still runs and waits for their answers.
  std::uint64_t ask(Mail mail) {
    Reply reply;
    mail.reply = &reply;
    for (const auto& shard : shards) shard->mailbox().post(mail);
    return reply.wait();
  }

  const Config& config;
  Log& log;
  std::vector<std::unique_ptr<TlsContext>> tls;
  std::unique_ptr<Servers> servers;
  std::atomic<std::uint64_t> connections{0};
  std::vector<std::atomic<std::uint64_t>> by_listener;
  std::vector<ListenerInfo> infos;
  std::vector<std::unique_ptr<Shard>> shards;
  Latency cuts;  // the registrar's thread writes it
};

DataPlane::DataPlane(const Config& config, Log& log) : impl_(std::make_unique<Impl>(config, log)) {}

DataPlane::~DataPlane() {
  stop_now();
  join();
}

unsigned DataPlane::shards() const {
  return impl_->config.shards != 0 ? impl_->config.shards : usable_cpus();
}

Answer<std::vector<Digest>> DataPlane::prepare() {
  std::vector<Digest> keys;
  for (const ListenerConfig& listener : impl_->config.listeners) {
    auto context = TlsContext::create(listener);
    if (!context) return Refusal{context.error().kind, "listener " + listener.name + ": " + context.error().what};
    const auto address = resolve_address(listener.address, true);
    if (!address) return Refusal{address.error().kind, "listener " + listener.name + ": " + address.error().what};
    for (const Certificate& leaf : (*context)->leaves()) keys.push_back(leaf.spki_hash());
    impl_->tls.push_back(std::move(*context));
  }
  auto servers = Servers::resolve(impl_->config);
  if (!servers) return servers.error();
  impl_->servers = std::move(*servers);
  return keys;
}

Answer<void> DataPlane::start(const DeviceGate& gate, Registrar& registrar, std::uint64_t connections_max) {
  ShardParts parts{true,       &impl_->config,  &impl_->tls,         impl_->servers.get(), &gate,
                   &registrar, connections_max, &impl_->connections, &impl_->by_listener};
  std::vector<ServerAddress> addresses;
  for (const ListenerConfig& listener : impl_->config.listeners) {
    auto address = resolve_address(listener.address, true);
    if (!address) return address.error();
    if (listener.address.port != 0) {
      if (auto free = not_taken(listener.name, *address); !free) return free;
    }
    addresses.push_back(*address);
  }
  for (unsigned i = 0; i < shards(); ++i) {
    std::vector<int> sockets;
    for (std::size_t l = 0; l < addresses.size(); ++l) {
      auto socket = listen_on(impl_->config.listeners[l].name, addresses[l]);
      if (!socket) {
        for (const int fd : sockets) ::close(fd);
        stop_now();
        return socket.error();
      }
      sockets.push_back(*socket);
    }
    parts.first = i == 0;
    impl_->shards.push_back(std::make_unique<Shard>(parts, std::move(sockets), impl_->log.logger()));
  }
  for (const auto& shard : impl_->shards) {
    if (auto started = shard->start(); !started) {
      stop_now();
      return started;
    }
  }
  for (std::size_t l = 0; l < addresses.size(); ++l) {
    const ListenerConfig& listener = impl_->config.listeners[l];
    ListenerInfo info{listener.name,
                      peer_text(addresses[l].address),
                      listener.auth == AuthMode::Mutual ? "mutual" : "one-way",
                      listener.protocol == Protocol::Mqtt ? "mqtt" : "tcp",
                      impl_->config.upstreams[listener.upstream].name,
                      {},
                      {}};
    for (const Certificate& leaf : impl_->tls[l]->leaves()) {
      info.certificates.push_back(leaf.fingerprint());
      info.not_after.push_back(leaf.not_after());
    }
    impl_->infos.push_back(std::move(info));
  }
  return {};
}

void DataPlane::put_in_force(const Notice& notice) {
  Mail mail;
  mail.kind = Mail::Kind::PutInForce;
  mail.notice = &notice;
  const auto begun = std::chrono::steady_clock::now();
  impl_->ask(mail);
  if (notice.cuts.empty()) return;
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begun);
  impl_->cuts.record(static_cast<std::uint64_t>(took.count()));
}

const Latency& DataPlane::cut_latency() const {
  return impl_->cuts;
}

std::vector<ListenerInfo> DataPlane::listeners() const {
  return impl_->infos;
}

std::vector<ShardInfo> DataPlane::shard_info() const {
  std::vector<ShardInfo> all;
  for (const auto& shard : impl_->shards) all.push_back({shard->sessions(), shard->busy_ratio()});
  return all;
}

std::uint64_t DataPlane::sessions_of_device(const Digest& id) {
  Mail mail;
  mail.kind = Mail::Kind::CountDevice;
  mail.id = id;
  return impl_->ask(mail);
}

std::uint64_t DataPlane::sessions_of_ca(const Digest& id) {
  Mail mail;
  mail.kind = Mail::Kind::CountCa;
  mail.id = id;
  return impl_->ask(mail);
}

std::vector<const ShardCounters*> DataPlane::counters() const {
  std::vector<const ShardCounters*> all;
  for (const auto& shard : impl_->shards) all.push_back(&shard->counters());
  return all;
}

void DataPlane::drain(std::chrono::milliseconds limit) {
  Mail mail;
  mail.kind = Mail::Kind::Drain;
  mail.limit_ms = static_cast<std::uint64_t>(limit.count());
  impl_->ask(mail);
}

void DataPlane::stop_now() {
  Mail mail;
  mail.kind = Mail::Kind::Stop;
  for (const auto& shard : impl_->shards) shard->mailbox().post(mail);
}

void DataPlane::join() {
  for (const auto& shard : impl_->shards) shard->join();
}

bool DataPlane::finished() const {
  return std::all_of(impl_->shards.begin(), impl_->shards.end(), [](const auto& shard) { return shard->finished(); });
}

}  // namespace sallyport
