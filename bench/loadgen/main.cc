// load: what a fleet of devices does to an MQTT endpoint over TLS, measured from due times. `load --help`.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>

#include "bench/loadgen/scenario.h"
#include "bench/loadgen/sink.h"

namespace {

using load::Options;

// CLI11's own say up to which of 308 digits a number may go.
CLI::Validator more_than(double least, const char* otherwise) {
  return CLI::Validator(
      [least, otherwise](std::string& text) {
        double value = 0;
        return std::string(CLI::detail::lexical_cast(text, value) && value > least ? "" : otherwise);
      },
      "");
}
const CLI::Validator kPositive = more_than(0, "must be a number above 0");
const CLI::Validator kNotNegative = more_than(-1e-9, "must be 0 or a number above it");

struct Scenario {
  const char* name;
  const char* what;
  load::Report (*run)(load::Stage&);
  void (*options)(CLI::App&, Options&);
};

void connections(CLI::App& app, Options& o) {
  app.add_option("--connections", o.connections, "how many stand")->capture_default_str()->check(kPositive);
}
void rate(CLI::App& app, Options& o, const char* what) {
  app.add_option("--rate", o.rate, what)->check(kNotNegative);
}
void size(CLI::App& app, Options& o) {
  app.add_option("--size", o.size, "bytes of payload")->capture_default_str()->check(kNotNegative);
}
void seconds(CLI::App& app, Options& o, const char* what) {
  app.add_option("--seconds", o.seconds, what)->capture_default_str()->check(kPositive);
}

const Scenario kScenarios[] = {
    {"handshake", "Connections made and left: TCP, TLS, CONNECT, CONNACK, DISCONNECT, close.", &load::run_handshake,
     [](CLI::App& app, Options& o) {
       app.add_option("--count", o.count, "connections that are measured")->capture_default_str()->check(kPositive);
       app.add_option("--concurrency", o.concurrency, "at once")->capture_default_str()->check(kPositive);
       app.add_option("--mode", o.mode, "full, resumed, mixed (half each), or first: every connection a new device")
           ->capture_default_str()
           ->check(CLI::IsMember({"full", "resumed", "mixed", "first"}));
       app.add_option("--warm-up", o.warm_up, "connections before; at least one for each device")->check(kNotNegative);
       rate(app, o, "connections due each second (0: as fast as --concurrency allows)");
     }},
    {"reconnect", "A fleet stands, is cut, and comes back all at once.", &load::run_reconnect,
     [](CLI::App& app, Options& o) {
       connections(app, o);
       app.add_option("--mode", o.mode, "full or resumed")
           ->capture_default_str()
           ->check(CLI::IsMember({"full", "resumed"}));
     }},
    {"messages", "Publishes, at a rate or as fast as they go.", &load::run_messages,
     [](CLI::App& app, Options& o) {
       connections(app, o);
       size(app, o);
       rate(app, o, "messages due each second, over all connections (0: as fast as it goes)");
       app.add_option("--burst", o.burst, "messages in one TLS write")->capture_default_str()->check(kPositive);
       app.add_option("--qos", o.qos, "0 or 1 (with the time until each PUBACK)")
           ->capture_default_str()
           ->check(CLI::Range(0, 1));
       seconds(app, o, "for how long");
     }},
    {"roundtrip", "QoS 1 publishes, and how long each PUBACK takes from when its publish was due.",
     &load::run_roundtrip,
     [](CLI::App& app, Options& o) {
       connections(app, o);
       size(app, o);
       rate(app, o, "publishes due each second, over all connections (default 1000)");
       seconds(app, o, "for how long");
     }},
    {"bulk", "Megabytes, up (publishes of 64 KiB) or down (from `load sink`).", &load::run_bulk,
     [](CLI::App& app, Options& o) {
       connections(app, o);
       app.add_option("--direction", o.direction, "up or down")
           ->capture_default_str()
           ->check(CLI::IsMember({"up", "down"}));
       app.add_option("--megabytes", o.megabytes, "in all")->capture_default_str()->check(kPositive);
     }},
    {"storm", "Round trips of those that stand, while bursts of full handshakes arrive.", &load::run_storm,
     [](CLI::App& app, Options& o) {
       connections(app, o);
       size(app, o);
       rate(app, o, "publishes due each second, over all connections (default 1000)");
       app.add_option("--burst", o.storm_burst, "handshakes in a burst")->capture_default_str()->check(kPositive);
       app.add_option("--every", o.every, "seconds from burst to burst")->capture_default_str()->check(kPositive);
       app.add_option("--bursts-to", o.bursts_to,
                      "HOST:PORT of another endpoint for the bursts, to know what sharing the cores alone costs");
       seconds(app, o, "for how long");
     }},
    {"idle", "A fleet that says nothing: memory of the proxy per connection, and that all still answer.",
     &load::run_idle,
     [](CLI::App& app, Options& o) {
       connections(app, o);
       app.add_option("--hold", o.seconds, "seconds of silence")->capture_default_str()->check(kPositive);
     }},
};

void common(CLI::App& app, Options& o, std::string& json) {
  app.add_option("--connect", o.connect, "HOST:PORT of the endpoint, as numbers")->capture_default_str();
  app.add_option("--pki", o.pki, "folder of certificates, made by `load pki`")->check(CLI::ExistingDirectory);
  app.add_flag("--plain", o.plain, "no TLS: straight to a broker, to know the floor");
  app.add_option("--tls", o.tls.version, "1.2 or 1.3")->capture_default_str()->check(CLI::IsMember({"1.2", "1.3"}));
  app.add_option("--cipher", o.tls.cipher, "OpenSSL's name; TLS 1.3: the suite");
  app.add_option("--group", o.tls.group, "key exchange groups, best first")->capture_default_str();
  app.add_option("--trust", o.tls.trust, "the server's CA (default: the one in --pki)")->check(CLI::ExistingFile);
  app.add_option("--devices", o.devices, "distinct devices (handshake: default 128; otherwise one for each connection)")
      ->check(kPositive);
  app.add_flag("--intermediate", o.intermediate, "devices are issued by an intermediate CA, and send it");
  app.add_flag("--rsa-devices", o.rsa_devices, "devices with RSA-2048 keys");
  app.add_flag_callback(
      "--mqtt5", [&o] { o.v5 = true; }, "MQTT 5 instead of 3.1.1");
  app.add_option_function<std::string>(
         "--mqtt", [&o](const std::string& v) { o.v5 = v == "5"; }, "3.1.1 or 5")
      ->check(CLI::IsMember({"3.1.1", "5"}));
  app.add_option("--pid", o.pids, "a process whose tree's CPU time and memory are measured; may be repeated");
  app.add_option("--limit", o.limit, "seconds after which a run that does not end is given up")->capture_default_str();
  app.add_option("--json", json, "file for the result, instead of standard output");
  app.add_flag("--quiet", o.quiet, "no progress on standard error");
}

bool knows(const CLI::App& app, const std::string& word) {
  const auto all = app.get_subcommands([](const CLI::App*) { return true; });
  return std::any_of(all.begin(), all.end(), [&](const CLI::App* each) { return each->get_name() == word; });
}

int report(const load::Report& result, const std::string& file) {
  const std::string text = result.json();
  if (file.empty()) {
    std::cout << text << std::endl;
  } else if (!(std::ofstream(file) << text << "\n")) {
    load::give_up(file.c_str());
  }
  return result.good() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);

