// A server's private key is in this process's memory once, in locked memory, and nothing of it is left behind: the
// process's own memory is searched for it, in both orders of its bytes, as OpenSSL's numbers and as DER has it.
#include "proxy/tls/server_key.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>

#include "cache/crypto/light_parsing.h"
#include "cache/crypto/locked_memory.h"
#include "cache/crypto/openssl_alone.h"
#include "tests/proxy/tls/joined.h"

namespace sallyport::test {
namespace {

// As main() does it: before OpenSSL has any memory.
__attribute__((constructor(101))) void install() {
  KeyMemory::install();
}

using Bytes = std::vector<std::uint8_t>;
// What is searched for is kept so that it is not found itself.
constexpr std::uint8_t kMask = 0xa5;

// Where the process's memory has it.
std::vector<const std::uint8_t*> places_of(const Bytes& hidden) {
  std::vector<const std::uint8_t*> found;
  std::ifstream maps("/proc/self/maps");
  const auto first = static_cast<std::uint8_t>(hidden.front() ^ kMask);
  const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  static std::uint8_t page[64 * 1024];  // of .bss, and passed over below
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0, end = 0;
    char rights[5] = "";
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, rights) != 3 || rights[0] != 'r' || rights[1] != 'w') {
      continue;
    }
    if (end - begin > (std::uintptr_t{1} << 30)) continue;  // a sanitizer's own
    const std::size_t overlap = hidden.size() - 1;
    for (std::uintptr_t at = begin; at < end; at += sizeof page - overlap) {
      const std::size_t wanted = std::min<std::size_t>(sizeof page, end - at);
      const ssize_t n = ::pread(memory, page, wanted, static_cast<off_t>(at));
      // By memchr: a sanitizer's own maps are large, and a loop over their bytes is checked byte by byte.
      const std::uint8_t* rest = page;
      const std::uint8_t* const last = page + std::max<ssize_t>(n - static_cast<ssize_t>(overlap), 0);
      while (rest < last && (rest = static_cast<const std::uint8_t*>(
                                 ::memchr(rest, first, static_cast<std::size_t>(last - rest)))) != nullptr) {
        const bool here = std::equal(hidden.begin(), hidden.end(), rest,
                                     [](std::uint8_t a, std::uint8_t b) { return a == (b ^ kMask); });
        const auto* where = reinterpret_cast<const std::uint8_t*>(at) + (rest - page);
        const bool own = where >= page && where < page + sizeof page;
        if (here && !own) found.push_back(where);
        ++rest;
      }
      ::memset(page, 0, sizeof page);
    }
  }
  ::close(memory);
  return found;
}

// A key made by another process's means: openssl(1) writes it, and this one has never had it.
struct KeyFile {
  TempDir dir;
  std::string key, chain;
  std::vector<Bytes> secrets;  // masked: the scalar, or an RSA key's secret exponent and primes; each in both orders

  explicit KeyFile(const std::string& algorithm, bool sec1 = false) {
    key = dir.write("key", "");
    chain = dir.write("chain", "");
    const std::string making = "openssl req -x509 -newkey " + algorithm + " -nodes -keyout " + key + " -out " + chain +
                               " -subj /CN=server -addext subjectAltName=DNS:localhost -days 9 2>/dev/null";
    EXPECT_EQ(std::system(making.c_str()), 0);
    const std::string as_sec1 = "openssl ec -in " + key + " -out " + key + " 2>/dev/null";
    EXPECT_TRUE(!sec1 || std::system(as_sec1.c_str()) == 0);
    // Printed as "priv:" or "privateExponent:", "prime1:", and lines of hex with colons.
    FILE* text = ::popen(("openssl pkey -in " + key + " -noout -text").c_str(), "r");
    read(text);
    ::pclose(text);
    EXPECT_FALSE(secrets.empty());
  }

  void read(FILE* text) {
    char line[256];
    bool secret = false;
    Bytes hex;
    const auto done = [&] {
      while (!hex.empty() && hex.front() == kMask) hex.erase(hex.begin());  // a sign's zero
      if (hex.size() >= 28) {
        secrets.push_back(hex);
        std::reverse(hex.begin(), hex.end());
        secrets.push_back(hex);
      }
      hex.clear();
    };
    while (std::fgets(line, sizeof line, text) != nullptr) {
      if (line[0] != ' ') {
        done();
        secret = std::strncmp(line, "priv:", 5) == 0 || std::strncmp(line, "privateExponent:", 16) == 0 ||
                 std::strncmp(line, "prime", 5) == 0;
        continue;
      }
      for (const char* at = line; secret && *at != '\0';) {
        unsigned byte = 0;
        if (std::sscanf(at, " %2x", &byte) != 1) break;
        hex.push_back(static_cast<std::uint8_t>(byte ^ kMask));
        at = std::strchr(at, ':');
        if (at == nullptr) break;
        ++at;
      }
    }
    done();
    ::memset(line, 0, sizeof line);
  }

