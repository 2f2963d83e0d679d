// Parts of admin/operations that are too small for a program each: how metrics are written, and who waits for a reload.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "admin/operations/doctor.h"
#include "admin/operations/exposition.h"
#include "admin/operations/metrics.h"
#include "admin/operations/reload_desk.h"

namespace sallyport {
namespace {

using namespace std::chrono_literals;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

std::vector<MetricFamily> some_families() {
  MetricFamily counter{"sallyport_things_total", "Things \\ and \"more\"\nof them.", MetricType::Counter, {}};
  ClientMetric counted;
  counted.label = {{"listener", "a\"b\\c\nd"}, {"kind", "x"}};
  counted.counter.value = 123456789012345.0;
  counter.metric = {counted};
  MetricFamily histogram{"sallyport_wait_seconds", "How long.", MetricType::Histogram, {}};
  ClientMetric waited;
  waited.histogram.bucket = {{1, 250 * 1e-6}, {2, 1.0}, {3, std::numeric_limits<double>::infinity()}};
  waited.histogram.sample_count = 3;
  waited.histogram.sample_sum = 0.1 + 0.2;
  histogram.metric = {waited};
  MetricFamily none{"sallyport_nothing", "Not there.", MetricType::Gauge, {}};
  return {counter, histogram, none};
}

TEST(Exposition, IsWhatPrometheusReads) {
  EXPECT_EQ(written_as(Exposition::Text, some_families()),
            "# HELP sallyport_things_total Things \\\\ and \"more\"\\nof them.\n"
            "# TYPE sallyport_things_total counter\n"
            "sallyport_things_total{listener=\"a\\\"b\\\\c\\nd\",kind=\"x\"} 123456789012345\n"
            "# HELP sallyport_wait_seconds How long.\n"
            "# TYPE sallyport_wait_seconds histogram\n"
            "sallyport_wait_seconds_bucket{le=\"0.00025\"} 1\n"
            "sallyport_wait_seconds_bucket{le=\"1\"} 2\n"
            "sallyport_wait_seconds_bucket{le=\"+Inf\"} 3\n"
            "sallyport_wait_seconds_sum 0.30000000000000004\n"
            "sallyport_wait_seconds_count 3\n");
}

TEST(Exposition, IsOpenMetricsForWhoAsks) {
  const std::string text = written_as(Exposition::OpenMetrics, some_families());
  EXPECT_NE(text.find("# TYPE sallyport_things counter\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nsallyport_things_total{"), std::string::npos) << text;
  EXPECT_NE(text.find("{le=\"1.0\"} 2\n"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("\n# EOF\n"));
  struct Asked {
    const char* accept;
    Exposition gets;
  };
  for (const Asked& each :
       {Asked{"", Exposition::Text},
        {"*/*", Exposition::Text},
        {"text/plain;version=0.0.4", Exposition::Text},
        {"application/openmetrics-textual", Exposition::Text},
        {"application/openmetrics-text;q=0", Exposition::Text},
        {"application/openmetrics-text;q=0.0;version=1.0.0", Exposition::Text},
        {"application/openmetrics-text", Exposition::OpenMetrics},
        {"text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.1", Exposition::OpenMetrics}}) {
    EXPECT_EQ(exposition_for(each.accept), each.gets) << each.accept;
  }
}

TEST(Hosts, OfAnotherNameAreForeign) {
  for (const char* ours : {"", "localhost", "LocalHost:9884", "127.0.0.1", "127.0.0.1:9884", "[::1]", "[::1]:9884"}) {
    EXPECT_FALSE(is_foreign_host(ours)) << ours;
  }
  for (const char* theirs : {"evil.example", "evil.example:9884", "localhost.evil.example", "127.0.0.1.evil.example",
                             "[evil]:9884", "[", "a:b:c", "1.2.3"}) {
    EXPECT_TRUE(is_foreign_host(theirs)) << theirs;
  }
}

TEST(Doctor, JudgesByFigures) {
  using Grade = Finding::Grade;
  constexpr double kGib = 1 << 30;
  struct Judged {
    Finding finding;
    Grade grade;
  };
  const Judged all[] = {{judge_kernel("6.1.0-18-amd64"), Grade::Fine},
                        {judge_kernel("6.0.19"), Grade::Problem},
                        {judge_kernel("5.15.0"), Grade::Problem},
                        {judge_kernel("rain"), Grade::Problem},
                        {judge_open_files(65'536, 0), Grade::Fine},
                        {judge_open_files(65'535, 0), Grade::Warning},
                        {judge_open_files(199'999, 100'000), Grade::Warning},
                        {judge_open_files(200'000, 100'000), Grade::Fine},
                        {judge_listen_queue(4096), Grade::Fine},
                        {judge_listen_queue(128), Grade::Warning},
                        {judge_source_ports(32'768, 60'999, 28'232, 1), Grade::Fine},
                        {judge_source_ports(32'768, 60'999, 28'233, 1), Grade::Warning},
                        {judge_source_ports(32'768, 60'999, 28'233, 2), Grade::Fine},
                        {judge_source_ports(9, 1, 1, 1), Grade::Warning},
                        {judge_disk(2 * kGib, 10 * kGib, "d"), Grade::Fine},
                        {judge_disk(2 * kGib, 100 * kGib, "d"), Grade::Warning},
                        {judge_disk(kGib / 2, 1 * kGib, "d"), Grade::Warning},
                        {judge_disk(kGib / 9, 1 * kGib, "d"), Grade::Problem},
                        {judge_clock(true), Grade::Fine},
                        {judge_clock(false), Grade::Warning}};
  for (const Judged& each : all) {
    EXPECT_EQ(each.finding.grade, each.grade) << each.finding.about << ": " << each.finding.what;
    EXPECT_EQ(each.finding.remedy.empty(), each.grade == Grade::Fine) << each.finding.about << " says what to do";
  }
}

bool has_been_asked(const ReloadDesk& desk) {
  pollfd polled{desk.asked(), POLLIN, 0};
  return ::poll(&polled, 1, 100) == 1;
}

TEST(ReloadDesk, WhoAsksGetsTheOutcome) {
  ReloadDesk desk;
  Actor by;
  EXPECT_FALSE(desk.take(by)) << "nobody has asked";
  std::vector<std::thread> waiting;
  std::atomic<int> answered{0};
  for (int i = 0; i < 4; ++i) {
    waiting.emplace_back([&] {
      const auto outcome = desk.ask({"uid 0", "socket pid 1"});
      answered += outcome && outcome->refused == "a mistake" ? 1 : 0;
    });
  }
  while (answered < 4) {
    if (!has_been_asked(desk) || !desk.take(by)) continue;
    EXPECT_EQ(by.who, "uid 0");
    desk.done({1, "a mistake", {}});
    std::this_thread::sleep_for(1ms);
  }
  for (std::thread& each : waiting) each.join();
}

// One that had begun before may have read the file of before.
TEST(ReloadDesk, OneThatHasBegunIsAnOlderOne) {
  ReloadDesk desk;
  Actor by;
  std::thread first([&] { EXPECT_EQ(desk.ask({"first", "-"})->at, 1); });
  ASSERT_TRUE(has_been_asked(desk));
  while (!desk.take(by)) {
  }
  std::atomic<bool> over{false};
  std::thread second([&] {
    EXPECT_EQ(desk.ask({"second", "-"})->at, 2);
    over = true;
  });
  ASSERT_TRUE(has_been_asked(desk));
  desk.done({1, "", {}});
  first.join();
  EXPECT_FALSE(over);
  while (!desk.take(by)) {
  }
  EXPECT_EQ(by.who, "second");
  desk.done({2, "", {}});
  second.join();
}

TEST(ReloadDesk, NobodyWaitsForAnEnd) {
  ReloadDesk desk;
  std::thread waits([&] { EXPECT_FALSE(desk.ask({"uid 0", "-"})); });
  ASSERT_TRUE(has_been_asked(desk));
  desk.close();
  waits.join();
  EXPECT_FALSE(desk.ask({"uid 0", "-"}));
  EXPECT_FALSE(ReloadDesk(1ms).ask({"uid 0", "-"}));
}

}  // namespace
}  // namespace sallyport
