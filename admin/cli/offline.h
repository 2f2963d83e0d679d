// Commands that work on a state folder while no server uses it.
#pragma once

#include <string>

namespace sallyport {

// `restore`: puts a backup back, and says what it keeps or undoes.
struct RestoreFlags {
  bool discard_revocations = false, accept_loss = false, yes = false;
};
int restore_offline(const std::string& dir, const std::string& state_dir, const RestoreFlags& flags);

// `listener reset --state-dir`.
int reset_listener_offline(const std::string& listener, const std::string& state_dir, bool yes);

}  // namespace sallyport
