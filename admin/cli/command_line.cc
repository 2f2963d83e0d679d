#include "admin/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>

#include "admin/cli/about.h"
#include "admin/cli/command_line_certificates.h"
#include "admin/cli/command_line_parts.h"
#include "admin/cli/command_line_registry.h"
#include "admin/cli/completion.h"
#include "admin/cli/offline.h"
#include "admin/cli/operator.h"
#include "admin/cli/parsed.h"
#include "admin/cli/say.h"
#include "admin/cli/words.h"

namespace sallyport {

namespace {

void add_listener_commands(CLI::App& app, Parsed& parsed) {
  CLI::App* listener = app.add_subcommand("listener", "listeners")->require_subcommand(1);
  client_command(*listener, parsed, "list", "list listeners, where they listen, and what was chosen for them",
                 [](Operator& speaking) { return speaking.listener_list(); });
  CLI::App& reset = plain_command(*listener, parsed, "reset", "back to what the configuration file says",
                                  {{"NAME", "the listener"}}, {});
  reset.add_option("--state-dir", parsed.state_dir,
                   "offline, in place of a running server: the folder of a registry that no server uses");
  reset.callback([&parsed] {
    parsed.chosen = [&parsed] {
      if (!parsed.state_dir.empty()) {
        return reset_listener_offline(parsed.first, parsed.state_dir, parsed.options.yes);
      }
      Operator speaking = speaker(parsed);
      return speaking.listener_reset(parsed.first);
    };
  });
  plain_command(*listener, parsed, "use-cert", "switch the server certificate; no connection is dropped",
                {{"NAME", "the listener"}, {"ID", "the full id of a hosted server certificate"}},
                [&parsed](Operator& speaking) { return speaking.listener_use_cert(parsed.first, parsed.second); });
  CLI::App& auth =
      plain_command(*listener, parsed, "auth", "ask for device certificates (mutual) or not (one-way)",
                    {{"NAME", "the listener"}, {"MODE", "mutual or one-way"}},
                    [&parsed](Operator& speaking) { return speaking.listener_auth(parsed.first, parsed.second); });
  auth.get_option("MODE")->check(CLI::IsMember({"mutual", "one-way"}));
  CLI::App* node = app.add_subcommand("node", "the machines that share the registry")->require_subcommand(1);
  add_quiet(client_command(*node, parsed, "list", "each node, its lag, and when it was last heard of",
                           [](Operator& speaking) { return speaking.node_list(); }),
            parsed);
  plain_command(*node, parsed, "forget", "list no more, and wait no more for, one that is gone for good",
                {{"NAME", "the node"}}, [&parsed](Operator& speaking) { return speaking.node_forget(parsed.first); });
  CLI::App* keys = app.add_subcommand("ticket-keys", "the keys of TLS tickets")->require_subcommand(1);
  plain_command(*keys, parsed, "rotate", "drop them: no ticket issued before is honoured any more, on any shard", {},
                [](Operator& speaking) { return speaking.ticket_keys_rotate(); });
  CLI::App* upstream = app.add_subcommand("upstream", "brokers, and how they are")->require_subcommand(1);
  client_command(*upstream, parsed, "list", "list the servers of every upstream",
                 [](Operator& speaking) { return speaking.upstream_list(); });
  plain_command(*upstream, parsed, "show", "show one upstream, each address of its servers", {{"NAME", "the upstream"}},
                [&parsed](Operator& speaking) { return speaking.upstream_show(parsed.first); });
  plain_command(*upstream, parsed, "drain",
                "send no new session to a server, until undrain or a restart; those it has go on",
                {{"NAME", "the upstream"}, {"SERVER", "as the configuration writes it"}},
                [&parsed](Operator& speaking) { return speaking.upstream_drain(parsed.first, parsed.second); });
  plain_command(*upstream, parsed, "undrain", "send new sessions to a drained server again",
                {{"NAME", "the upstream"}, {"SERVER", "as the configuration writes it"}},
                [&parsed](Operator& speaking) { return speaking.upstream_undrain(parsed.first, parsed.second); });
  CLI::App* session = app.add_subcommand("session", "live sessions")->require_subcommand(1);
  CLI::App& sessions = client_command(*session, parsed, "list", "list live sessions", [&parsed](Operator& speaking) {
    return speaking.session_list(parsed.first, parsed.second, parsed.clones, parsed.node);
  });
  add_quiet(sessions, parsed);
  sessions.add_option("--device", parsed.first, "only those of this device: id, prefix or serial");
  sessions.add_option("--ca", parsed.second, "only those below this CA: id, prefix or serial");
  sessions.add_flag("--clones", parsed.clones, "only those whose certificate is used from two addresses or client ids");
  add_node_options(sessions, parsed.node);
  CLI::App& cut =
      plain_command(*session, parsed, "cut", "end one session", {{"SESSION", "its id, as the list shows it"}},
                    [&parsed](Operator& speaking) { return speaking.session_cut(parsed.first, parsed.node); });
  cut.add_option("--node", parsed.node, "at this node of the shared registry, as the list shows it");
}

void add_watching_commands(CLI::App& app, Parsed& parsed) {
  CLI::App& refused =
      client_command(app, parsed, "rejections", "the last refusal of each certificate and address, for each reason",
                     [&parsed](Operator& speaking) { return speaking.rejections(parsed.rejections, parsed.node); });
  refused.add_option("--serial", parsed.rejections.serial, "only of this serial");
  refused.add_option("--peer", parsed.rejections.peer, "only of this address");
  refused.add_option("--reason", parsed.rejections.reason, "only for this reason, as reasons.md has them");
  refused.add_option("--issuer", parsed.rejections.issuer,
                     "only of certificates of this issuer, as the list shows its name, or a part of it such as CN=...");
  refused.add_option("--listener", parsed.rejections.listener, "only at this listener");
  refused.add_option("--last", parsed.rejections.last, "only within, for example 1h");
  add_node_options(refused, parsed.node);
  CLI::App* token = app.add_subcommand("token", "tokens for the network address")->require_subcommand(1);
  CLI::App& create = client_command(*token, parsed, "create", "make a token; it is printed once",
                                    [&parsed](Operator& speaking) { return speaking.token_create(parsed.token); });
  create.add_option("--name", parsed.token.name, "who it is for; the audit log shows it")->required();
  create.add_option("--role", parsed.token.role, "what it may do")
      ->required()
      ->check(CLI::IsMember({"viewer", "operator"}));
  create.add_option("--ttl", parsed.token.ttl, "how long it is valid; without it until it is revoked");
  create.add_flag("--yes", parsed.options.yes, "do not ask");
  CLI::App& tokens = client_command(*token, parsed, "list", "list tokens, without themselves",
                                    [](Operator& speaking) { return speaking.token_list(); });
  add_quiet(tokens, parsed);
  plain_command(*token, parsed, "revoke", "end a token", {{"NAME", "the token"}},
                [&parsed](Operator& speaking) { return speaking.token_revoke(parsed.first); });
  client_command(app, parsed, "audit", "what operators changed, the last first", [&parsed](Operator& speaking) {
    return speaking.audit(parsed.last);
  }).add_option("--last", parsed.last, "only within, for example 24h");
  plain_command(app, parsed, "backup", "an online backup of the registry, verified", {{"DIR", "a folder of its own"}},
                [&parsed](Operator& speaking) { return speaking.backup(parsed.first); });
  CLI::App* restore =
      app.add_subcommand("restore", "put a backup back (offline); what was revoked or deactivated since stays so");
  restore->add_option("DIR", parsed.first, "the backup")->required();
  restore
      ->add_option("--state-dir", parsed.state_dir,
                   "the folder of the registry: empty, absent, or one that nobody uses")
      ->required();
  CLI::Option* keep = restore->add_flag("--keep-revocations", parsed.keep,
                                        "what was revoked or deactivated since the backup stays so (the default)");
  restore
      ->add_flag("--discard-revocations", parsed.discard,
                 "what was revoked or deactivated since the backup is valid again")
      ->excludes(keep);
  restore->add_flag("--accept-loss", parsed.accept_loss,
                    "go on where the last changes of the registry cannot be read: what can be read is kept");
  restore->add_flag("--yes", parsed.options.yes, "do not ask");
  restore->callback([&parsed] {
    parsed.chosen = [&parsed] {
      return restore_offline(parsed.first, parsed.state_dir, {parsed.discard, parsed.accept_loss, parsed.options.yes});
    };
  });
  client_command(app, parsed, "reload",
                 "read the configuration and certificate files again, as SIGHUP; says how it went",
                 [](Operator& speaking) { return speaking.reload(); })
      .add_flag("--yes", parsed.options.yes, "nothing is asked here");
  CLI::App* log = app.add_subcommand("log", "the log of a running server")->require_subcommand(1);
  CLI::App& level = plain_command(*log, parsed, "level", "log more or less, until the next reload",
                                  {{"LEVEL", "debug, info, warn or error"}},
                                  [&parsed](Operator& speaking) { return speaking.log_level(parsed.first); });
  level.get_option("LEVEL")->check(CLI::IsMember(std::vector<std::string>(kLevelNames.begin(), kLevelNames.end())));
  client_command(app, parsed, "drain", "end in an orderly manner: as SIGTERM", [](Operator& speaking) {
    return speaking.drain();
  }).add_flag("--yes", parsed.options.yes, "do not ask");
  CLI::App& top = client_command(app, parsed, "top", "a live screen: sessions, handshakes, refusals, brokers, shards",
                                 [&parsed](Operator& speaking) { return speaking.top(parsed.top); });
  top.add_option("--every", parsed.top.every, "seconds between two looks")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  top.add_option("--times", parsed.top.times, "how often; 0: until it is ended")->capture_default_str();
  CLI::App& tail = client_command(app, parsed, "tail", "events as they come; several values of a filter with commas",
                                  [&parsed](Operator& speaking) { return speaking.tail(parsed.tail); });
  tail.add_option("--event", parsed.tail.event, "only these: began, ended, rejected, device-registered, trouble, ...");
  tail.add_option("--kind", parsed.tail.kind, "only sessions that are new, known, resumed or full");
  tail.add_option("--reason", parsed.tail.reason, "only for these reasons, as reasons.md has them");
  tail.add_option("--listener", parsed.tail.listener, "only at these listeners");
  tail.add_option("--device", parsed.tail.device, "only of this device: id, prefix or serial");
  tail.add_flag("--json", parsed.tail.json, "as -o json: each event as the server sends it");
  tail.add_option("--count", parsed.tail.count, "ends after so many; 0: when it is ended")->capture_default_str();
  client_command(app, parsed, "status", "one screen: shards, sessions, devices, queues",
                 [](Operator& speaking) { return speaking.status(); });
}

void add_server_commands(CLI::App& app, Parsed& parsed, const ServerCommands& server) {
  CLI::App* run = app.add_subcommand("serve", "run in the foreground; SIGTERM drains and ends");
  run->add_option("--config", parsed.config, "the configuration file")->capture_default_str();
  run->add_flag("--accept-loss", parsed.accept_loss,
                "start although the registry lost changes that were answered; for one start");
  run->add_flag("--take-over", parsed.take_over,
                "take the listeners over from the Sallyport that runs with this admin.socket, and let it drain");
  run->callback([&parsed, &server] {
    parsed.chosen = [&] { return server.serve(parsed.config, parsed.accept_loss, parsed.take_over); };
  });
  CLI::App* check_command = app.add_subcommand("check", "validate everything serve would need, bind nothing");
  check_command->add_option("--config", parsed.config, "the configuration file")->capture_default_str();
  add_output(*check_command, parsed);
  check_command->callback(
      [&parsed, &server] { parsed.chosen = [&] { return server.check(parsed.config, parsed.output == "json"); }; });
  CLI::App& doctor = client_command(app, parsed, "doctor",
                                    "this machine, the configuration and the server: findings, each with its remedy",
                                    [&parsed, &server, socket = app.get_option("--socket")](Operator& speaking) {
                                      return speaking.doctor(server.examine(parsed.config), socket->count() > 0);
                                    });
  doctor.add_option("--config", parsed.config, "the configuration file; without --socket its admin.socket is asked")
      ->capture_default_str();
  CLI::App* config = app.add_subcommand("config", "the reference of every key of the configuration file");
  config->add_flag("--default", parsed.default_config, "a commented file with every default");
  config->callback([&parsed] {
    parsed.chosen = [&] {
      return parsed.default_config ? print_default_config() : print_config_reference(parsed.output == "json");
    };
  });
  CLI::App* completion = app.add_subcommand("completion", "print the script by which a shell completes this command");
  completion->add_option("SHELL", parsed.first, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([&parsed] { parsed.chosen = [&parsed] { return print_completion_script(parsed.first); }; });
  app.add_subcommand("version", "version, commit, build date, and the libraries it runs with")->callback([&parsed] {
    parsed.chosen = [&] { return print_version(parsed.output == "json"); };
  });
}

// CLI11 says of `ca bogus` that a command is required; a person wants to hear which word it does not know.
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

// Every command. `parsed` and `server` outlive `app`.
void define(CLI::App& app, Parsed& parsed, const ServerCommands& server) {
  parsed.options.socket = kDefaultSocket;
  app.description("Sallyport: mutual TLS, device status and registration in front of your MQTT broker");
  app.require_subcommand(1);
  add_client_options(app, parsed);
  app.fallthrough();  // before and after the command alike; inherited by what is added from here on
  app.set_version_flag("--version", std::string("sallyport ") + SALLYPORT_VERSION);
  add_server_commands(app, parsed, server);
  add_ca_commands(app, parsed);
  add_device_commands(app, parsed);
  add_certificate_commands(app, parsed);
  add_listener_commands(app, parsed);
  add_watching_commands(app, parsed);
  add_registry_commands(app, kDefaultConfig, parsed.output, parsed.chosen);
}

CommandText::Option text_of(const CLI::Option& option) {
  CommandText::Option text;
  text.positional = option.get_positional();
  text.name = option.get_name(text.positional, true);
  text.help = option.get_description();
  text.fallback = option.get_default_str();
  text.environment = option.get_envname();
  text.required = option.get_required();
  text.many = option.get_expected_max() > 1;
  if (option.get_type_size() > 0) text.value = option.get_type_name();
  return text;
}

void describe(const CLI::App& app, const std::string& name, std::vector<CommandText>& all) {
  CommandText text{name, app.get_description(), {}};
  for (const CLI::Option* option : app.get_options()) {
    if (option != app.get_help_ptr()) text.options.push_back(text_of(*option));
  }
  all.push_back(std::move(text));
  for (const CLI::App* below : app.get_subcommands([](const CLI::App*) { return true; })) {
    describe(*below, (name.empty() ? "" : name + " ") + below->get_name(), all);
  }
}

}  // namespace

std::vector<CommandText> command_texts() {
  Parsed parsed;
  const ServerCommands none{};
  CLI::App app("", "sallyport");
  define(app, parsed, none);
  std::vector<CommandText> all;
  describe(app, "", all);
  return all;
}

int run_command_line(int argc, char** argv, const ServerCommands& server) {
  // Asked by the scripts of `completion`. Not a command: what stands behind it is half a line.
  if (argc >= 2 && std::string_view(argv[1]) == kCompleteWord) {
    return print_candidates(command_texts(), std::vector<std::string>(argv + 2, argv + argc));
  }
  Parsed parsed;
  CLI::App app("", "sallyport");
  define(app, parsed, server);
  try {
    app.parse(words_of(argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    const std::string unknown = unknown_command(app, argc, argv);
    const bool is_file = unknown.empty() && std::string_view(argv[argc - 1]).ends_with(".toml");
    std::cerr << "sallyport: " << (unknown.empty() ? error.what() : unknown)
              << (is_file ? "; the configuration is named with --config FILE" : "")
              << "; see `sallyport --help`, and `sallyport COMMAND --help`\n";
    return kUsage;
  }
  // Libraries' exceptions stop here, above all those of an answer that is not what it should be.
  try {
    return written(parsed.chosen());
  } catch (const std::exception& error) {
    return complain(std::string("this should not have happened: ") + error.what());
  }
}

}  // namespace sallyport
