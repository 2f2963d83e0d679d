#include "admin/operations/process_metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <string>
#include <utility>

#include "admin/operations/build_info.h"
#include "admin/operations/disk_room.h"
#include "cache/base/file.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

using prometheus::MetricType;
using Values = MetricValues;
using Sources = MetricSources;

// proc(5), /proc/self/stat: the fields behind the name, which may have spaces and brackets in it, from the third on.
std::vector<std::string> own_stat() {
  const auto text = read_file("/proc/self/stat", 4096);
  if (!text) return {};
  std::vector<std::string> fields;
  std::string field;
  for (std::size_t i = text->rfind(')') + 2; i < text->size(); ++i) {
    if ((*text)[i] != ' ' && (*text)[i] != '\n') {
      field += (*text)[i];
    } else {
      fields.push_back(std::exchange(field, {}));
    }
  }
  return fields;
}
double stat_field(std::size_t number) {  // as proc(5) counts them
  const std::vector<std::string> fields = own_stat();
  return fields.size() > number - 3 ? std::strtod(fields[number - 3].c_str(), nullptr) : 0.0;
}

double ticks() {
  return static_cast<double>(::sysconf(_SC_CLK_TCK));
}

void cpu(Values& values, const Sources&) {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  values.add({}, seconds(used.ru_utime) + seconds(used.ru_stime));
}

// Since 1970: the machine's start, and the process's ticks after it.
double process_start() {
  const auto text = read_file("/proc/stat", std::size_t{1} << 20);
  const std::size_t at = text ? text->find("\nbtime ") : std::string::npos;
  const double booted = at == std::string::npos ? 0.0 : std::strtod(text->c_str() + at + 7, nullptr);
  return booted + stat_field(22) / ticks();
}

