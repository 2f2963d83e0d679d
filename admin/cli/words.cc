#include "admin/cli/words.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>

#include "admin/operations/objects.h"
#include "cache/base/text.h"

namespace sallyport {

namespace {

// A negative serial number begins like an option: -5AFEFDFD. No option of ours is made of hex digits.
bool is_negative_serial(std::string_view word) {
  return word.size() > 1 && word.front() == '-' && parse_serial(word).has_value();
}

}  // namespace

std::string unknown_command(const CLI::App& app, int argc, char** argv) {
  const CLI::App* at = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.empty() || word.front() == '-') return {};
    const auto below = at->get_subcommands([](const CLI::App*) { return true; });
    const auto next =
        std::find_if(below.begin(), below.end(), [&](const CLI::App* app) { return app->get_name() == word; });
    if (next != below.end()) {
      at = *next;
      continue;
    }
    if (at->get_require_subcommand_min() == 0) return {};
    return at == &app ? "there is no command '" + word + "'" : "'" + at->get_name() + "' has no command '" + word + "'";
  }
  return {};
}

std::vector<std::string> words_of(int argc, char** argv) {
  std::vector<std::string> words, plain;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--") {
      plain.insert(plain.end(), argv + i + 1, argv + argc);
      break;
    }
    const bool negative = is_negative_serial(word);
    const bool behind_an_option =
        !words.empty() && (words.back() == "--serial" || words.back() == "--ca" || words.back() == "--device");
    if (negative && behind_an_option) {
      words.back() += "=" + word;
    } else {
      (negative ? plain : words).push_back(word);
    }
  }
  if (!plain.empty()) words.emplace_back("--");
  words.insert(words.end(), plain.begin(), plain.end());
  std::reverse(words.begin(), words.end());
  return words;
}

}  // namespace sallyport
