#include "admin/docs/pages.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "admin/api/admin_api.h"
#include "admin/cli/command_line.h"
#include "admin/operations/metric_table.h"
#include "cache/base/reason.h"
#include "proxy/config/settings.h"

namespace sallyport {

namespace {

constexpr std::string_view kMade =
    "<!-- Made from the program's own tables. Write it anew with `build/release/admin_docs admin/docs`. -->\n";

// In a table's cell a bar would begin the next one.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out.empty() ? "–" : out;
}

std::string code(std::string_view text) {
  return text.empty() ? "" : "`" + std::string(text) + "`";
}

std::string row(std::initializer_list<std::string> cells) {
  std::string out = "|";
  for (const std::string& each : cells) out += " " + cell(each) + " |";
  return out + "\n";
}

std::string header(std::initializer_list<std::string> cells) {
  std::string out = row(cells) + "|";
  for (std::size_t i = 0; i < cells.size(); ++i) out += "---|";
  return out + "\n";
}

std::string page(std::string_view title, std::string_view opening) {
  return "# " + std::string(title) + "\n\n" + std::string(kMade) + "\n" + std::string(opening);
}

std::string_view reload_of(const Setting& setting) {
  switch (setting.applies) {
    case Applies::AtOnce: return "changes at once";
    case Applies::AfterRestart: return "needs a restart; the log names it";
    case Applies::NotYet: return "not built yet: only the default is accepted";
  }
  return "";
}

DocPage configuration() {
  std::string text = page(
      "Configuration",
      "The file is TOML. `sallyport serve` and `sallyport check` read `/etc/sallyport/sallyport.toml` unless "
      "`--config` names another.\n"
      "`sallyport config` prints this page on a terminal, `sallyport config --default` a commented file to begin "
      "with.\n"
      "\n"
      "An unknown key, a wrong type, a value out of its range and a name used twice are errors. All of them are "
      "reported in one\n"
      "pass as `FILE:LINE:COL: message`, and the exit status is 2. Durations are written as `\"250ms\"`, `\"10s\"`, "
      "`\"5m\"`, `\"24h\"` or `\"30d\"`,\n"
      "sizes as `\"512B\"`, `\"64KiB\"`, `\"4MiB\"` or `\"1GiB\"`.\n"
      "\n"
      "SIGHUP makes a running Sallyport read the file and every certificate file again, all of it or nothing. "
      "\"Reload\" says\n"
      "what it does with a key that has changed.\n");
  std::string table = "-";
  for (const SettingText& each : setting_texts()) {
    const Setting& setting = *each.setting;
    if (setting.table != table) {
      table = setting.table;
      const bool many = table == "listener" || table == "upstream";
      const std::string brackets = many ? "[[" + table + "]]" : "[" + table + "]";
      text += "\n## " + (table.empty() ? std::string("At the top of the file") : brackets) + "\n";
      if (many) text += "\nOnce for each " + table + ".\n";
    }
    text += "\n### " + each.name + "\n\n" + std::string(setting.says) + "\n\n";
    text += "- Type: " + each.type + "\n";
    const std::string unwritten = setting.inherits.empty() ? code(each.fallback) : "as " + code(setting.inherits);
    text += "- Default: " + (setting.needed.empty() ? unwritten : "none, the file must say it") + "\n";
    if (!each.range.empty()) text += "- Range: " + each.range + "\n";
    text += "- Reload: " + std::string(reload_of(setting)) + "\n";
    if (!setting.example.empty()) {
      text += "- Example: " + code(std::string(setting.key) + " = " + std::string(setting.example)) + "\n";
    }
  }
  return {"configuration.md", text};
}

std::string options_table(const CommandText& command) {
  if (command.options.empty()) return "";
  std::string text = "\n" + header({"option", "value", "default", "meaning"});
  for (const CommandText::Option& option : command.options) {
    std::string help = option.help;
    if (option.required && !option.positional) help += " (must be given)";
    if (!option.environment.empty()) help += "; or `$" + option.environment + "`";
    text += row({code(option.name), option.positional ? "" : code(value_of(option)), code(option.fallback), help});
  }
  return text;
}

DocPage commands() {
  std::string text = page(
      "Commands",
      "Commands speak to a running server over its admin socket, or over the network with `--url` and a token.\n"
      "`serve`, `check`, `config`, `version` and `restore` need no server.\n"
      "\n"
      "Exit status: 0 done, 1 refused or failed (one line on stderr says why and what to do), 2 wrong usage or "
      "configuration.\n"
      "A command that takes something away says what it will hit, and asks on a terminal unless `--yes` is given.\n"
      "Where an ID only names what is to be shown, a serial or a prefix of at least 8 hex digits does as well.\n");
  for (const CommandText& command : command_texts()) {
    if (command.name.empty()) {
      text += "\n## For every command\n\nBefore or after its name.\n";
    } else {
      text += "\n## " + code(usage_of(command)) + "\n\n" + command.help + "\n";
    }
    text += options_table(command);
  }
  return {"commands.md", text};
}

std::string joined(const std::vector<std::string_view>& words) {
  std::string out;
  for (const std::string_view word : words) out += (out.empty() ? "" : " ") + code(word);
  return out;
}

std::string type_text(const Json& property) {
  if (property.contains("enum")) return "a reject reason";
  const Json& type = property["type"];
  return type.is_array() ? type[0].get<std::string>() + " or null" : type.get<std::string>();
}

DocPage api() {
  std::string text = page(
      "API",
      "HTTP and JSON under `/v1`, on `admin.socket` and on `admin.address`. `/v1/openapi.json` describes the same as "
      "an OpenAPI 3.1\n"
      "document. Whoever may open the socket is an operator; the address asks for `Authorization: Bearer TOKEN`.\n"
      "\n"
      "POST, PUT and DELETE answer after the change is durable on disk and in force on every shard. Errors are RFC "
      "9457 "
      "problem\n"
      "documents with a stable `type`. Lists take `limit` (at most 1000) and `page_token`; a page may hold fewer items "
      "than its\n"
      "limit, so follow `next_page_token` to the end. An unknown query parameter is an error.\n"
      "\nWith a shared registry: `wait` is how many seconds, 50 at most, an answer waits until the change is in force "
      "on every "
      "node; `local=true` is a restriction on this node alone, while the shared registry is out of reach; `node` is "
      "whose "
      "sessions or refusals are meant, and `*` all of them in a list: its items name their `node`, and `silent` has "
      "the nodes "
      "that did not answer.\n"
      "\n"
      "## Paths\n");
  text += "\n" + header({"request", "role", "what it does", "query", "body", "answer"});
  for (const AdminApi::Route& route : AdminApi::routes()) {
    std::string status = std::to_string(route.status);
    if (route.also != 0) status += " or " + std::to_string(route.also);
    text += row({code(std::string(route.method) + " " + std::string(route.path)),
                 std::string(AdminApi::name_of(route.role)), std::string(route.summary), joined(route.query),
                 code(route.body), status + " " + code(route.answer)});
  }
  text +=
      "\nBeside them `/livez`, `/readyz` and `/metrics`, on the admin socket and on `metrics.address`.\n\n## Objects\n";
  const Json document = AdminApi::openapi();
  for (const auto& [name, schema] : document["components"]["schemas"].items()) {
    text += "\n### " + name + "\n\n" + header({"member", "type", "always there"});
    const Json& required = schema["required"];
    for (const auto& [member, property] : schema["properties"].items()) {
      const bool always = std::find(required.begin(), required.end(), member) != required.end();
      text += row({code(member), type_text(property), always ? "yes" : "no"});
    }
  }
  return {"api.md", text};
}

std::string_view type_name(prometheus::MetricType type) {
  switch (type) {
    case prometheus::MetricType::Counter: return "counter";
    case prometheus::MetricType::Gauge: return "gauge";
    case prometheus::MetricType::Histogram: return "histogram";
    default: return "";
  }
}

DocPage metrics() {
  std::string text =
      page("Metrics",
           "`/metrics` on `metrics.address`, and on the admin socket, in Prometheus' text format. "
           "Everything counts from the start of\n"
           "the process. No label has values that a stranger can invent. Beside it are `/livez` (the "
           "process runs) and `/readyz`\n"
           "(the registry is read, the listeners are open, Sallyport is not draining, and the disk answers).\n");
  text += "\n" + header({"metric", "type", "labels", "meaning"});
  for (const MetricRow& metric : metric_rows()) {
    text += row({code(full_name(metric)), std::string(type_name(metric.type)), joined(metric.labels),
                 std::string(metric.help)});
  }
  return {"metrics.md", text};
}

std::string hex(std::uint8_t code) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  return {'0', 'x', kDigits[code >> 4], kDigits[code & 15]};
}