  ListenerConfig listener(TlsMadeBy by = TlsMadeBy::Auto) const {
    ListenerConfig config;
    config.name = "test";
    config.certificates.push_back({chain, key});
    config.tls_engine = by;
    return config;
  }
  // How often any of its secrets is in memory, and how often out of what is locked.
  std::size_t outside() const {
    std::size_t count = 0;
    for (const Bytes& each : secrets) {
      for (const std::uint8_t* at : places_of(each)) count += KeyMemory::holds(at) ? 0 : 1;
    }
    return count;
  }
  std::size_t copies() const { return places_of(secrets.front()).size() + places_of(secrets[1]).size(); }
};

void serve_some(const TlsContext& context) {
  Says yes(Reason::None);
  const Identity509 ca = make_ca("Device CA"), device = make_device("d", ca);
  for (const char* groups : {"", "P-384:P-256"}) {  // the other is OpenSSL's in TLS 1.3
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      Joined joined(context, &yes, {.device = &device, .version = version, .groups = groups});
      EXPECT_EQ(joined.shake(), Step::Done);
    }
  }
}

class Keys : public testing::TestWithParam<std::pair<const char*, const char*>> {};
INSTANTIATE_TEST_SUITE_P(Tls, Keys,
                         testing::Values(std::pair("P256", "ec -pkeyopt ec_paramgen_curve:P-256"),
                                         std::pair("P384", "ec -pkeyopt ec_paramgen_curve:P-384"),
                                         std::pair("Rsa", "rsa:2048"), std::pair("Ed25519", "ed25519")),
                         [](const auto& tested) { return std::string(tested.param.first); });

TEST(KeyMemory, IsInstalledAndLocked) {
  const KeyMemory::State state = KeyMemory::state();
  EXPECT_TRUE(state.installed);
  EXPECT_EQ(key_memory_flaw(state), "");
  const KeyMemory locked;
  void* const key = OPENSSL_malloc(100);
  EXPECT_TRUE(KeyMemory::holds(key));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(key) % 16, 0u);
  std::fill_n(static_cast<std::uint8_t*>(key), 100, std::uint8_t{0x77});
  auto* const grown = static_cast<std::uint8_t*>(OPENSSL_realloc(key, 5000));
  EXPECT_TRUE(KeyMemory::holds(grown));
  EXPECT_TRUE(std::all_of(grown, grown + 100, [](std::uint8_t each) { return each == 0x77; }));
  EXPECT_EQ(*static_cast<std::uint8_t*>(key), 0) << "what was moved away from is wiped";
  EXPECT_GT(KeyMemory::state().used, state.used);
  std::thread([grown] { OPENSSL_free(grown); }).join();  // any thread gives back
  EXPECT_EQ(grown[50], 0) << "wiped";
  EXPECT_EQ(KeyMemory::state().used, state.used);
  void* const large = OPENSSL_malloc(1 << 20);
  EXPECT_FALSE(KeyMemory::holds(large)) << "no key is so large";
  OPENSSL_free(large);
}

TEST(KeyMemory, IsAskedForWhereAKeyIsHandledAlone) {
  void* const elsewhere = OPENSSL_malloc(100);
  EXPECT_FALSE(KeyMemory::holds(elsewhere));
  OPENSSL_free(elsewhere);
  const KeyMemory here;
  std::thread([] {
    void* const of_another = OPENSSL_malloc(100);
    EXPECT_FALSE(KeyMemory::holds(of_another));
    OPENSSL_free(of_another);
  }).join();
}

