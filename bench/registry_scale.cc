// How does the registry behave with a million devices? Imports N real certificates through the API's importer,
// then asks for pages, serials and deactivations over the admin socket, as an operator would, and starts again.
//
// Expected, from the pieces: a P-256 signature check is 70 us and parsing a certificate 50 to 100 us, so two cores
// import 8,000 to 12,000 a second; a page of 100 is 200 point look-ups of a few us each; a deactivation is one
// synced write and one mail to each shard.
//
//   registry_scale [DEVICES] [FOLDER]       1,000 devices where nothing is said: that is what ctest runs
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "admin/api/admin_api.h"
#include "admin/cli/http_client.h"
#include "admin/http/http_server.h"
#include "admin/operations/access.h"
#include "admin/operations/console_sessions.h"
#include "admin/operations/listener_control.h"
#include "admin/operations/metrics.h"
#include "admin/operations/warnings.h"
#include "cache/crypto/openssl_ptr.h"
#include "cache/registry/registrar.h"
#include "cache/registry/registry_store.h"
#include "cache/standing/ca_set.h"
#include "cache/standing/chains.h"
#include "cache/standing/status_cache.h"
#include "proxy/data_plane.h"

namespace sallyport {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}
double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void must(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "registry_scale: %s\n", what.c_str());
  std::exit(1);
}

struct Percentiles {
  std::vector<double> ms;
  void add(double seconds) { ms.push_back(seconds * 1000); }
  void print(const char* what) {
    std::sort(ms.begin(), ms.end());
    const auto at = [&](double share) {
      return ms[std::min(ms.size() - 1, static_cast<std::size_t>(share * static_cast<double>(ms.size())))];
    };
    std::printf("%-44s p50 %8.3f ms   p99 %8.3f ms   max %8.3f ms   (%zu)\n", what, at(0.5), at(0.99), ms.back(),
                ms.size());
  }
};

KeyPtr new_key() {
  return KeyPtr(EVP_EC_gen("P-256"));
}

X509Ptr certificate(long serial, const std::string& cn, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key, bool ca,
                    const char* name = nullptr) {
  X509Ptr made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(made.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600L * 24 * 365);
  X509_NAME* subject = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>("Fleet"), -1, -1, 0);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(cn.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(made.get(), issuer != nullptr ? X509_get_subject_name(issuer) : subject);
  X509_set_pubkey(made.get(), key);
  const auto extend = [&](int nid, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    X509_add_ext(made.get(), extension, -1);
    X509_EXTENSION_free(extension);
  };
  extend(NID_basic_constraints, ca ? "critical,CA:TRUE" : "CA:FALSE");
  if (!ca) extend(NID_ext_key_usage, "clientAuth");
  if (name != nullptr) extend(NID_subject_alt_name, name);
  X509_sign(made.get(), issuer_key, EVP_sha256());
  return made;
}

std::string pem(X509* x509) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), x509);
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(length)};
}

// The bundle a factory would hand over; made once and kept in the folder.
void write_bundle(const fs::path& path, long devices, X509* ca, EVP_PKEY* ca_key) {
  constexpr unsigned kThreads = 2;
  std::vector<std::thread> threads;
  std::vector<std::string> parts(kThreads);
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const KeyPtr key = new_key();  // the registry does not look at whether keys differ
      for (long i = t; i < devices; i += kThreads) {
        parts[t] += pem(certificate(1000 + i, "meter-" + std::to_string(i), key.get(), ca, ca_key, false).get());
      }
    });
  }
  std::ofstream out(path, std::ios::binary);
  for (unsigned t = 0; t < kThreads; ++t) {
    threads[t].join();
    out << parts[t];
  }
}

