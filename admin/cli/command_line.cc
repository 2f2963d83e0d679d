#include "admin/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <functional>
#include <iostream>

#include "admin/cli/operator.h"
#include "admin/serve.h"

namespace sallyport {

namespace {

constexpr int kUsage = 2;
constexpr const char* kDefaultSocket = "/run/sallyport/admin.sock";

// The one command that was chosen; CLI11's callbacks set it, so that nothing runs before all is parsed.
using Chosen = std::function<int()>;

struct Parsed {
  OperatorOptions options;
  std::string output = "table";
  std::string config;
  std::string ttl = "24h";
  std::string reference;
  CaRegisterOptions registration;
  CaListOptions ca_filter;
  DeviceListOptions device_filter;
  Target target;
  Chosen chosen;
};

Operator speaker(const Parsed& parsed) {
  OperatorOptions options = parsed.options;
  options.json = parsed.output == "json";
  return Operator(std::move(options));
}

void add_client_options(CLI::App& command, Parsed& parsed) {
  command.add_option("--socket", parsed.options.socket, "admin socket of the running server")
      ->envname("SALLYPORT_SOCKET")
      ->capture_default_str();
  command.add_option("-o,--output", parsed.output, "how to print")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

CLI::App& client_command(CLI::App& parent, Parsed& parsed, const std::string& name, const std::string& help,
                         std::function<int(Operator&)> run) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->callback([&parsed, run = std::move(run)] {
    parsed.chosen = [&parsed, run] {
      Operator speaking = speaker(parsed);
      return run(speaking);
    };
  });
  return *command;
}

// A command that changes something: ID, or --serial SN --ca ID; and --yes.
void changing_command(CLI::App& parent, Parsed& parsed, const std::string& action, const std::string& help,
                      bool device) {
  CLI::App& command = client_command(parent, parsed, action, help, [&parsed, action, device](Operator& speaking) {
    return device ? speaking.device_change(action, parsed.target) : speaking.ca_change(action, parsed.target);
  });
  CLI::Option* id = command.add_option("ID", parsed.target.id, "the full id, 64 hex digits");
  CLI::Option* serial = command.add_option("--serial", parsed.target.serial, "its serial, in place of the id");
  serial->excludes(id);
  if (device) {
    CLI::Option* ca = command.add_option("--ca", parsed.target.ca, "the CA of that serial: id or prefix");
    serial->needs(ca);
    ca->needs(serial);
  }
  command.add_flag("--yes", parsed.options.yes, "do not ask");
  command.callback([&parsed, action, device] {
    if (parsed.target.id.empty() && parsed.target.serial.empty()) throw CLI::RequiredError("ID, or --serial");
    parsed.chosen = [&parsed, action, device] {
      Operator speaking = speaker(parsed);
      return device ? speaking.device_change(action, parsed.target) : speaking.ca_change(action, parsed.target);
    };
  });
}

void reading_command(CLI::App& parent, Parsed& parsed, const std::string& name, const std::string& help,
                     std::function<int(Operator&)> run) {
  client_command(parent, parsed, name, help, std::move(run))
      .add_option("ID", parsed.reference, "the id, a prefix of at least 8 digits, or the serial")
      ->required();
}

void add_ca_commands(CLI::App& app, Parsed& parsed) {
  CLI::App* ca = app.add_subcommand("ca", "registered CAs")->require_subcommand(1);
  CLI::App& code = client_command(*ca, parsed, "code", "print a registration code, alone on one line",
                                  [&parsed](Operator& speaking) { return speaking.ca_code(parsed.ttl); });
  code.add_option("--ttl", parsed.ttl, "how long it can be used")->capture_default_str();
  code.add_flag("--yes", parsed.options.yes, "do not ask");
  CLI::App& enroll =
      client_command(*ca, parsed, "register", "register a CA with the proof that you hold its key; prints its id",
                     [&parsed](Operator& speaking) { return speaking.ca_register(parsed.registration); });
  enroll.add_option("CA.crt", parsed.registration.certificate, "the CA certificate")->required();
  enroll
      .add_option("VERIFICATION.crt", parsed.registration.verification,
                  "a certificate signed by the CA whose CN is a code of `ca code`")
      ->required();
  enroll.add_flag("--no-auto-register", parsed.registration.no_auto_register,
                  "its devices must be registered by an operator");
  enroll.add_flag("--approve", parsed.registration.approve, "its new devices wait until an operator activates them");
  enroll.add_flag("--yes", parsed.options.yes, "do not ask");
  CLI::App& list = client_command(*ca, parsed, "list", "list CAs",
                                  [&parsed](Operator& speaking) { return speaking.ca_list(parsed.ca_filter); });
  list.add_option("--serial", parsed.ca_filter.serial, "only those with this serial");
  list.add_option("--status", parsed.ca_filter.status, "only those in this status")
      ->check(CLI::IsMember({"active", "inactive"}));
  reading_command(*ca, parsed, "show", "show one CA",
                  [&parsed](Operator& speaking) { return speaking.ca_show(parsed.reference); });
  reading_command(*ca, parsed, "download", "print its certificate (PEM)",
                  [&parsed](Operator& speaking) { return speaking.download("cas", parsed.reference); });
  changing_command(*ca, parsed, "activate", "let its devices in again", false);
  changing_command(*ca, parsed, "deactivate", "refuse its devices and cut their sessions", false);
}

void add_device_commands(CLI::App& app, Parsed& parsed) {
  CLI::App* device = app.add_subcommand("device", "registered devices")->require_subcommand(1);
  CLI::App& list = client_command(*device, parsed, "list", "list devices",
                                  [&parsed](Operator& speaking) { return speaking.device_list(parsed.device_filter); });
  list.add_option("--serial", parsed.device_filter.serial, "only those with this serial");
  list.add_option("--ca", parsed.device_filter.ca, "only those of this CA: id, prefix or serial");
  list.add_option("--status", parsed.device_filter.status, "only those in this status")
      ->check(CLI::IsMember({"active", "inactive", "pending", "revoked"}));
  list.add_option("--cn", parsed.device_filter.cn, "only those whose CN matches, for example 'meter-*'");
  list.add_option("--expires-within", parsed.device_filter.expires_within,
                  "only those that end within, for example 30d");
  reading_command(*device, parsed, "show", "show one device",
                  [&parsed](Operator& speaking) { return speaking.device_show(parsed.reference); });
  reading_command(*device, parsed, "download", "print its certificate (PEM)",
                  [&parsed](Operator& speaking) { return speaking.download("devices", parsed.reference); });
  changing_command(*device, parsed, "activate", "let it in", true);
  changing_command(*device, parsed, "deactivate", "refuse it and cut its sessions", true);
}

void add_server_commands(CLI::App& app, Parsed& parsed) {
  CLI::App* run = app.add_subcommand("serve", "run in the foreground; SIGTERM drains and ends");
  run->add_option("--config", parsed.config, "the configuration file")->required();
  run->callback([&parsed] { parsed.chosen = [&parsed] { return serve(parsed.config); }; });
  CLI::App* check_command = app.add_subcommand("check", "validate everything serve would need, bind nothing");
  check_command->add_option("--config", parsed.config, "the configuration file")->required();
  check_command->callback([&parsed] { parsed.chosen = [&parsed] { return check(parsed.config); }; });
  app.add_subcommand("version", "print the version")->callback([&parsed] {
    parsed.chosen = [] {
      std::cout << "sallyport " << SALLYPORT_VERSION << '\n';
      return 0;
    };
  });
}

}  // namespace

int run_command_line(int argc, char** argv) {
  Parsed parsed;
  parsed.options.socket = kDefaultSocket;
  CLI::App app("Sallyport: mutual TLS, device status and registration in front of your MQTT broker", "sallyport");
  app.require_subcommand(1);
  add_client_options(app, parsed);
  app.fallthrough();  // before and after the command alike; inherited by what is added from here on
  app.set_version_flag("--version", std::string("sallyport ") + SALLYPORT_VERSION);
  add_server_commands(app, parsed);
  add_ca_commands(app, parsed);
  add_device_commands(app, parsed);
  CLI::App* listener = app.add_subcommand("listener", "listeners")->require_subcommand(1);
  client_command(*listener, parsed, "list", "list listeners and where they listen",
                 [](Operator& speaking) { return speaking.listener_list(); });
  client_command(app, parsed, "status", "one screen: shards, sessions, devices, queues",
                 [](Operator& speaking) { return speaking.status(); });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::cerr << "sallyport: " << error.what() << "; see `sallyport --help`, and `sallyport COMMAND --help`\n";
    return kUsage;
  }
  return parsed.chosen();
}

}  // namespace sallyport
