#include "admin/operations/doctor.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>

#include "admin/operations/disk_room.h"
#include "cache/base/file.h"
#include "cache/shared/shared_session.h"

namespace sallyport {

namespace {

using Grade = Finding::Grade;

constexpr unsigned kLeastMajor = 6, kLeastMinor = 1;
constexpr std::uint64_t kLeastQueue = 4096;
constexpr std::uint64_t kLeastFiles = 65'536;
constexpr double kLeastFree = 1 << 30;

// The whole numbers of a file of /proc, as far as they go.
std::vector<std::uint64_t> numbers_in(const std::string& path) {
  const auto text = read_file(path, 4096);
  std::vector<std::uint64_t> numbers;
  if (!text) return numbers;
  const char* at = text->data();
  const char* const end = at + text->size();
  while (at < end) {
    std::uint64_t number = 0;
    const auto [behind, failure] = std::from_chars(at, end, number);
    if (failure == std::errc()) numbers.push_back(number);
    at = failure == std::errc() ? behind : at + 1;
  }
  return numbers;
}

std::uint64_t connections_of(const Config& config) {
  std::uint64_t all = 0;
  for (const ListenerConfig& listener : config.listeners) all += listener.max_connections;
  return all;
}

// Of where it lies, or will: the nearest folder that is there.
std::string existing(std::filesystem::path dir) {
  std::error_code ignored;
  while (!dir.empty() && !std::filesystem::exists(dir, ignored) && dir != dir.parent_path()) dir = dir.parent_path();
  return dir.empty() ? "." : dir.string();
}

}  // namespace

std::string_view to_string(Finding::Grade grade) {
  switch (grade) {
    case Grade::Fine: return "ok";
    case Grade::Warning: return "warning";
    case Grade::Problem: return "problem";
  }
  return "";
}

Finding judge_kernel(std::string_view release) {
  unsigned major = 0, minor = 0;
  const std::string text(release);
  const bool read = std::sscanf(text.c_str(), "%u.%u", &major, &minor) == 2;
  if (!read || major < kLeastMajor || (major == kLeastMajor && minor < kLeastMinor)) {
    return {Grade::Problem, "kernel", "Linux " + text, "run on Linux 6.1 or newer"};
  }
  return {Grade::Fine, "kernel", "Linux " + text, ""};
}

Finding judge_open_files(std::uint64_t most, std::uint64_t wanted) {
  const std::string what = std::to_string(most) + " for this user";
  // Each session has two sockets where the kernel has no direct descriptors.
  if (most >= std::max(2 * wanted, kLeastFiles)) return {Grade::Fine, "open files", what, ""};
  const std::string asked =
      wanted == 0 ? ": two for each session" : "; the listeners' max_connections want " + std::to_string(2 * wanted);
  return {Grade::Warning, "open files", what + asked,
          "raise LimitNOFILE= (ulimit -n), or lower max_connections: `sallyport check` says so where it is above what "
          "there is room for"};
}

Finding judge_listen_queue(std::uint64_t somaxconn) {
  const std::string what = "net.core.somaxconn = " + std::to_string(somaxconn);
  if (somaxconn >= kLeastQueue) return {Grade::Fine, "listen queue", what, ""};
  return {Grade::Warning, "listen queue", what + ": a storm of devices overflows it, and they wait a second and more",
          "sysctl -w net.core.somaxconn=4096"};
}

Finding judge_source_ports(std::uint64_t low, std::uint64_t high, std::uint64_t wanted, std::size_t sources) {
  const std::uint64_t ports = high > low ? (high - low + 1) * std::max<std::size_t>(sources, 1) : 0;
  const std::string what = std::to_string(ports) + " to one address of a broker";
  if (ports >= wanted) return {Grade::Fine, "source ports", what, ""};
  return {Grade::Warning, "source ports", what + "; the listeners' max_connections want " + std::to_string(wanted),
          "widen net.ipv4.ip_local_port_range, or name several addresses in upstream.source, or use a unix socket"};
}

Finding judge_disk(double free, double all, const std::string& dir) {
  char text[96];
  std::snprintf(text, sizeof text, "%.1f of %.1f GiB free", free / (1 << 30), all / (1 << 30));
  const std::string what = dir + ": " + text;
  if (free < kRegistryNeedsBytes) {
    return {Grade::Problem, "disk", what + ": below 128 MiB the registry cannot grow", "free some, or move state_dir"};
  }
  if (free < kLeastFree || free < all / 20) return {Grade::Warning, "disk", what, "free some, or move state_dir"};
  return {Grade::Fine, "disk", what, ""};
}

Finding judge_clock(bool synchronized) {
  if (synchronized) return {Grade::Fine, "clock", "synchronised", ""};
  return {Grade::Warning, "clock", "nobody keeps it right: certificates are judged by it",
          "run a time service: systemd-timesyncd, chrony or ntpd"};
}

std::vector<Finding> examine_machine(const Config& config, bool known) {
  std::vector<Finding> found;
  utsname kernel{};
  ::uname(&kernel);
  found.push_back(judge_kernel(kernel.release));
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  const std::uint64_t wanted = connections_of(config);
  found.push_back(judge_open_files(files.rlim_max, wanted));
  if (const auto queue = numbers_in("/proc/sys/net/core/somaxconn"); !queue.empty()) {
    found.push_back(judge_listen_queue(queue.front()));
  }
  if (const auto ports = numbers_in("/proc/sys/net/ipv4/ip_local_port_range"); ports.size() == 2) {
    std::size_t sources = config.upstreams.empty() ? 1 : SIZE_MAX;
    for (const UpstreamConfig& upstream : config.upstreams) {
      sources = std::min(sources, std::max<std::size_t>(upstream.source.size(), 1) * upstream.servers.size());
    }
    found.push_back(judge_source_ports(ports[0], ports[1], wanted, sources));
  }
  timex clock{};
  // An error of it says that the clock is not synchronised; -1 is a container that may not ask.
  if (const int state = ::adjtimex(&clock); state >= 0) {
    found.push_back(judge_clock(state != TIME_ERROR && (clock.status & STA_UNSYNC) == 0));
  }
  struct statvfs disk {};
  const std::string dir = existing(config.state_dir);
  if (known && ::statvfs(dir.c_str(), &disk) == 0) {
    const auto block = static_cast<double>(disk.f_frsize);
    found.push_back(judge_disk(static_cast<double>(disk.f_bavail) * block, static_cast<double>(disk.f_blocks) * block,
                               config.state_dir));
  }
  return found;
}

std::vector<Finding> examine_shared(const std::string& url) {
  const std::string about = "shared registry", where = PgUrl::shown(url);
  const auto session = SharedSession::open(url, "doctor");
  if (!session) {
    return {{Grade::Problem, about, where + ": " + session.error().what,
             "a server that starts now serves from what this node has, and takes no change until that is mended"}};
  }
  const auto lacking = (*session)->rights_lacking();
  const auto standby = (*session)->has_synchronous_standby();
  if (!lacking || !standby) {
    return {{Grade::Problem, about, where + ": " + (lacking ? standby.error() : lacking.error()).what,
             "look at PostgreSQL"}};
  }
  std::vector<Finding> found;
  if (lacking->empty()) {
    found.push_back({Grade::Fine, about, where + " answers", ""});
  } else {
    found.push_back({Grade::Problem, about, where + ": the role may not " + *lacking,
                     "its owner: grant select, insert, update, delete on all tables in schema sallyport to ROLE"});
  }
  if (!*standby) {
    found.push_back({Grade::Warning, about, kNoStandby, "set synchronous_standby_names there"});
  }
  return found;
}

}  // namespace sallyport