DocPage reasons() {
  std::string text = page(
      "Reject reasons",
      "Every connection that is refused, and every session that is cut, has one reason out of this list. Of a refusal "
      "it is the label of\n"
      "`sallyport_rejections_total`, the field `reason` of the log line `rejected`, and what `sallyport explain` and "
      "`sallyport\n"
      "rejections` print; of a session that was cut, the field `reason` of the log line `ended`, and\n"
      "`sallyport_sessions_ended_total` counts it. The peer learns no more than the alert or the code: the alert where "
      "TLS is under way, the "
      "CONNACK where\n"
      "its CONNECT was read and the broker has not answered it. A session that is cut later ends with close_notify, "
      "and "
      "in MQTT 5 with\n"
      "DISCONNECT 0x98, or 0x8B when Sallyport stops.\n");
  text += "\n" + header({"reason", "TLS alert", "CONNACK 3.1.1", "CONNACK 5", "what to do"});
  for (const ReasonRow& reason : kReasons) {
    if (reason.reason == Reason::None) continue;
    std::string alert = code(to_string(reason.alert));
    if (reason.alert12 != reason.alert) alert += ", in TLS 1.2 " + code(to_string(reason.alert12));
    const bool told = reason.connack.v5 != 0;
    text += row({code(reason.name), alert, told && reason.connack.v311 != 0 ? hex(reason.connack.v311) : "",
                 told ? hex(reason.connack.v5) : "", std::string(reason.what_to_do)});
  }
  return {"reasons.md", text};
}

}  // namespace

std::string value_of(const CommandText::Option& option) {
  const std::size_t list = option.value.find('{');
  if (list == std::string::npos) return option.value;
  std::string words = option.value.substr(list + 1, option.value.find('}') - list - 1);
  std::replace(words.begin(), words.end(), ',', '|');
  return words;
}

std::string usage_of(const CommandText& command) {
  std::string usage = "sallyport" + (command.name.empty() ? "" : " " + command.name);
  for (const CommandText::Option& option : command.options) {
    if (!option.positional) continue;
    const std::string shown = option.name + (option.many ? "..." : "");
    usage += option.required ? " " + shown : " [" + shown + "]";
  }
  return usage;
}

std::vector<DocPage> generated_pages() {
  return {configuration(), commands(), api(), metrics(), reasons()};
}

}  // namespace sallyport
