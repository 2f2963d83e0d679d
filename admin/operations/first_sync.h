// How a node begins to follow the shared registry, before it serves.
#pragma once

#include "cache/base/log.h"
#include "cache/base/result.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "proxy/config/config.h"

namespace sallyport {

// A node that has been here before serves what it knows where the shared registry cannot be reached, and says so; a new
// one knows nothing, and waits for nobody's devices.
Answer<void> follow_shared(const RegistryConfig& config, const RegistryStore& store, Registrar& registrar, Logger& log);

}  // namespace sallyport
