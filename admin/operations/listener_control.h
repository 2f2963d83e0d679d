// What may change about listeners while they serve: their server certificate, their mode, and what their files and
// the configuration say. Run-time choices are kept in the registry and win over the file until they are reset.
// Every change is prepared and checked whole, written, and only then put in force; what cannot be prepared
// changes nothing. Any thread; one change at a time.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cache/base/log.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "cache/registry/sealed.h"
#include "proxy/data_plane.h"

namespace sallyport {

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
  ListenerControl(const Config& config, DataPlane& plane, Registrar& registrar, Logger& log)
      : config_(config), plane_(plane), registrar_(registrar), log_(log) {}

  // After the registry is open and before the listeners are: what was chosen at run time comes back.
  Answer<void> restore();

  Answer<HostedCertificate> host(std::string_view chain_pem, std::string_view key_pem, const Actor& by);
  Answer<HostedCertificate> unhost(const Digest& id, const Actor& by);
  Answer<std::vector<HostedCertificate>> certificates() const;

  Answer<void> use_certificate(const std::string& listener, const Digest& id, const Actor& by);
  Answer<void> set_auth(const std::string& listener, AuthMode mode, const Actor& by);
  Answer<void> reset(const std::string& listener, const Actor& by);

  // Reads the certificate files again where they changed since the last look and have settled. Called every second.
  void look_at_files();
  // SIGHUP: other listener settings, and all files. Checked whole before anything changes.
  Answer<void> reload(const std::vector<ListenerConfig>& listeners, const std::string& key_file);

 private:
  // What a file is known by; a symlink that points elsewhere is another file.
  struct Mark {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t changed_ns = 0;
    bool operator==(const Mark&) const = default;
  };
  struct Watched {
    std::vector<Mark> in_use, seen;
  };

  Answer<std::size_t> find(const std::string& listener) const;
  Answer<ServerCertificate> open_hosted(const Digest& id) const;
  Answer<PreparedListener> prepare(const ListenerConfig& file, const OverrideRow& chosen) const;
  // Keys known to the gate first, so that no moment exists in which a presented key could be a device's.
  Answer<void> put_in_force(std::size_t index, PreparedListener prepared);
  Answer<void> change(const std::string& listener, const std::string& action, const OverrideRow& chosen,
                      const Actor& by);
  static std::vector<Mark> marks_of(const ListenerConfig& listener);
  Answer<std::optional<SealingKey>> sealing_key() const;

  Config config_;
  DataPlane& plane_;
  Registrar& registrar_;
  Logger& log_;
  mutable std::mutex mutex_;
  std::map<std::string, OverrideRow> chosen_;
  std::map<std::string, Watched> watched_;
};

}  // namespace sallyport
