// What can follow on a command line: from the table of commands, and from what the running server has.
#include "admin/cli/completion.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sallyport {
namespace {

struct Completing : ::testing::Test {
  std::vector<Wanted> asked;
  Candidates after(std::vector<std::string> words) {
    return candidates(command_texts(), words, [this](const Wanted& wanted) {
      asked.push_back(wanted);
      return std::vector<Candidate>{{"3f9c01", "meter-1"}, {"a0b1c2", "meter-2"}};
    });
  }
  static bool has(const Candidates& found, std::string_view value) {
    return std::any_of(found.values.begin(), found.values.end(), [&](const auto& each) { return each.value == value; });
  }
};

TEST_F(Completing, EveryCommandOfTheProgram) {
  for (const CommandText& command : command_texts()) {
    std::vector<std::string> words{""};
    for (const char c : command.name) {
      if (c == ' ') words.emplace_back();
      if (c != ' ') words.back().push_back(c);
    }
    const std::string last = words.back();
    words.back().resize(last.size() / 2);
    EXPECT_TRUE(last.empty() || has(after(words), last)) << command.name;
    for (const CommandText::Option& option : command.options) {
      if (option.positional) continue;
      words.back() = last;
      words.emplace_back("--");
      EXPECT_TRUE(has(after(words), option.name.substr(option.name.rfind(',') + 1))) << command.name << option.name;
      words.pop_back();
    }
  }
}

TEST_F(Completing, OnlyWhatBeginsSo) {
  const Candidates found = after({"device", "re"});
  EXPECT_TRUE(has(found, "register") && has(found, "revoke"));
  EXPECT_FALSE(has(found, "list"));
  EXPECT_TRUE(after({"device", "list", "nothing-else"}).values.empty());
}

TEST_F(Completing, ValuesOfAClosedList) {
  EXPECT_TRUE(has(after({"device", "list", "--status", ""}), "pending"));
  EXPECT_TRUE(has(after({"device", "list", "--status=pe"}), "--status=pending"));
  EXPECT_TRUE(has(after({"-o", ""}), "json"));
  EXPECT_TRUE(has(after({"-o", "json", "ca", "li"}), "list")) << "behind an option with its value";
  EXPECT_TRUE(has(after({"listener", "auth", "mqtts", "one"}), "one-way"));
  EXPECT_TRUE(asked.empty());
}

TEST_F(Completing, IdsAndNamesOfTheServer) {
  const Candidates found = after({"device", "revoke", "3f"});
  ASSERT_EQ(found.values.size(), 1U);
  EXPECT_EQ(found.values[0].value, "3f9c01");
  EXPECT_EQ(found.values[0].says, "meter-1");
  after({"ca", "show", ""});
  after({"session", "list", "--device", ""});
  after({"listener", "use-cert", ""});
  after({"listener", "use-cert", "mqtts", ""});
  after({"upstream", "drain", "broker", ""});
  after({"token", "revoke", ""});
  std::vector<std::string> paths;
  for (const Wanted& each : asked) paths.push_back(each.path.substr(0, each.path.find('?')));
  EXPECT_EQ(paths, (std::vector<std::string>{"/v1/devices", "/v1/cas", "/v1/devices", "/v1/listeners",
                                             "/v1/server-certificates", "/v1/upstreams", "/v1/tokens"}));
  EXPECT_EQ(asked[5].of, "broker");
  EXPECT_TRUE(after({"token", "create", "--name", ""}).values.empty()) << "a new name";
  EXPECT_EQ(asked.size(), 7U);
}

TEST_F(Completing, Files) {
  EXPECT_TRUE(after({"serve", "--config", ""}).files);
  EXPECT_TRUE(after({"device", "register", "one.crt", ""}).files) << "several";
  EXPECT_TRUE(after({"crl", "import", "--", ""}).files);
  EXPECT_FALSE(after({"serve", ""}).files);
}

}  // namespace
}  // namespace sallyport