// The process as serve builds it, with what an operator needs.
class World {
 public:
  World(const fs::path& folder, const Certificate& ca)
      : folder_(folder), log_(Level::Error, LogFormat::Text, 2), plane_(config(), log_) {
    must(static_cast<bool>(plane_.prepare()), "the listener cannot be prepared");
    auto opened = RegistryStore::open((folder / "state").string());
    must(static_cast<bool>(opened), "the registry cannot be opened");
    store = std::move(*opened);
    gate_.emplace(cache, chains);
    registrar.emplace(*store, cache, chains, plane_, RegistrarOptions{}, log_.logger());
    must(static_cast<bool>(registrar->warm()), "the registry cannot be read");
    registrar->start();
    must(static_cast<bool>(registrar->trust({ca})), "the CA cannot be registered");
    must(static_cast<bool>(plane_.start(*gate_, *registrar, Capacity::plain(100))), "the shards cannot be started");
    metrics_.emplace(config_, plane_, *registrar, warnings_, outcomes_, log_);
    probes_.emplace(*metrics_);
    access_.emplace(*registrar);
    signed_in_.emplace(*access_, log_.logger());
    listeners_.emplace(config_, plane_, *registrar, warnings_, log_.logger());
    samples_.emplace(plane_, *registrar);
    api_.emplace(ApiParts{*registrar, *store, *gate_, plane_, *listeners_, *access_, *signed_in_, *probes_, warnings_,
                          outcomes_, desk_, log_, config_, running_, *samples_, rejections_, feed_,
                          [] { return std::string_view("ready"); }},
                 log_.logger());
    must(static_cast<bool>(server_.listen_unix(socket(), *api_)), "the socket cannot be opened");
    server_.start();
  }
  ~World() {
    server_.stop();
    plane_.stop_now();
    plane_.join();
    registrar->stop();
  }

  std::string socket() const { return (folder_ / "admin.sock").string(); }
  double ask(std::string_view method, const std::string& target) {
    const auto begun = Clock::now();
    const auto answer = sallyport::ask({socket(), "", ""}, method, target, "");
    must(answer && answer->status < 300, target + ": " + (answer ? answer->body : answer.error().what));
    last_ = answer->body;
    return seconds_since(begun);
  }
  const std::string& last() const { return last_; }

  StatusCache cache;
  ChainTable chains;
  std::unique_ptr<RegistryStore> store;
  std::optional<Registrar> registrar;

 private:
  const Config& config() {
    const KeyPtr key = new_key();
    const X509Ptr leaf = certificate(1, "localhost", key.get(), nullptr, key.get(), false, "DNS:localhost");
    std::ofstream(folder_ / "server.crt") << pem(leaf.get());
    std::FILE* file = std::fopen((folder_ / "server.key").c_str(), "w");
    PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
    ListenerConfig listener;
    listener.name = "mqtts";
    listener.address = {"127.0.0.1", 0, ""};
    listener.certificates = {{(folder_ / "server.crt").string(), (folder_ / "server.key").string()}};
    config_.listeners = {listener};
    UpstreamConfig upstream;
    upstream.name = "broker";
    upstream.servers = {{"127.0.0.1", 1, ""}};
    config_.upstreams = {upstream};
    return config_;
  }

  const fs::path folder_;
  Config config_;
  Log log_;
  Warnings warnings_{log_.logger()};
  Outcomes outcomes_;
  ReloadDesk desk_;
  DataPlane plane_;
  RunningConfig running_{"sallyport.toml", {}};
  KeptRejections rejections_{folder_.string(), plane_, log_.logger()};
  Feed feed_;
  std::optional<ConsoleSessions> signed_in_;
  std::optional<Samples> samples_;
  std::optional<DeviceGate> gate_;
  std::optional<Metrics> metrics_;
  std::optional<Probes> probes_;
  std::optional<Access> access_;
  std::optional<ListenerControl> listeners_;
  std::optional<AdminApi> api_;
  HttpServer server_{HttpLimits{}, 4};
  std::string last_;
};

std::uint64_t bytes_below(const fs::path& folder) {
  std::uint64_t total = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) total += entry.file_size();
  }
  return total;
}

