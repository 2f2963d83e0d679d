// The open-file limit is shared out so that everybody's own limits fit in it together.
#include "admin/operations/descriptors.h"

#include <gtest/gtest.h>

#include "admin/http/http_server.h"
#include "cache/registry/registry_store.h"
#include "proxy/data_plane.h"

namespace sallyport {
namespace {

TEST(Descriptors, WhatIsReservedCoversWhatTheLimitsSumTo) {
  for (const unsigned shards : {1U, 2U, 16U}) {
    for (const std::size_t listeners : {1U, 4U}) {
      Config config;
      config.listeners.resize(listeners);
      config.upstreams.resize(2);
      config.upstreams[0].servers.resize(5);
      for (const std::uint64_t files : {1'024U, 4'096U, 65'536U, 1'048'576U}) {
        const Descriptors made = Descriptors::of(files, config, shards);
        const std::uint64_t http = 3 * made.http_connections;
        const std::uint64_t proxy = shards * (2 + listeners * 17) + 5;
        EXPECT_GE(made.reserved, http + RegistryStore::kMostFiles + proxy) << files;
        EXPECT_LE(made.http_connections, HttpLimits{}.connections);
        EXPECT_GE(made.http_connections, 16U);
        const Capacity capacity = Capacity::of(files, shards, made.reserved);
        if (files < made.reserved + 32) continue;  // hardly any are left: said below
        EXPECT_LE(made.reserved + 2 * capacity.plain_max, files);
        EXPECT_GE(made.reserved + 2 * capacity.plain_max + 2, files) << "and nothing lies idle";
      }
      EXPECT_EQ(Descriptors::of(65'536, config, shards).http_connections, HttpLimits{}.connections);
    }
  }
  EXPECT_EQ(Capacity::of(100, 1, 1'000).plain_max, 16U);
}

// A usual limit of 1,024 serves some hundred connections.
TEST(Descriptors, ASmallLimitStillServes) {
  Config config;
  config.listeners.resize(1);
  config.upstreams.resize(1);
  config.upstreams[0].servers.resize(1);
  EXPECT_GE(Capacity::of(1'024, 2, Descriptors::of(1'024, config, 2).reserved).plain_max, 256U);
}

}  // namespace
}  // namespace sallyport
