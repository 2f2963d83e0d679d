#include "tests/cache/shared/postgres.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "cache/shared/shared_schema.h"

namespace sallyport::test {

namespace fs = std::filesystem;

namespace {

std::string newest_bin() {
  int newest = 0;
  std::error_code ignored;
  for (const auto& each : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
    if (fs::exists(each.path() / "bin/initdb")) newest = std::max(newest, std::atoi(each.path().filename().c_str()));
  }
  return newest == 0 ? "" : "/usr/lib/postgresql/" + std::to_string(newest) + "/bin";
}

unsigned short free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

// initdb and postgres refuse root.
void become_nobody_special() {
  if (::geteuid() != 0) return;
  const passwd* user = ::getpwnam("postgres");
  if (user == nullptr || ::setgid(user->pw_gid) != 0 || ::setuid(user->pw_uid) != 0) std::_Exit(126);
}

}  // namespace

bool Postgres::installed() {
  return !newest_bin().empty();
}

Postgres::Postgres() : bin_(newest_bin()), data_(dir_.path() + "/data"), port_(free_port()) {
  own(dir_.path());
  // A program makes it once: it takes longer than most tests.
  static const TempDir prepared;
  static const bool once = [this] {
    own(prepared.path());
    run(bin_ + "/initdb", "-D " + prepared.path() + "/data -U postgres -A trust --no-sync -E UTF8 --locale C");
    return true;
  }();
  EXPECT_TRUE(once);
  run("cp", "-a " + prepared.path() + "/data " + data_);
  configure();
  start();
  const auto connection = PgConnection::open(url(), "test");
  EXPECT_TRUE(connection) << connection.error().what;
  const auto made = init_shared_registry(**connection, "");
  EXPECT_TRUE(made) << made.error().what;
}

Postgres::Postgres(CopyOf from) : bin_(newest_bin()), data_(dir_.path() + "/data"), port_(free_port()) {
  own(dir_.path());
  run("cp", "-a " + from.stopped.data_ + " " + data_);
  configure();
}

// initdb and postgres run as the user of that name where this is root.
void Postgres::own(const std::string& path) const {
  if (::geteuid() != 0) return;
  const passwd* user = ::getpwnam("postgres");
  ASSERT_NE(user, nullptr);
  ::chmod(path.c_str(), 0755);
  EXPECT_EQ(::chown(path.c_str(), user->pw_uid, user->pw_gid), 0);
}

// It is killed, its machine is not: what it has written, the kernel has.
void Postgres::configure() const {
  std::ofstream(data_ + "/postgresql.conf", std::ios::app)
      << "listen_addresses = '127.0.0.1'\nport = " << port_
      << "\nunix_socket_directories = ''\nshared_buffers = 32MB\nmax_connections = 40\nfsync = off\n";
}

Postgres::~Postgres() {
  if (pid_ != 0) stop();
}

void Postgres::run(const std::string& program, const std::string& arguments) const {
  const pid_t child = ::fork();
  if (child == 0) {
    become_nobody_special();
    if (::chdir(dir_.path().c_str()) != 0) std::_Exit(126);
    const std::string command = program + " " + arguments + " >/dev/null 2>&1";
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    std::_Exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << program;
}

// After a kill a child that was just being born may hold the shared memory for a moment: then it ends, and is asked
// again.
void Postgres::start() {
  for (int i = 0; i < 1200; ++i) {
    if (pid_ == 0 || ::waitpid(pid_, nullptr, WNOHANG) == pid_) spawn();
    if (answers()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  FAIL() << "PostgreSQL does not answer: see " << data_ << ".log";
}

void Postgres::spawn() {
  pid_ = ::fork();
  if (pid_ == 0) {
    become_nobody_special();
    if (::chdir(dir_.path().c_str()) != 0) std::_Exit(126);
    const int log = ::open((data_ + ".log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(log, 1);
    ::dup2(log, 2);
    ::execl((bin_ + "/postgres").c_str(), "postgres", "-D", data_.c_str(), nullptr);
    std::_Exit(127);
  }
}

bool Postgres::answers() const {
  return static_cast<bool>(PgConnection::open(url(), "test", std::chrono::milliseconds(1000)));
}

// The postmaster, which starts no other from then on, and its children: each is a session of its own.
void Postgres::signal(int which) const {
  ::kill(pid_, which);
  std::error_code ignored;
  for (const auto& each : fs::directory_iterator("/proc", ignored)) {
    const int pid = std::atoi(each.path().filename().c_str());
    std::ifstream file(each.path() / "stat");
    std::string text;
    if (pid == 0 || !std::getline(file, text)) continue;
    std::istringstream rest(text.substr(text.rfind(')') + 1));
    std::string state;
    int parent = 0;
    rest >> state >> parent;
    if (parent == pid_) ::kill(pid, which);
  }
}

void Postgres::kill9() {
  if (pid_ == 0) return;
  signal(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

void Postgres::stop() {
  signal(SIGCONT);
  ::kill(pid_, SIGINT);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

void Postgres::pause() {
  signal(SIGSTOP);
}

void Postgres::go_on() {
  signal(SIGCONT);
}

}  // namespace sallyport::test
