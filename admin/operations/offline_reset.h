// Takes back what was chosen for a listener at run time, in a registry that no server uses: for a choice that keeps
// serve from doing what its file says.
#pragma once

#include <string>

#include "cache/base/log.h"
#include "cache/base/result.h"
#include "cache/registry/registrar.h"

namespace sallyport {

// What was chosen, in words. Refused: there is no registry in `state_dir`, a server uses it, or nothing was chosen for
// the listener, which names those for which something was. The audit log has a line as of the same change while
// serving.
Answer<std::string> chosen_offline(const std::string& state_dir, const std::string& listener);
Answer<void> reset_offline(const std::string& state_dir, const std::string& listener, const Actor& by);

}  // namespace sallyport
