#include "admin/cli/words.h"

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