  CLI::App app(
      "Devices for a load test: many MQTT clients with certificates of their own.\n"
      "One JSON object on standard output says what was measured; the exit status is 0 when nothing failed.\n\n"
      "  load pki --out pki && load sink --listen 127.0.0.1:1883 &\n"
      "  load handshake --connect 127.0.0.1:8883 --pki pki --pid $(pidof sallyport)");
  app.require_subcommand(1);
  Options options;
  std::string json, folder, listen = "127.0.0.1:0";
  int status = 0;

  CLI::App* pki = app.add_subcommand("pki", "Make the certificates of a load test in a folder.");
  pki->add_option("--out", folder, "the folder")->required();
  pki->callback([&] { load::write_pki(folder); });
  CLI::App* sink =
      app.add_subcommand("sink", "A plain MQTT endpoint that answers and forgets, where a broker would be slower.");
  sink->add_option("--listen", listen, "HOST:PORT; port 0: a free one, which is printed")->capture_default_str();
  load::Expects expects = load::Expects::Nothing;
  const std::map<std::string, load::Expects> words{
      {"nothing", load::Expects::Nothing}, {"proxy", load::Expects::Proxy}, {"user-name", load::Expects::UserName}};
  sink->add_option("--expects", expects, "clients without it are left: a PROXY header, or a user name")
      ->transform(CLI::CheckedTransformer(words, CLI::ignore_case));
  sink->callback([&] { status = load::run_sink(listen, expects); });
  for (const Scenario& scenario : kScenarios) {
    CLI::App* sub = app.add_subcommand(scenario.name, scenario.what);
    common(*sub, options, json);
    scenario.options(*sub, options);
    sub->callback([&options, &status, &json, run = scenario.run] {
      load::Stage stage(options);
      status = report(run(stage), json);
    });
  }
  // CLI11 says of a wrong word that a subcommand is required; a person wants to hear which word it does not know.
  if (argc > 1 && argv[1][0] != '-' && !knows(app, argv[1])) {
    std::fprintf(stderr, "load: there is no scenario '%s'; see load --help\n", argv[1]);
    return 2;
  }
  CLI11_PARSE(app, argc, argv);
  return status;
}
