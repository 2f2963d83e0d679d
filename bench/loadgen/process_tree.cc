#include "bench/loadgen/process_tree.h"

#include <dirent.h>
#include <sys/resource.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

namespace load {

namespace {

std::vector<std::string> threads_of(pid_t pid) {
  std::vector<std::string> found;
  const std::string folder = "/proc/" + std::to_string(pid) + "/task";
  const std::unique_ptr<DIR, decltype([](DIR* d) { ::closedir(d); })> open(::opendir(folder.c_str()));
  while (open != nullptr) {
    const dirent* entry = ::readdir(open.get());
    if (entry == nullptr) break;
    if (entry->d_name[0] != '.') found.push_back(folder + "/" + entry->d_name);
  }
  return found;
}

}  // namespace

std::vector<pid_t> ProcessTree::everyone() const {
  std::vector<pid_t> all = roots_;
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (const std::string& thread : threads_of(all[i])) {
      std::ifstream children(thread + "/children");
      for (pid_t child = 0; children >> child;) all.push_back(child);
    }
  }
  return all;
}

double ProcessTree::cpu_seconds() const {
  double ns = 0;
  for (const pid_t pid : everyone()) {
    for (const std::string& thread : threads_of(pid)) {
      double ran = 0;
      if (std::ifstream(thread + "/schedstat") >> ran) ns += ran;
    }
  }
  return ns * 1e-9;
}

double ProcessTree::pss_kib() const {
  double kib = 0;
  for (const pid_t pid : everyone()) {
    std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
    for (std::string line; std::getline(rollup, line);) {
      if (line.starts_with("Pss:")) kib += std::strtod(line.c_str() + 4, nullptr);
    }
  }
  return kib;
}

double own_cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace load