void import(World& world, const fs::path& bundle, long devices) {
  std::atomic<bool> done{false};
  Percentiles meanwhile;
  std::thread prober([&] {
    while (!done) {
      meanwhile.add(world.ask("GET", "/v1/status"));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  const double cpu = cpu_seconds();
  const auto begun = Clock::now();
  const auto answer =
      send_files({world.socket(), "", ""}, "/v1/devices/import", {bundle.string()}, [](std::uint64_t) {});
  const double took = seconds_since(begun);
  const double used = cpu_seconds() - cpu;
  done = true;
  prober.join();
  must(answer && answer->status == 200, "import: " + (answer ? answer->body : answer.error().what));
  const Json outcome = Json::parse(answer->body);
  must(outcome["registered"] == devices, "import: " + answer->body.substr(0, 300));
  std::printf("%-44s %.0f devices/s (%.1f s), %.0f us of CPU each\n", "import, signatures checked",
              static_cast<double>(devices) / took, took, used / static_cast<double>(devices) * 1e6);
  meanwhile.print("GET /v1/status during the import");
}

void ask_around(World& world, long devices) {
  std::mt19937_64 random(1);
  Percentiles pages, serials, shows, deactivations;
  std::string token;
  std::vector<std::string> ids;
  for (int i = 0; i < 200; ++i) {
    pages.add(world.ask("GET", "/v1/devices?limit=100&page_token=" + token));
    const Json page = Json::parse(world.last());
    for (const Json& device : page["items"]) ids.push_back(device["id"]);
    token = page["next_page_token"];
  }
  for (int i = 0; i < 500; ++i) {
    const long serial = 1000 + static_cast<long>(random() % static_cast<std::uint64_t>(devices));
    char hex[32];
    std::snprintf(hex, sizeof hex, "%lX", serial);
    serials.add(world.ask("GET", std::string("/v1/devices?serial=") + hex));
    must(Json::parse(world.last())["items"].size() == 1, "a serial was not found");
    shows.add(world.ask("GET", "/v1/devices/" + ids[random() % ids.size()]));
  }
  for (int i = 0; i < 500; ++i) {
    deactivations.add(world.ask("POST", "/v1/devices/" + ids[static_cast<std::size_t>(i) % ids.size()] +
                                            (i % 2 == 0 ? "/deactivate" : "/activate")));
  }
  // What the console's search field asks for: one page of it, which ends after a bounded look where little is found.
  const auto search = [&world](const char* what, const std::string& query) {
    Percentiles times;
    std::string next;
    for (int i = 0; i < 50; ++i) {
      times.add(world.ask("GET", "/v1/devices?limit=100" + query + "&page_token=" + next));
      next = Json::parse(world.last())["next_page_token"];
    }
    times.print(what);
  };
  search("a page of a CN that half of them have", "&cn_part=1");
  search("a page of a CN that nobody has", "&cn_part=nobody");
  search("a page of a status that nobody has", "&status=revoked");
  search("a page of serials by their first digits", "&serial_prefix=F");
  pages.print("a page of 100 devices");
  serials.print("search by serial");
  shows.print("show one device");
  deactivations.print("deactivate or activate, in force");
}

int run(long devices, const fs::path& folder) {
  fs::create_directories(folder);
  fs::remove_all(folder / "state");
  const KeyPtr ca_key = new_key();
  const X509Ptr ca_x509 = certificate(1, "Bench CA", ca_key.get(), nullptr, ca_key.get(), true);
  const auto ca = Certificate::from_x509(ca_x509.get());
  must(static_cast<bool>(ca), "no CA");
  write_bundle(folder / "bundle.pem", devices, ca_x509.get(), ca_key.get());
  {
    World world(folder, *ca);
    import(world, folder / "bundle.pem", devices);
    ask_around(world, devices);
    std::printf("%-44s %.1f bytes a device\n", "status cache",
                static_cast<double>(world.cache.bytes()) / static_cast<double>(devices));
  }
  {
    const auto begun = Clock::now();
    World world(folder, *ca);
    std::printf("%-44s %.2f s until the first handshake, %.2f s of it reading\n", "warm start", seconds_since(begun),
                world.registrar->stats().warmup_seconds);
  }
  std::printf("%-44s %.0f bytes a device\n", "on disk, certificates included",
              static_cast<double>(bytes_below(folder / "state")) / static_cast<double>(devices));
  fs::remove(folder / "bundle.pem");
  return 0;
}

}  // namespace
}  // namespace sallyport

int main(int argc, char** argv) {
  const long devices = argc > 1 ? std::atol(argv[1]) : 1000;
  const std::filesystem::path folder =
      argc > 2 ? argv[2] : std::filesystem::temp_directory_path() / ("sallyport-bench." + std::to_string(::getpid()));
  const int status = devices > 0 ? sallyport::run(devices, folder) : 2;
  if (argc <= 2) std::filesystem::remove_all(folder);
  return status;
}