// A file's text is too large for it, and was there before.
TEST(KeyMemory, WipesWhatIsGivenBackMeanwhileWhereverItWas) {
  Bytes hidden(48);
  for (std::size_t i = 0; i < hidden.size(); ++i) hidden[i] = static_cast<std::uint8_t>(i * 37 + 11);
  auto* const text = static_cast<std::uint8_t*>(OPENSSL_malloc(20'000));
  std::transform(hidden.begin(), hidden.end(), text + 9'000,
                 [](std::uint8_t each) { return static_cast<std::uint8_t>(each ^ kMask); });
  EXPECT_EQ(places_of(hidden).size(), 1u);
  const KeyMemory locked;
  auto* const moved = static_cast<std::uint8_t*>(OPENSSL_realloc(text, 40'000));
  EXPECT_EQ(places_of(hidden).size(), 1u);
  OPENSSL_free(moved);
  EXPECT_EQ(places_of(hidden).size(), 0u);
}

TEST(KeyMemory, SaysWhatIsWrong) {
  EXPECT_NE(key_memory_flaw({}).find("heap"), std::string::npos);
  EXPECT_NE(key_memory_flaw({.installed = true, .not_locked = ENOMEM}).find("LimitMEMLOCK"), std::string::npos);
  EXPECT_NE(key_memory_flaw({.installed = true, .overflows = 1}).find("so many"), std::string::npos);
}

// Three listeners, each with a context of its own, one of them twice: a reload.
TEST_P(Keys, AreInMemoryOnceAndLocked) {
  const KeyFile file(GetParam().second);
  ASSERT_EQ(file.copies(), 0u);
  {
    std::vector<std::unique_ptr<TlsContext>> contexts;
    std::vector<std::vector<ServerCertificate>> loaded;  // as the data plane keeps them
    for (int i = 0; i < 4; ++i) {
      const ListenerConfig listener = file.listener();
      loaded.push_back(std::move(*load_server_certificates(listener.certificates)));
      auto made = TlsContext::create(listener, listener.auth, presented_of(loaded.back(), std::time(nullptr)), nullptr);
      ASSERT_TRUE(made) << made.error().what;
      contexts.push_back(std::move(*made));
    }
    EXPECT_EQ(file.copies(), 1u);
    for (const auto& context : contexts) serve_some(*context);
    EXPECT_EQ(file.copies(), 1u);
    EXPECT_EQ(file.outside(), 0u);
  }
  EXPECT_EQ(file.copies(), 0u) << "wiped with the last that used it";
  EXPECT_EQ(file.outside(), 0u);
}

TEST_P(Keys, AreInMemoryOnceByOpensslAlone) {
  const KeyFile file(GetParam().second);
  const ListenerConfig listener = file.listener(TlsMadeBy::Openssl);
  auto made = TlsContext::create(listener);
  ASSERT_TRUE(made) << made.error().what;
  auto loaded = load_server_certificates(listener.certificates);
  serve_some(**made);
  EXPECT_EQ(file.copies(), 1u);
  EXPECT_EQ(file.outside(), 0u);
}

// Each provider has a form of its own: that is all.
TEST(ServerKey, IsThereTwiceWhereBothEnginesServeWithIt) {
  const KeyFile file("ec -pkeyopt ec_paramgen_curve:P-256");
  const ListenerConfig ours = file.listener(), theirs = file.listener(TlsMadeBy::Openssl);
  auto one = TlsContext::create(ours), other = TlsContext::create(theirs), third = TlsContext::create(ours);
  ASSERT_TRUE(one && other && third);
  EXPECT_EQ(file.copies(), 2u);
  auto loaded = load_server_certificates(ours.certificates);
  auto more = TlsContext::create(theirs), still_more = TlsContext::create(ours);
  serve_some(**more);
  serve_some(**still_more);
  EXPECT_EQ(file.copies(), 2u);
  EXPECT_EQ(file.outside(), 0u);
}

TEST(ServerKey, OfAnotherFormatIsTheSame) {
  const KeyFile file("ec -pkeyopt ec_paramgen_curve:P-256", true);
  auto made = TlsContext::create(file.listener());
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_EQ(file.copies(), 1u);
  EXPECT_EQ(file.outside(), 0u);
}

// A file may have the public key of the certificate and another private key beside it.
TEST(ServerKey, ThatDoesNotSignWhatItsCertificateVerifiesIsRefused) {
  const KeyPtr good = make_key(Kind::P256), other = make_key(Kind::P256);
  BIGNUM* scalar = nullptr;
  ASSERT_EQ(EVP_PKEY_get_bn_param(other.get(), OSSL_PKEY_PARAM_PRIV_KEY, &scalar), 1);
  unsigned char point[65];
  std::size_t length = 0;
  ASSERT_EQ(EVP_PKEY_get_octet_string_param(good.get(), OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &length), 1);
  unsigned char bytes[32];
  ASSERT_EQ(BN_bn2nativepad(scalar, bytes, sizeof bytes), 32);
  BN_clear_free(scalar);
  char group[] = "P-256";
  OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
                         OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, length),
                         OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, bytes, sizeof bytes),
                         OSSL_PARAM_construct_end()};
  const KeyContextPtr making(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* mixed = nullptr;
  ASSERT_EQ(EVP_PKEY_fromdata_init(making.get()), 1);
  ASSERT_EQ(EVP_PKEY_fromdata(making.get(), &mixed, EVP_PKEY_KEYPAIR, params), 1);
  EXPECT_FALSE(ServerKey(KeyPtr(mixed)));
  EVP_PKEY_up_ref(good.get());
  const ServerKey fits{KeyPtr(good.get())};
  EXPECT_TRUE(fits);
  EXPECT_NE(fits.form(false), nullptr);
}

}  // namespace
}  // namespace sallyport::test
