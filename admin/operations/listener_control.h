// What may change about listeners while they serve: their server certificate, their mode, and what their files and
// the configuration say. Run-time choices are kept in the registry and win over the file until they are reset.
// Every change is prepared and checked whole, written, and only then put in force; what cannot be prepared
// changes nothing. What was loaded once is kept: a file that is broken now keeps nobody from another choice. What
// cannot be served is warned of, and the next best is served. Any thread; one change at a time.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "admin/operations/warnings.h"
#include "cache/base/log.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "cache/registry/sealed.h"
#include "proxy/data_plane.h"

namespace sallyport {

// A hosted certificate with its key, opened with the key of `key_file`. Refused in words for an operator.
Answer<ServerCertificate> open_server_certificate(const SealingKey& sealing, const Digest& id,
                                                  const ServerCertRow& row);

struct HostedCertificate {
  Digest id{};
  std::vector<Certificate> chain;
  std::vector<std::string> names;
  std::int64_t added_at = 0;         // 0: it comes from the configuration's files
  std::vector<std::string> used_by;  // listeners
  bool hosted = true;
};

class ListenerControl {
 public:
  // All outlive it. `config` is copied; a reload changes the copy.
  ListenerControl(const Config& config, DataPlane& plane, Registrar& registrar, Warnings& warnings, Logger& log)
      : config_(config), plane_(plane), registrar_(registrar), warnings_(warnings), log_(log) {}

  // After the registry is open and before the listeners are: what was chosen at run time comes back. A hosted
  // certificate that cannot be opened is warned of, and the files' are served; the chosen mode holds in any case.
  Answer<void> restore();

  Answer<HostedCertificate> host(std::string_view chain_pem, std::string_view key_pem, const Actor& by);
  Answer<HostedCertificate> unhost(const Digest& id, const Actor& by);
  Answer<std::vector<HostedCertificate>> certificates() const;

  Answer<void> use_certificate(const std::string& listener, const Digest& id, const Actor& by);
  Answer<void> set_auth(const std::string& listener, AuthMode mode, const Actor& by);
  Answer<void> reset(const std::string& listener, const Actor& by);
  static std::string text_of(const OverrideRow& row);  // "auth mutual, certificate ID"

  // Reads the certificate files again where they changed since the last look and have settled, or where they were
  // refused then; looks at the dates of what is loaded; and opens a chosen certificate that could not be opened. Called
  // every second.
  void look_at_files();

  // Another node chose a certificate or a mode, or took a choice back: the same is in force here.
  void follow_others();

  // SIGHUP: other listener settings, and all files. Checked whole; install() cannot fail any more. Nothing else changes
  // the listeners meanwhile.
  class Reloading;
  Answer<Reloading> prepare_reload(const std::vector<ListenerConfig>& listeners,
                                   const std::vector<UpstreamConfig>& upstreams, const std::string& key_file);
  void install(Reloading reloading);

 private:
  // What a file is known by; a symlink that points elsewhere is another file.
  struct Mark {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t changed_ns = 0;
    bool operator==(const Mark&) const = default;
  };
  struct Files {
    std::vector<Mark> in_use, seen;
    std::string refused;                    // why those that were seen are not in use; empty: they are
    std::vector<ServerCertificate> loaded;  // what they held when they were last good
  };

  Answer<std::size_t> find(const std::string& listener) const;
  OverrideRow chosen_for(const std::string& listener) const;
  Answer<ServerCertificate> open_hosted(const Digest& id) const;
  // The chosen certificate, which is in use already or is opened; else what the files held.
  Answer<std::vector<ServerCertificate>> certificates_for(std::size_t index, const OverrideRow& chosen) const;
  Answer<PreparedListener> prepare(const ListenerConfig& file, const std::vector<UpstreamConfig>& upstreams,
                                   const OverrideRow& chosen, std::vector<ServerCertificate> certificates) const;
  // Where it cannot be opened: the files' ones, and a warning.
  Answer<PreparedListener> prepare_best(std::size_t index, const OverrideRow& chosen);
  // Reads the files of a listener. What is out of date does not take the place of what is not.
  Answer<std::vector<ServerCertificate>> load(const ListenerConfig& listener) const;
  void look_at_files_of(std::size_t index);
  void look_at_dates_of(std::size_t index);
  // Keys known to the gate first, so that no moment exists in which a presented key could be a device's.
  Answer<void> put_in_force(std::size_t index, PreparedListener prepared);
  Answer<void> change(const std::string& listener, const std::string& action, const OverrideRow& chosen,
                      const Actor& by);
  static std::vector<Mark> marks_of(const ListenerConfig& listener);
  // None: no file is named. It is read once, at the start, and again at a reload; or `anew`, for what is to be stored.
  Answer<std::optional<SealingKey>> sealing_key(bool anew = false) const;

  Config config_;
  DataPlane& plane_;
  Registrar& registrar_;
  Warnings& warnings_;
  Logger& log_;
  mutable std::mutex mutex_;
  mutable std::optional<SealingKey> sealing_;
  std::map<std::string, OverrideRow> chosen_;
  std::map<std::string, Files> files_;
};

class ListenerControl::Reloading {
 private:
  friend class ListenerControl;
  std::unique_lock<std::mutex> lock;
  std::vector<ListenerConfig> listeners;
  std::vector<UpstreamConfig> upstreams;
  std::string key_file;
  std::optional<SealingKey> sealing;
  std::vector<Files> files;  // by listener
  std::vector<PreparedListener> prepared;
};

}  // namespace sallyport
