#include "admin/cli/command_line_parts.h"

#include <CLI/CLI.hpp>

namespace sallyport {

Operator speaker(const Parsed& parsed) {
  OperatorOptions options = parsed.options;
  options.json = parsed.output == "json";
  return Operator(std::move(options));
}

void add_output(CLI::App& command, Parsed& parsed) {
  command.add_option("-o,--output", parsed.output, "how to print")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

void add_client_options(CLI::App& command, Parsed& parsed) {
  command.add_option("--socket", parsed.options.socket, "admin socket of the running server")
      ->envname("SALLYPORT_SOCKET")
      ->capture_default_str();
  command.add_option("--url", parsed.options.url, "API over the network, in place of the socket: https://HOST:PORT")
      ->envname("SALLYPORT_URL");
  command.add_option("--token-file", parsed.options.token_file, "file with the token for --url (or $SALLYPORT_TOKEN)");
  command.add_option("--cacert", parsed.options.cacert, "who may have signed the certificate of --url, PEM")
      ->envname("SALLYPORT_CACERT");
  add_output(command, parsed);
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

void add_quiet(CLI::App& list, Parsed& parsed) {
  list.add_flag("-q,--quiet", parsed.options.quiet,
                "ids alone, one a line; of other nodes with \"--node NAME\" behind each");
}

CLI::App& changing_command(CLI::App& parent, Parsed& parsed, const std::string& action, const std::string& help,
                           bool device) {
  CLI::App* command = parent.add_subcommand(action, help);
  CLI::Option* id = command->add_option("ID", parsed.target.ids, "full ids, 64 hex digits each; - reads them");
  CLI::Option* serial = command->add_option("--serial", parsed.target.serial, "its serial, in place of the id");
  serial->excludes(id);
  if (device) {
    CLI::Option* ca = command->add_option("--ca", parsed.target.ca, "the CA of that serial: id or prefix");
    serial->needs(ca);
    ca->needs(serial);
  }
  command->add_flag("--yes", parsed.options.yes, "do not ask");
  command->add_option("--wait", parsed.options.wait,
                      "with a shared registry: until every node has it, at most (1s to 50s)");
  if (action == "deactivate" || action == "revoke") {
    command->add_flag("--local", parsed.options.local, "with a shared registry out of reach: on this node at once");
  }
  command->callback([&parsed, action, device] {
    if (parsed.target.ids.empty() && parsed.target.serial.empty()) throw CLI::RequiredError("ID, or --serial");
    parsed.chosen = [&parsed, action, device] {
      Operator speaking = speaker(parsed);
      return speaking.change_all(device ? "devices" : "cas", action, parsed.target, parsed.cascade);
    };
  });
  return *command;
}

CLI::App& plain_command(CLI::App& parent, Parsed& parsed, const std::string& name, const std::string& help,
                        const std::vector<std::pair<std::string, std::string>>& arguments,
                        std::function<int(Operator&)> run) {
  CLI::App& command = client_command(parent, parsed, name, help, std::move(run));
  std::string* into[] = {&parsed.first, &parsed.second};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    command.add_option(arguments[i].first, *into[i], arguments[i].second)->required();
  }
  command.add_flag("--yes", parsed.options.yes, "do not ask");
  return command;
}

void reading_command(CLI::App& parent, Parsed& parsed, const std::string& name, const std::string& help,
                     std::function<int(Operator&)> run) {
  client_command(parent, parsed, name, help, std::move(run))
      .add_option("ID", parsed.reference, "the id, a prefix of at least 8 digits, or the serial")
      ->required();
}

}  // namespace sallyport
