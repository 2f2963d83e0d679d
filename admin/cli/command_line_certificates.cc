#include "admin/cli/command_line_certificates.h"

#include <CLI/CLI.hpp>

namespace sallyport {

namespace {

void add_ca_set(CLI::App& ca, Parsed& parsed) {
  CLI::App* set = ca.add_subcommand("set", "say how its devices join from now on");
  CLI::Option* id = set->add_option("ID", parsed.target.id, "the full id, 64 hex digits");
  set->add_option("--serial", parsed.target.serial, "its serial, in place of the id")->excludes(id);
  const CLI::IsMember either({"on", "off"});
  set->add_option("--auto-register", parsed.auto_register, "whether they register themselves when they first connect")
      ->check(either);
  set->add_option("--approve", parsed.approve, "whether new ones wait until an operator activates them")->check(either);
  set->add_flag("--yes", parsed.options.yes, "do not ask");
  set->callback([&parsed] {
    if (parsed.target.id.empty() && parsed.target.serial.empty()) throw CLI::RequiredError("ID, or --serial");
    if (parsed.auto_register.empty() && parsed.approve.empty()) {
      throw CLI::RequiredError("--auto-register on|off, or --approve on|off,");
    }
    parsed.chosen = [&parsed] { return speaker(parsed).ca_set(parsed.target, parsed.auto_register, parsed.approve); };
  });
}

}  // namespace

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
  add_quiet(list, parsed);
  list.add_option("--serial", parsed.ca_filter.serial, "only those with this serial");
  list.add_option("--status", parsed.ca_filter.status, "only those in this status")
      ->check(CLI::IsMember({"active", "inactive"}));
  reading_command(*ca, parsed, "show", "show one CA",
                  [&parsed](Operator& speaking) { return speaking.ca_show(parsed.reference); });
  reading_command(*ca, parsed, "download", "print its certificate (PEM)",
                  [&parsed](Operator& speaking) { return speaking.download("cas", parsed.reference); });
  add_ca_set(*ca, parsed);
  changing_command(*ca, parsed, "activate", "let its devices in again", false);
  changing_command(*ca, parsed, "deactivate", "refuse its devices and cut their sessions", false);
  changing_command(*ca, parsed, "delete", "forget it and its devices; revoked ones stay revoked", false)
      .add_flag("--cascade", parsed.cascade, "also while it is active or has active devices");
}

void add_device_commands(CLI::App& app, Parsed& parsed) {
  CLI::App* device = app.add_subcommand("device", "registered devices")->require_subcommand(1);
  CLI::App& list = client_command(*device, parsed, "list", "list devices",
                                  [&parsed](Operator& speaking) { return speaking.device_list(parsed.device_filter); });
  add_quiet(list, parsed);
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
  changing_command(*device, parsed, "revoke", "refuse it for ever and cut its sessions", true);
  changing_command(*device, parsed, "delete", "forget it: its next valid connection registers it anew", true);
  CLI::App& enroll =
      client_command(*device, parsed, "register", "register devices before they come: certificates or PEM bundles",
                     [&parsed](Operator& speaking) { return speaking.device_register(parsed.files); });
  enroll.add_option("CERT.crt", parsed.files, "one certificate (with its intermediates behind it), or bundles of many")
      ->required();
  enroll.add_flag("--yes", parsed.options.yes, "do not ask");
}

void add_certificate_commands(CLI::App& app, Parsed& parsed) {
  CLI::App* crl = app.add_subcommand("crl", "revocation lists")->require_subcommand(1);
  CLI::App& import =
      plain_command(*crl, parsed, "import", "revoke what a CRL names (DER or PEM), verified against its CA",
                    {{"FILE", "the CRL; PEM may hold several: all of them are taken, or none"}},
                    [&parsed](Operator& speaking) { return speaking.crl_import(parsed.first, parsed.also_under); });
  import
      .add_option("--also-under", parsed.also_under,
                  "full id of a CA with the issuer's name and another key: the list is of its devices, too")
      ->allow_extra_args(false);  // what follows is the FILE
  import.add_option("--wait", parsed.options.wait,
                    "with a shared registry: until every node has it, at most (1s to 50s)");
  client_command(*crl, parsed, "list", "the last CRL of each CA and scope, and whether it is overdue",
                 [](Operator& speaking) { return speaking.crl_list(); });
  CLI::App* server = app.add_subcommand("server-cert", "hosted server certificates")->require_subcommand(1);
  plain_command(*server, parsed, "add", "host a server certificate; prints its id",
                {{"CHAIN", "PEM: the server's certificate, then its issuers"},
                 {"KEY", "PEM: its private key (PKCS#8, PKCS#1 or SEC1)"}},
                [&parsed](Operator& speaking) { return speaking.server_cert_add(parsed.first, parsed.second); });
  CLI::App& hosted = client_command(*server, parsed, "list", "list hosted server certificates",
                                    [](Operator& speaking) { return speaking.server_cert_list(); });
  add_quiet(hosted, parsed);
  reading_command(*server, parsed, "show", "show one",
                  [&parsed](Operator& speaking) { return speaking.server_cert_show(parsed.reference); });
  plain_command(*server, parsed, "delete", "delete one that no listener uses", {{"ID", "the full id"}},
                [&parsed](Operator& speaking) { return speaking.server_cert_delete(parsed.first); });
  CLI::App& explain = client_command(app, parsed, "explain", "walk the decision for a certificate; exit 1: refused",
                                     [&parsed](Operator& speaking) { return speaking.explain(parsed.explain); });
  explain
      .add_option("CHAIN.crt", parsed.explain.chain,
                  "the device's certificate, then what it would send behind it; -: standard input; or the id or serial "
                  "of a registered device")
      ->required();
  explain.add_option("--listener", parsed.explain.listener, "as this listener would decide");
  explain.add_option("--at", parsed.explain.at, "at this time, for example 2026-11-21T04:13:00Z");
}

}  // namespace sallyport
