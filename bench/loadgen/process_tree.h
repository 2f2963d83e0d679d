// What a process and all its descendants have used: CPU time to the nanosecond from schedstat (proc(5)), and the
// share of memory that is theirs (PSS).
#pragma once

#include <sys/types.h>

#include <vector>

namespace load {

class ProcessTree {
 public:
  explicit ProcessTree(std::vector<pid_t> roots) : roots_(std::move(roots)) {}
  bool empty() const { return roots_.empty(); }
  double cpu_seconds() const;
  double pss_kib() const;

 private:
  std::vector<pid_t> everyone() const;
  std::vector<pid_t> roots_;
};

double own_cpu_seconds();

}  // namespace load
