// The last refusals over a restart: those of the shards beside those that a file has of the process before. The file is
// written at most once a minute, where something was refused since, and at an orderly end; never synced, for it is a
// help and no record; by a thread of its own, so that a disk that hangs holds nobody up. At most kMost refusals, about
// a megabyte. One that is damaged is said, and removed. Any thread asks.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cache/base/log.h"
#include "cache/base/result.h"
#include "proxy/data_plane.h"

namespace sallyport {

// As the file has them, with a checksum at its end. Pure.
std::string encoded(const std::vector<Rejection>& rejections);
// `words`: where what is said in words stays. A refusal says why it is none of ours.
Answer<std::vector<Rejection>> decoded(std::string_view text, std::set<std::string>& words);

class KeptRejections {
 public:
  static constexpr std::size_t kMost = 2048;
  static constexpr std::size_t kOfEach = 512;  // of each kind of each shard: a shard copies no more at a time
  static constexpr std::size_t kLargestFile = std::size_t{8} << 20;
  static constexpr auto kEvery = std::chrono::seconds(60);

  KeptRejections(const std::string& state_dir, DataPlane& plane, Logger& log)
      : path_(state_dir + "/last-rejections"), plane_(plane), log_(log) {}
  ~KeptRejections();  // waits for what stop() asked for
  KeptRejections(const KeptRejections&) = delete;
  KeptRejections& operator=(const KeptRejections&) = delete;

  void load();   // before anybody asks
  void start();  // after the shards: writes from now on
  void stop();   // while there are shards: has what has come since written, and waits for no disk

  std::vector<Rejection> all() const;  // the last one first

 private:
  void run();
  std::vector<Rejection> last_ones();
  void write(const std::vector<Rejection>& last);
  std::uint64_t refused_so_far() const;

  const std::string path_;
  DataPlane& plane_;
  Logger& log_;  // the thread's own, and before it the caller's of load()
  std::set<std::string> words_;
  std::vector<Rejection> before_;
  static constexpr std::uint64_t kNever = ~std::uint64_t{0};
  std::atomic<std::uint64_t> asked_at_count_{0};  // how many were refused when they were asked for last
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::vector<Rejection> parting_;  // what stop() asked for
  std::thread thread_;
};

}  // namespace sallyport
