// Whose sessions end when the registered CAs change. Pure: what was, what is, and the chains between.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/change.h"

namespace sallyport {

// A CA that lost its last living path takes the sessions of its devices with it, whichever CA above it was deactivated;
// of several with one key, one that is alive suffices. Sessions through a CA that their client sent before it was
// registered are indexed by an owner above it, so that owner's sessions are looked at one by one (Cut::look_again).
std::vector<Cut> cuts_between(const CaSet& before, const CaSet& after, const ChainTable& chains, std::int64_t now);

}  // namespace sallyport
