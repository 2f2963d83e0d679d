#include <cctype>
#include <string_view>

#include "admin/cli/command_line.h"
#include "admin/docs/pages.h"
#include "admin/operations/build_info.h"
#include "proxy/config/settings.h"

namespace sallyport {

namespace {

// Plain text as roff prints it: a backslash, a hyphen that can be copied, a line that begins with a dot or a quote.
std::string roff(std::string_view text) {
  std::string out;
  bool begins = true;
  for (const char c : text) {
    if (begins && (c == '.' || c == '\'')) out += "\\&";
    begins = c == '\n';
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c != '`') {
      out += c;
    }
  }
  return out;
}

std::string bold(std::string_view text) {
  return "\\fB" + roff(text) + "\\fR";
}
std::string italic(std::string_view text) {
  return "\\fI" + roff(text) + "\\fR";
}

// The program's own words, as a sentence.
std::string sentence(std::string_view text) {
  std::string out = roff(text) + ".";
  out.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(out.front())));
  return out;
}

std::string head(std::string_view title, std::string_view section, std::string_view manual) {
  return ".\\\" Made from the program's own tables by admin_docs --man.\n.TH " + std::string(title) + " " +
         std::string(section) + " \"" + kBuildInfo.date + "\" \"Sallyport " + kBuildInfo.version + "\" \"" +
         std::string(manual) + "\"\n";
}

std::string item(const std::string& what, const std::string& text) {
  return ".TP\n" + what + "\n" + text + "\n";
}

std::string option_text(const CommandText::Option& option) {
  std::string name = option.positional ? italic(option.name) : bold(option.name);
  if (const std::string value = value_of(option); !option.positional && !value.empty()) name += " " + italic(value);
  std::string help = sentence(option.help);
  if (option.required && !option.positional) help += " It must be given.";
  if (!option.fallback.empty()) help += " Default: " + bold(option.fallback) + ".";
  if (!option.environment.empty()) help += " Or " + bold("$" + option.environment) + ".";
  return item(name, help);
}

std::string commands_text() {
  std::string text;
  for (const CommandText& command : command_texts()) {
    if (command.name.empty()) {
      text += ".SH OPTIONS\nBefore or after the name of any command.\n";
    } else {
      text += ".SS \"" + roff(usage_of(command)) + "\"\n" + sentence(command.help) + "\n";
    }
    for (const CommandText::Option& option : command.options) text += option_text(option);
    if (command.name.empty()) text += ".SH COMMANDS\n";
  }
  return text;
}

DocPage sallyport_8() {
  std::string text = head("SALLYPORT", "8", "System administration");
  text +=
      ".SH NAME\nsallyport \\- TLS\\-terminating proxy for MQTT brokers that knows the devices\n"
      ".SH SYNOPSIS\n.B sallyport serve\n.RB [ \\-\\-config\n.IR FILE ]\n.br\n.B sallyport\n.I COMMAND\n.RI [ "
      "OPTIONS ]\n"
      ".SH DESCRIPTION\nSallyport terminates mutual TLS in front of MQTT brokers, decides whether a device's "
      "certificate and its CA are in good standing, registers a new device on its first valid connection, and hands "
      "plain MQTT to a broker. A certificate can be deactivated or revoked at any time; the device is cut off before "
      "the command returns.\n.PP\n"
      ".B sallyport serve\nis the server. The other commands speak to it over its admin socket, or over the network "
      "with a token.\n";
  text += commands_text();
  text += ".SH SIGNALS\nOf the server.\n";
  text += item(bold("SIGTERM") + ", " + bold("SIGINT"), "Drains, and ends with 0. A second one ends at once.");
  text += item(bold("SIGHUP"), "Reads the configuration and every certificate file again, all of it or nothing.");
  text +=
      item(bold("SIGUSR2"),
           "Starts the program that lies where this one did. The new process takes the listeners over, and this one "
           "drains.");
  text += ".SH EXIT STATUS\n";
  text += item(bold("0"), "Done.");
  text += item(bold("1"), "Refused or failed. One line on standard error says why, and what to do.");
  text += item(bold("2"), "Wrong usage or configuration.");
  text += ".SH FILES\n";
  text += item("/etc/sallyport/sallyport.toml", "The configuration.");
  text += item("/run/sallyport/admin.sock", "The admin socket. Whoever may open it is an operator.");
  text += item("/var/lib/sallyport", "The registry of CAs, devices and tokens, and the audit log.");
  text += ".SH SEE ALSO\n.BR sallyport.toml (5),\n.BR systemctl (1)\n";
  return {"sallyport.8", text};
}

std::string_view reload_of(const Setting& setting) {
  switch (setting.applies) {
    case Applies::AtOnce: return "A reload changes it at once.";
    case Applies::AfterRestart: return "A change needs a restart; the log names it.";
    case Applies::NotYet: return "Not built yet: only the default is accepted.";
  }
  return "";
}

DocPage sallyport_toml_5() {
  std::string text = head("SALLYPORT.TOML", "5", "File formats");
  text +=
      ".SH NAME\nsallyport.toml \\- configuration of sallyport(8)\n.SH DESCRIPTION\nThe file is TOML. An unknown key, "
      "a "
      "wrong type, a value out of its range and a name used twice are errors; all of them are reported in one pass, "
      "by\n"
      ".B sallyport check\nas well. Durations are written as \"250ms\", \"10s\", \"5m\", \"24h\" or \"30d\", sizes as "
      "\"512B\", \"64KiB\", \"4MiB\" or \"1GiB\".\n";
  std::string table = "-";
  for (const SettingText& each : setting_texts()) {
    const Setting& setting = *each.setting;
    if (setting.table != table) {
      table = setting.table;
      const bool many = table == "listener" || table == "upstream";
      text += table.empty() ? ".SH AT THE TOP OF THE FILE\n"
                            : ".SH " + std::string(many ? "[[" : "[") + table +
                                  (many ? "]]\nOnce for each " + table + ".\n" : "]\n");
    }
    std::string says = roff(setting.says) + "\n.br\nType: " + roff(each.type) + ".";
    if (!each.range.empty()) says += " Range: " + roff(each.range) + ".";
    if (!setting.needed.empty()) {
      says += " There is no default.";
    } else {
      says += setting.inherits.empty() ? " Default: " + bold(each.fallback) + "."
                                       : " Default: as " + bold(setting.inherits) + ".";
    }
    says += " " + std::string(reload_of(setting));
    if (!setting.example.empty()) {
      says += "\n.br\nExample: " + bold(std::string(setting.key) + " = " + std::string(setting.example));
    }
    text += item(bold(setting.key), says);
  }
  text += ".SH EXAMPLE\n.nf\n";
  text += roff(
      "state_dir = \"/var/lib/sallyport\"\n\n[[listener]]\nname     = \"mqtts\"\naddress  = "
      "\"0.0.0.0:8883\"\nupstream = \"broker\"\ncertificates = [ { chain = \"/etc/sallyport/server_chain.crt\", key = "
      "\"/etc/sallyport/server_pkcs8.key\" } ]\n\n[[upstream]]\nname    = \"broker\"\nservers = "
      "[\"127.0.0.1:1883\"]\n");
  text += ".fi\n.SH SEE ALSO\n.BR sallyport (8)\n";
  return {"sallyport.toml.5", text};
}

}  // namespace

std::vector<DocPage> man_pages() {
  return {sallyport_8(), sallyport_toml_5()};
}

}  // namespace sallyport
