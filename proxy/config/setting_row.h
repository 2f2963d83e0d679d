// A row of the table of settings with its member: how it is read from TOML, written as TOML, and copied. Only the
// files of proxy/config/ include this; toml++ stays behind TableReader.
#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "proxy/config/settings.h"

namespace sallyport {

class TableReader;

// The words of each closed list, in the order of their enumerators.
template <class Enum>
inline constexpr std::array<std::string_view, 0> kWordsOf = {};
template <>
inline constexpr std::array<std::string_view, 2> kWordsOf<AuthMode> = {"mutual", "one-way"};
template <>
inline constexpr std::array<std::string_view, 2> kWordsOf<Protocol> = {"mqtt", "tcp"};
template <>
inline constexpr std::array<std::string_view, 4> kWordsOf<Clones> = {"allow", "alert", "refuse-new", "cut-old"};
template <>
inline constexpr std::array<std::string_view, 2> kWordsOf<TlsMin> = {"1.2", "1.3"};
template <>
inline constexpr std::array<std::string_view, 2> kWordsOf<TlsMadeBy> = {"auto", "openssl"};
template <>
inline constexpr std::array<std::string_view, 3> kWordsOf<Balance> = {"least-connections", "round-robin", "client-id"};
template <>
inline constexpr std::array<std::string_view, 2> kWordsOf<HealthCheck> = {"tcp", "mqtt"};
template <>
inline constexpr std::array<std::string_view, 3> kWordsOf<IoEngine> = {"auto", "io_uring", "epoll"};
template <>
inline constexpr std::array<std::string_view, 3> kWordsOf<ReadyWhen> = {"always", "any-upstream", "all-upstreams"};
template <>
inline constexpr std::array<std::string_view, 3> kWordsOf<WhenStale> = {"serve", "refuse-unknown", "refuse-all"};
template <>
inline constexpr std::array<std::string_view, 4> kWordsOf<Level> = kLevelNames;
template <>
inline constexpr std::array<std::string_view, 2> kWordsOf<LogFormat> = {"text", "json"};

// One overload for each type a member may have: read_value.cc reads, setting_text.cc writes.
void read_value(TableReader& reader, const Setting& setting, std::string& into);
void read_value(TableReader& reader, const Setting& setting, bool& into);
void read_value(TableReader& reader, const Setting& setting, IdentityTemplate& into);
void read_value(TableReader& reader, const Setting& setting, unsigned& into);
void read_value(TableReader& reader, const Setting& setting, std::uint64_t& into);
void read_value(TableReader& reader, const Setting& setting, std::chrono::milliseconds& into);
void read_value(TableReader& reader, const Setting& setting, Endpoint& into);
void read_value(TableReader& reader, const Setting& setting, std::optional<Endpoint>& into);
void read_value(TableReader& reader, const Setting& setting, std::vector<Endpoint>& into);
void read_value(TableReader& reader, const Setting& setting, std::vector<std::string>& into);
void read_value(TableReader& reader, const Setting& setting, std::vector<Digest>& into);
void read_value(TableReader& reader, const Setting& setting, std::vector<Network>& into);
void read_value(TableReader& reader, const Setting& setting, std::vector<CertificateFiles>& into);
void read_value(TableReader& reader, const Setting& setting, BrokerTlsConfig& into);
bool read_word(TableReader& reader, const Setting& setting, std::size_t& index);
template <class Enum>
requires std::is_enum_v<Enum>
void read_value(TableReader& reader, const Setting& setting, Enum& into) {
  std::size_t index = 0;
  if (read_word(reader, setting, index)) into = static_cast<Enum>(index);
}

// As the file writes it.
std::string written(const Setting& setting, const std::string& value);
std::string written(const Setting& setting, bool value);
std::string written(const Setting& setting, const IdentityTemplate& value);
std::string written(const Setting& setting, unsigned value);
std::string written(const Setting& setting, std::uint64_t value);
std::string written(const Setting& setting, std::chrono::milliseconds value);
std::string written(const Setting& setting, const Endpoint& value);
std::string written(const Setting& setting, const std::optional<Endpoint>& value);
std::string written(const Setting& setting, const std::vector<Endpoint>& value);
std::string written(const Setting& setting, const std::vector<std::string>& value);
std::string written(const Setting& setting, const std::vector<Digest>& value);
std::string written(const Setting& setting, const std::vector<Network>& value);
std::string written(const Setting& setting, const std::vector<CertificateFiles>& value);
std::string written(const Setting& setting, const BrokerTlsConfig& value);
template <class Enum>
requires std::is_enum_v<Enum> std::string written(const Setting&, Enum value) {
  return '"' + std::string(kWordsOf<Enum>[static_cast<std::size_t>(value)]) + '"';
}

// What may be written, as a clause: "between 1 and 1024", "a duration such as …".
std::string range_of(const Setting& setting);

template <class Owner>
struct Row : Setting {
  bool has_member = false;  // false where the key is not carried out yet: then the rest is null
  void (*read)(TableReader&, const Setting&, Owner&) = nullptr;
  std::string (*write)(const Setting&, const Owner&) = nullptr;
  void (*keep)(const Owner& from, Owner& to) = nullptr;

