#include "admin/console_server/header_fields.h"

#include <algorithm>
#include <cctype>

namespace sallyport {

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

namespace {

// Calls `visit` for each part between commas until it answers true; whether it did.
template <class Visit>
bool any_of_list(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (visit(trimmed(list.substr(0, comma)))) return true;
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
  }
  return false;
}

}  // namespace

bool takes_gzip(std::string_view accept_encoding) {
  return any_of_list(accept_encoding, [](std::string_view part) {
    const std::size_t semicolon = part.find(';');
    if (!same_word(trimmed(part.substr(0, semicolon)), "gzip")) return false;
    if (semicolon == std::string_view::npos) return true;
    std::string_view weight = trimmed(part.substr(semicolon + 1));
    if (weight.size() < 2 || !same_word(weight.substr(0, 2), "q=")) return true;
    weight.remove_prefix(2);
    return weight.find_first_not_of("0.") != std::string_view::npos;
  });
}

bool has_it(std::string_view if_none_match, std::string_view etag) {
  return any_of_list(if_none_match, [&](std::string_view part) {
    if (part.substr(0, 2) == "W/") part.remove_prefix(2);
    return part == "*" || part == etag;
  });
}

}  // namespace sallyport
