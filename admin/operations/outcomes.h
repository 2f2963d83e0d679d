// How what is done now and then went the last time, for status and metrics. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "cache/x509/certificate.h"

namespace sallyport {

class Outcomes {
 public:
  // Of the configuration file: the start reads it first.
  struct Reload {
    std::int64_t at = 0;  // Unix seconds
    std::string refused;  // why the file is not in force; empty: it is
  };

  void reloaded(std::string refused) {
    const std::lock_guard lock(mutex_);
    reload_ = {std::time(nullptr), std::move(refused)};
  }
  Reload reload() const {
    const std::lock_guard lock(mutex_);
    return reload_;
  }

  void backed_up(bool made) { (made ? backup_at_ : backup_failed_at_) = std::time(nullptr); }
  std::int64_t backup_at() const { return backup_at_; }  // the last one that was made and verified; 0: none
  std::int64_t backup_failed_at() const { return backup_failed_at_; }  // likewise

  // What the admin API over the network presents.
  struct Presented {
    Digest id{};
    std::int64_t not_after = 0;  // Unix seconds
  };
  void presents(const Presented& certificate) {
    const std::lock_guard lock(mutex_);
    admin_certificate_ = certificate;
  }
  std::optional<Presented> admin_certificate() const {
    const std::lock_guard lock(mutex_);
    return admin_certificate_;
  }

  void auth_failed() { ++auth_failures_; }  // a request to the API whose token is none, unknown or over
  std::uint64_t auth_failures() const { return auth_failures_; }

 private:
  mutable std::mutex mutex_;
  Reload reload_{std::time(nullptr), ""};
  std::optional<Presented> admin_certificate_;
  std::atomic<std::int64_t> backup_at_{0}, backup_failed_at_{0};
  std::atomic<std::uint64_t> auth_failures_{0};
};

}  // namespace sallyport
