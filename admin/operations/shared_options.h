// How the configuration's words about a shared registry become the registrar's.
#pragma once

#include "cache/registry/follower.h"
#include "proxy/config/config.h"

namespace sallyport {

// With the host's name where the configuration gives none.
SharedOptions shared_options(const RegistryConfig& registry);

}  // namespace sallyport
