// A registry is copied into a shared one, and back: all of it, or nothing that anybody would take for all of it.
#include <gtest/gtest.h>

#include <filesystem>

#include "admin/operations/shared_registry.h"
#include "cache/registry/registry_store.h"
#include "cache/shared/pg_connection.h"
#include "tests/cache/shared/postgres.h"

namespace sallyport::test {
namespace {

TEST(SharedCopy, AnImportThatIsCutShortHasNotHappened) {
  const TempDir dir;
  Postgres postgres;
  const auto number = [&](const std::string& text) {
    const auto connection = PgConnection::open(postgres.url(), "test");
    EXPECT_TRUE(connection) << connection.error().what;
    const auto rows = (*connection)->run({{text}});
    EXPECT_TRUE(rows) << rows.error().what;
    return rows ? rows->front().number(0, 0) : -1;
  };
  const std::string own = dir.path() + "/own";
  {
    const auto store = RegistryStore::open(own);
    for (std::uint64_t i = 1; i <= 10'000; ++i) {
      RegistryStore::Batch batch;
      (*store)->put_chain(batch, i, {{Digest{1}}, {}, Digest{2}, false, false});
      if (i == 10'000) (*store)->put_meta(batch, {7, i + 1});
      ASSERT_TRUE((*store)->commit(batch, i == 10'000 ? Durable::Synced : Durable::Later));
    }
  }
  const auto cut = import_into_shared(postgres.url(), own, [&](std::uint64_t) { postgres.kill9(); });
  EXPECT_FALSE(cut);
  postgres.start();
  EXPECT_EQ(number("select count(*) from sallyport.entry where key <> 'epochs'::bytea"), 0)
      << "half of it would be followed as a whole";
  const auto whole = import_into_shared(postgres.url(), own, [](std::uint64_t) {});
  ASSERT_TRUE(whole) << whole.error().what;
  EXPECT_EQ(whole->entries, 10'000U);
  EXPECT_EQ(number("select count(*) from sallyport.commit where node = 'import'"), 1);
  EXPECT_EQ(number("select count(*) from sallyport.registry r join sallyport.commit c on c.revision = r.horizon and "
                   "c.node = 'import'"),
            1)
      << "who follows takes a snapshot";
  const std::string copy = dir.path() + "/copy";
  EXPECT_FALSE(export_from_shared(postgres.url(), copy, [&](std::uint64_t) { postgres.kill9(); }));
  postgres.start();
  EXPECT_FALSE(std::filesystem::exists(copy + "/registry")) << "a server would start with half of it, or with nothing";
  ASSERT_TRUE(export_from_shared(postgres.url(), copy, [](std::uint64_t) {}));
  EXPECT_FALSE(std::filesystem::exists(copy + "/registry.export"));
  const auto copied = RegistryStore::open(copy);
  ASSERT_TRUE(copied) << copied.error().what;
  EXPECT_FALSE(*(*copied)->replica());
  const auto exported = export_from_shared(postgres.url(), dir.path() + "/whole", [](std::uint64_t) {});
  ASSERT_TRUE(exported) << exported.error().what;
  EXPECT_EQ(exported->entries, 10'000U);
  EXPECT_FALSE(*(*RegistryStore::open(dir.path() + "/whole"))->replica());
}

}  // namespace
}  // namespace sallyport::test