  bool same(const Owner& a, const Owner& b) const { return write == nullptr || write(*this, a) == write(*this, b); }
};

template <class Owner, class Value>
constexpr Takes default_takes(Value Owner::*) {
  if (std::is_same_v<Value, bool>) return Takes::Flag;
  if (std::is_same_v<Value, IdentityTemplate>) return Takes::Template;
  if (std::is_same_v<Value, unsigned> || std::is_same_v<Value, std::uint64_t>) return Takes::Number;
  if (std::is_same_v<Value, std::chrono::milliseconds>) return Takes::Duration;
  if (std::is_same_v<Value, Endpoint> || std::is_same_v<Value, std::optional<Endpoint>>) return Takes::Address;
  if (std::is_same_v<Value, std::vector<Endpoint>>) return Takes::Servers;
  if (std::is_same_v<Value, std::vector<std::string>>) return Takes::Texts;
  if (std::is_same_v<Value, std::vector<Digest>>) return Takes::CaIds;
  if (std::is_same_v<Value, std::vector<Network>>) return Takes::Networks;
  if (std::is_same_v<Value, std::vector<CertificateFiles>>) return Takes::Certificates;
  if (std::is_same_v<Value, BrokerTlsConfig>) return Takes::Table;
  return std::is_enum_v<Value> ? Takes::Word : Takes::Text;
}

template <class Owner, class Value>
constexpr std::span<const std::string_view> words_of(Value Owner::*) {
  if constexpr (std::is_enum_v<Value>) return kWordsOf<Value>;
  return {};
}

template <class Owner, class Value>
constexpr Owner owner_of(Value Owner::*);

// The row of a member.
template <auto Member, class Owner = decltype(owner_of(Member))>
constexpr Row<Owner> row(Setting setting) {
  if (setting.takes != Takes::Size) setting.takes = default_takes(Member);
  setting.words = words_of(Member);
  return {setting, true,
          [](TableReader& reader, const Setting& self, Owner& owner) { read_value(reader, self, owner.*Member); },
          [](const Setting& self, const Owner& owner) { return written(self, owner.*Member); },
          [](const Owner& from, Owner& to) { to.*Member = from.*Member; }};
}

// The rows of each table of the file; those of [proxy], [metrics] and [log] are members of Config as well.
std::span<const Row<Config>> top_rows();
std::span<const Row<Config>> proxy_rows();
std::span<const Row<ListenerConfig>> listener_rows();
std::span<const Row<UpstreamConfig>> upstream_rows();
std::span<const Row<RegistryConfig>> registry_rows();
std::span<const Row<AdminConfig>> admin_rows();
std::span<const Row<Config>> metrics_rows();
std::span<const Row<Config>> log_rows();

// Calls `visit` with the rows of each table, in the order of the file, and with what they belong to in `config`. An
// empty owner stands for the tables that a file may have many of.
template <class Visit>
void each_table_of(const Config& config, Visit visit) {
  visit(top_rows(), config);
  visit(proxy_rows(), config);
  visit(listener_rows(), ListenerConfig{});
  visit(upstream_rows(), UpstreamConfig{});
  visit(registry_rows(), config.registry);
  visit(admin_rows(), config.admin);
  visit(metrics_rows(), config);
  visit(log_rows(), config);
}

}  // namespace sallyport
