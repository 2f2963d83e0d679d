// The table of settings as text: values as the file writes them, ranges, the reference and the commented file.
#include <algorithm>

#include "cache/base/text.h"
#include "proxy/config/setting_row.h"

namespace sallyport {

namespace {

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

template <class List, class Write>
std::string list_of(const List& list, Write write) {
  std::string out;
  for (const auto& each : list) out += (out.empty() ? "" : ", ") + write(each);
  return "[" + out + "]";
}

// In the largest unit that divides it.
template <std::size_t Count>
std::string in_units(std::uint64_t value, const std::pair<std::uint64_t, const char*> (&units)[Count]) {
  for (const auto& [factor, name] : units) {
    if (value != 0 && value % factor == 0) return std::to_string(value / factor) + name;
  }
  return "0" + std::string(units[Count - 1].second);
}

constexpr std::pair<std::uint64_t, const char*> kSizes[] = {
    {1U << 30, "GiB"}, {1U << 20, "MiB"}, {1U << 10, "KiB"}, {1, "B"}};
constexpr std::pair<std::uint64_t, const char*> kDurations[] = {
    {86'400'000, "d"}, {3'600'000, "h"}, {60'000, "m"}, {1000, "s"}, {1, "ms"}};

std::string_view type_name(const Setting& setting) {
  switch (setting.takes) {
    case Takes::Text: return "text";
    case Takes::Flag: return "true or false";
    case Takes::Number: return "whole number";
    case Takes::Duration: return "duration";
    case Takes::Size: return "size";
    case Takes::Word: return "word";
    case Takes::Address: return "host:port";
    case Takes::Servers: return "list of servers";
    case Takes::Texts: return "list of texts";
    case Takes::Networks: return "list of networks";
    case Takes::CaIds: return "list of CA ids";
    case Takes::Certificates: return "list of { chain, key }";
    case Takes::Template: return "template";
    case Takes::Table: return "{ ca, server_name, ... }";
  }
  return "";
}

std::string_view when_applied(const Setting& setting) {
  switch (setting.applies) {
    case Applies::AtOnce: return "at once";
    case Applies::AfterRestart: return "after a restart";
    case Applies::NotYet: return "not built yet: only the default is accepted";
  }
  return "";
}

std::string range_text(const Setting& setting) {
  if (setting.takes == Takes::Word) return range_of(setting).substr(std::string_view("one of ").size());
  if (setting.applies == Applies::NotYet) return "";
  if (setting.takes == Takes::Template) {
    std::string fields = "the fields";
    for (const std::string_view field : IdentityTemplate::kFields) fields += " {" + std::string(field) + "}";
    return fields;
  }
  if (setting.takes == Takes::Duration && setting.most != 0) {
    return in_units(setting.least, kDurations) + " to " + in_units(setting.most, kDurations);
  }
  if (setting.takes == Takes::Duration) return setting.may_be_zero ? "0s, or 1ms to 3660d" : "1ms to 3660d";
  if (setting.takes == Takes::Number && setting.most == 0) return std::to_string(setting.least) + " or more";
  if (setting.takes == Takes::Number || setting.takes == Takes::Size) {
    std::string range = range_of(setting).substr(std::string_view("between ").size());
    return range.replace(range.find(" and "), 5, " to ");
  }
  return setting.takes == Takes::Text && setting.most != 0 ? range_of(setting) : "";
}

// A sentence after the other, in lines of at most `width` that begin with "# ".
std::string comment(std::string_view text, std::size_t width) {
  std::string out, line = "#";
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (line.size() + 1 + word.size() > width) {
      out += line + '\n';
      line = "#";
    }
    line += " " + std::string(word);
  }
  return out + line + '\n';
}

std::string entry(const SettingText& text) {
  const Setting& setting = *text.setting;
  std::string out = comment(setting.says, 100);
  std::string facts = text.type + (text.range.empty() ? "" : ", " + text.range);
  if (setting.applies == Applies::AtOnce) facts += "; a reload changes it";
  if (setting.applies == Applies::NotYet) facts += "; " + text.applies;
  out += comment(facts + ".", 100);
  if (text.fallback.empty()) {  // only of [[listener]] and [[upstream]]
    return out + "# Needed.\n#" + std::string(setting.key) + " = " + std::string(setting.example) + "\n";
  }
  return out + "#" + std::string(setting.key) + " = " + text.fallback + "\n";
}

}  // namespace

std::string written(const Setting&, const std::string& value) {
  return in_quotes(value);
}
std::string written(const Setting&, bool value) {
  return value ? "true" : "false";
}
std::string written(const Setting&, const IdentityTemplate& value) {
  return in_quotes(value.text());
}
std::string written(const Setting&, unsigned value) {
  return std::to_string(value);
}
std::string written(const Setting& setting, std::uint64_t value) {
  return setting.takes == Takes::Size ? in_quotes(in_units(value, kSizes)) : std::to_string(value);
}
std::string written(const Setting&, std::chrono::milliseconds value) {
  if (value.count() == 0) return in_quotes("0s");
  return in_quotes(in_units(static_cast<std::uint64_t>(value.count()), kDurations));
}
std::string written(const Setting&, const Endpoint& value) {
  return in_quotes(value.text());
}
std::string written(const Setting&, const std::optional<Endpoint>& value) {
  return in_quotes(value ? value->text() : "");
}
std::string written(const Setting&, const std::vector<Endpoint>& value) {
  return list_of(value, [](const Endpoint& each) { return in_quotes(each.text()); });
}
std::string written(const Setting&, const std::vector<std::string>& value) {
  return list_of(value, [](const std::string& each) { return in_quotes(each); });
}
std::string written(const Setting&, const std::vector<Digest>& value) {
  return list_of(value, [](const Digest& each) { return in_quotes(to_hex(each)); });
}
std::string written(const Setting&, const std::vector<Network>& value) {
  return list_of(value, [](const Network& each) { return in_quotes(each.text()); });
}
std::string written(const Setting&, const std::vector<CertificateFiles>& value) {
  return list_of(value, [](const CertificateFiles& each) {
    return "{ chain = " + in_quotes(each.chain) + ", key = " + in_quotes(each.key) + " }";
  });
}

std::string written(const Setting&, const BrokerTlsConfig& value) {
  std::string out;
  const std::pair<const char*, const std::string*> members[] = {
      {"ca", &value.ca}, {"certificate", &value.certificate}, {"key", &value.key}, {"server_name", &value.server_name}};
  for (const auto& [name, text] : members) {
    if (!text->empty()) out += (out.empty() ? " " : ", ") + std::string(name) + " = " + in_quotes(*text);
  }
  return out.empty() ? "{}" : "{" + out + " }";
}

std::string range_of(const Setting& setting) {
  if (setting.takes == Takes::Word) {
    std::string words;
    for (const std::string_view word : setting.words) words += (words.empty() ? "" : ", ") + in_quotes(word);
    return "one of " + words;
  }
  if (setting.takes == Takes::Size) {
    return "between " + in_units(setting.least, kSizes) + " and " + in_units(setting.most, kSizes);
  }
  if (setting.takes == Takes::Duration && setting.most != 0) {
    return "between " + in_units(setting.least, kDurations) + " and " + in_units(setting.most, kDurations);
  }
  const std::uint64_t most = setting.most != 0 ? setting.most : std::uint64_t{INT64_MAX};
  const std::string between = std::to_string(setting.least) + " and " + std::to_string(most);
  if (setting.takes == Takes::Text) {
    return std::to_string(setting.least) + " to " + std::to_string(most) + " bytes long";
  }
  return "between " + between;
}

std::vector<SettingText> setting_texts() {
  std::vector<SettingText> all;
  each_table_of(Config{}, [&](auto rows, const auto& owner) {
    for (const auto& row : rows) {
      SettingText text{.setting = &row, .name = {}, .type = {}, .fallback = {}, .range = {}, .applies = {}};
      text.name = (row.table.empty() ? "" : std::string(row.table) + ".") + std::string(row.key);
      text.type = type_name(row);
      text.range = range_text(row);
      text.applies = when_applied(row);
      if (row.write == nullptr) {
        text.fallback = row.only_value;
      } else if (row.needed.empty()) {
        text.fallback = row.write(row, owner);
      }
      all.push_back(std::move(text));
    }
  });
  return all;
}

std::string default_config() {
  std::string out = comment(
      "The configuration of Sallyport. Lines that begin with #key show the default. [[listener]] and [[upstream]] are "
      "an example: take the # from both and from the keys marked \"needed\", and put your own values in their place. "
      "`sallyport check` says what is wrong; SIGHUP makes a running Sallyport read the file again.",
      100);
  std::string table;
  for (const SettingText& text : setting_texts()) {
    const Setting& setting = *text.setting;
    if (setting.table != table) {
      table = setting.table;
      const bool many = table == "listener" || table == "upstream";
      out += "\n\n" + (many ? "#[[" + table + "]]\n" : "[" + table + "]\n");
    }
    out += "\n" + entry(text);
  }
  return out;
}

std::string_view to_string(Balance balance) {
  return kWordsOf<Balance>[static_cast<std::size_t>(balance)];
}

std::string_view to_string(HealthCheck health) {
  return kWordsOf<HealthCheck>[static_cast<std::size_t>(health)];
}

std::string_view to_string(TlsMadeBy engine) {
  return kWordsOf<TlsMadeBy>[static_cast<std::size_t>(engine)];
}

}  // namespace sallyport