double open_descriptors() {
  // proc(5): the folder's size is their number since Linux 6.2. Of a hundred thousand, counting takes long.
  struct stat about {};
  if (::stat("/proc/self/fd", &about) == 0 && about.st_size > 0) return static_cast<double>(about.st_size);
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return 0.0;
  int count = -3;  // ".", "..", and this one
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

double most_descriptors() {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  return static_cast<double>(files.rlim_cur);
}

// The files of the registry, as they lie there. It has no folders inside that hold data of its own.
double store_bytes(const std::string& dir) {
  DIR* folder = ::opendir(dir.c_str());
  if (folder == nullptr) return 0.0;
  double bytes = 0;
  while (const dirent* entry = ::readdir(folder)) {
    struct stat about {};
    if (::fstatat(::dirfd(folder), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(about.st_mode)) {
      bytes += static_cast<double>(about.st_blocks) * 512;
    }
  }
  ::closedir(folder);
  return bytes;
}

void devices_expiring(Values& values, const Sources& from) {
  struct Within {
    const char* name;
    std::int64_t days;
  };
  static constexpr std::array<Within, 3> kWithin = {{{"1d", 1}, {"7d", 7}, {"30d", 30}}};
  const std::int64_t now = std::time(nullptr);
  for (const Within& within : kWithin) {
    values.add({within.name}, from.registrar_now.devices_expiring(now, now + within.days * 86400));
  }
}

void certificates_end(Values& values, const Sources& from) {
  for (const ListenerInfo& listener : from.plane.listeners()) {
    for (std::size_t i = 0; i < listener.certificates.size(); ++i) {
      values.add({"listener", listener.name, to_hex(listener.certificates[i])},
                 static_cast<double>(listener.not_after[i]));
    }
  }
  if (const auto own = from.outcomes.admin_certificate()) {
    values.add({"admin", "admin", to_hex(own->id)}, static_cast<double>(own->not_after));
  }
  for (const CaRecord& ca : from.cas) {
    values.add({"ca", shortened(escaped(ca.certificate.subject())), to_hex(ca.id)},
               static_cast<double>(ca.certificate.not_after()));
  }
}

const MetricRow kRows[] = {
    {"reload_success",
     MetricType::Gauge,
     {},
     "1 where the configuration file was put in force when it was read last; 0 where it was refused.",
     [](Values& values, const Sources& from) { values.add({}, from.outcomes.reload().refused.empty() ? 1.0 : 0.0); }},
    {"reload_seconds",
     MetricType::Gauge,
     {},
     "When the configuration file was read last, in Unix seconds; at first the start.",
     [](Values& values, const Sources& from) { values.add({}, static_cast<double>(from.outcomes.reload().at)); }},
    {"backup_seconds",
     MetricType::Gauge,
     {},
     "When the last backup was made and verified, in Unix seconds; 0: none since the start.",
     [](Values& values, const Sources& from) { values.add({}, static_cast<double>(from.outcomes.backup_at())); }},
    {"backup_failed_seconds",
     MetricType::Gauge,
     {},
     "When a backup failed last, in Unix seconds; 0: none has since the start.",
     [](Values& values, const Sources& from) {
       values.add({}, static_cast<double>(from.outcomes.backup_failed_at()));
     }},
    {"admin_auth_failures_total",
     MetricType::Counter,
     {},
     "Requests to the API without a token, or with one that is unknown or over.",
     [](Values& values, const Sources& from) { values.add({}, from.outcomes.auth_failures()); }},
    {"store_stalled",
     MetricType::Gauge,
     {},
     "1 while the disk has not answered a write for a second or more; else 0.",
     [](Values& values, const Sources& from) { values.add({}, from.registrar.stalled ? 1.0 : 0.0); }},
    {"registry_store_errors_total",
     MetricType::Counter,
     {},
     "Commits the disk refused.",
     [](Values& values, const Sources& from) { values.add({}, from.registrar.store_errors); }},
    {"warnings",
     MetricType::Gauge,
     {"kind"},
     "What is wrong and served nevertheless, by kind; status says each in words.",
     [](Values& values, const Sources& from) {
       for (std::size_t kind = 0; kind < Warnings::kKinds.size(); ++kind) {
         const auto now = std::count_if(from.warnings.begin(), from.warnings.end(), [&](const auto& warning) {
           return static_cast<std::size_t>(warning.kind) == kind;
         });
         values.add({std::string(Warnings::kKinds[kind])}, static_cast<double>(now));
       }
     }},
    {"warmup_seconds",
     MetricType::Gauge,
     {},
     "How long the cache took to warm at the start.",
     [](Values& values, const Sources& from) { values.add({}, from.registrar.warmup_seconds); }},
    {"log_lines_dropped_total",
     MetricType::Counter,
     {},
     "Log lines lost because the output stalled.",
     [](Values& values, const Sources& from) { values.add({}, from.log.dropped()); }},
    {"build_info",
     MetricType::Gauge,
     {"version"},
     "Which build this is.",
     [](Values& values, const Sources&) { values.add({kBuildInfo.version}, 1.0); }},
    {"connections_limit",
     MetricType::Gauge,
     {},
     "Connections that this process can hold, by its shards and its limit of open files.",
     [](Values& values, const Sources& from) { values.add({}, from.plane.connections_max()); }},
    {"registration_queue_limit",
     MetricType::Gauge,
     {},
     "How many devices may wait to be written.",
     [](Values& values, const Sources& from) {
       values.add({}, static_cast<std::uint64_t>(from.config.registry.queue));
     }},
    {"devices_expiring",
     MetricType::Gauge,
     {"within"},
     "Registered devices whose certificate ends within so many days, by days of UTC.",
     devices_expiring},
    {"certificate_not_after_seconds",
     MetricType::Gauge,
     {"use", "name", "id"},
     "When a certificate ends, in Unix seconds: of a listener, of the admin API over the network, of a registered CA.",
     certificates_end},
    {"store_bytes",
     MetricType::Gauge,
     {},
     "What the registry takes on its disk.",
     [](Values& values, const Sources& from) { values.add({}, store_bytes(from.config.state_dir)); }},
    {"store_free_bytes",
     MetricType::Gauge,
     {},
     "What is free on the disk of the registry.",
     [](Values& values, const Sources& from) {
       values.add({}, static_cast<double>(free_bytes(from.config.state_dir)));
     }},
    {"process_cpu_seconds_total", MetricType::Counter, {}, "CPU time of the process, user and system.", cpu},
    {"process_resident_memory_bytes",
     MetricType::Gauge,
     {},
     "Resident memory of the process.",
     [](Values& values, const Sources&) {
       values.add({}, stat_field(24) * static_cast<double>(::sysconf(_SC_PAGESIZE)));
     }},
    {"process_virtual_memory_bytes",
     MetricType::Gauge,
     {},
     "Virtual memory of the process.",
     [](Values& values, const Sources&) { values.add({}, stat_field(23)); }},
    {"process_threads",
     MetricType::Gauge,
     {},
     "Threads of the process.",
     [](Values& values, const Sources&) { values.add({}, stat_field(20)); }},
    {"process_open_fds",
     MetricType::Gauge,
     {},
     "Open file descriptors of the process.",
     [](Values& values, const Sources&) { values.add({}, open_descriptors()); }},
    {"process_max_fds",
     MetricType::Gauge,
     {},
     "The limit of open file descriptors.",
     [](Values& values, const Sources&) { values.add({}, most_descriptors()); }},
    {"process_start_time_seconds",
     MetricType::Gauge,
     {},
     "When the process was started, in Unix seconds.",
     [](Values& values, const Sources&) {
       static const double start = process_start();
       values.add({}, start);
     }},
};

}  // namespace

std::span<const MetricRow> process_metric_rows() {
  return kRows;
}

}  // namespace sallyport
