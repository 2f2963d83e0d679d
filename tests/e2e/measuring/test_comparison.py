"""The comparison with other proxies: the registries that bench/registry_fill makes, the curve over registered devices,
what is kept of a run and what is shown of it."""

import os
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest

from harness.device import admitted
from harness.server import BINARY, listener

BUILD = Path(BINARY).parent
FILL = BUILD / "bench" / "registry_fill"
os.environ["SALLYPORT_BUILD"] = str(BUILD)  # what the comparison is to measure
sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))

from comparison import devices, report  # noqa: E402
from comparison.peers import TOP, Running  # noqa: E402
from comparison.records import Check, Comparison, Point, Record  # noqa: E402
from comparison.run import Bench, missed_rate  # noqa: E402

pytestmark = pytest.mark.skipif(not all(os.access(each, os.X_OK) for each in (FILL, BUILD / "bench" / "load")),
                                reason=f"there is no registry_fill, or no load, at {FILL.parent}")


def fill(*arguments):
    return subprocess.run([FILL, *map(str, arguments)], capture_output=True, text=True, timeout=120)


# --- one run

@pytest.mark.parametrize("rate, problem", [(20_000.0, ""), (19_500.0, ""),
                                           (9_448.8, "9,449 a second in place of 20,000")])
def test_a_rate_that_was_not_kept_is_a_problem(rate, problem):
    """A run whose load fell behind measured something else, and does not count."""
    assert missed_rate(("messages", "--rate", "20000", "--seconds", "5"), {"rate": rate}) == problem
    assert missed_rate(("bulk", "--megabytes", "20"), {"rate": rate}) == ""


def test_the_report_says_where_openssl_alone_is_behind():
    """The column of its own is judged against the peers that use the same OpenSSL, and against no others."""
    def row(title, **medians):
        cells = {peer: report.Cell([], "x") for peer in report.ORDER}
        for peer, median in medians.items():
            cells[{"own": report.OPENSSL}.get(peer, peer)].median = median
        return {"title": title, "unit": "µs", "cells": cells}
    lines = report.openssl_rows([row("ahead", own=50, nginx=100, HAProxy=120, hitch=1), row("level", own=105, nginx=100),
                                 row("behind", own=120, nginx=130, HAProxy=100), row("not measured", nginx=100)])
    assert [line.split(" | ")[-1].strip(" |") for line in lines if "µs" in line] == ["ahead", "level", "**behind**"]
    assert any("100 (HAProxy)" in line and "1.20" in line for line in lines)
    assert report.openssl_rows([row("not measured", nginx=100)]) == []


# --- registry_fill

def test_a_filled_registry_is_known_from_the_start(serve, broker, site, root, work):
    """1000 devices by the metrics, the status and the list alike; real ones register beside them."""
    state = work / "filled"
    done = fill(state, 1000)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("1000 of 1000 devices, ")
    assert state.stat().st_mode & 0o077 == 0
    server = serve([listener(site)], broker, state_dir=str(state))
    assert server.metric("devices", status="active") == server.metric("devices") == 1000
    assert server.json("status")["devices"]["active"] == 1000
    assert {each["ca_id"] for each in server.devices().values()} == {each["id"] for each in server.json("ca", "list")}
    assert len(server.devices()) == 1000
    root.register(server)
    device = root.issue("a real one")
    admitted(server.port, device).close()
    server.registered(device)
    assert server.metric("devices", status="active") == 1001


def test_a_registry_in_use_is_refused(work):
    """Invented devices never come among others: the folder must be new or empty, and is left as it was."""
    folder = work / "in-use"
    folder.mkdir()
    assert fill(folder, 5).returncode == 0
    before = sorted(folder.rglob("*"))
    done = fill(folder, 5)
    assert (done.returncode, done.stderr) == (1, f"registry_fill: {folder} is not an empty folder: name a new one\n")
    assert sorted(folder.rglob("*")) == before
    file = work / "a-file"
    file.write_text("")
    assert fill(file, 5).returncode == 1
    done = fill("/proc/nowhere", 5)
    assert done.returncode == 1 and "/proc/nowhere cannot be created" in done.stderr


@pytest.mark.parametrize("arguments", [["DIR"], ["DIR", "0"], ["DIR", "-1"], ["DIR", "1e6"], ["DIR", "1000x"],
                                       ["DIR", "1000000001"], ["DIR", "99999999999999999999"], ["DIR", "5", "6"]],
                         ids=" ".join)
def test_wrong_arguments(work, arguments):
    """Exit 2 and a line that says what is wanted; no folder is made."""
    folder = work / "never-made"
    done = fill(*(folder if each == "DIR" else each for each in arguments))
    assert done.returncode == 2 and done.stderr.startswith("registry_fill: ") and done.stderr.count("\n") == 1
    assert not folder.exists()


# --- the curve

@pytest.fixture
def bench(work, monkeypatch):
    """A short curve: two sizes, loads of a moment."""
    monkeypatch.setattr(devices, "QUICK_SIZES", (1, 1000))
    monkeypatch.setattr(devices, "QUICK_TOGETHER", 800)
    monkeypatch.setattr(devices, "FIRST", (*devices.FIRST[:-1], "200"))
    loads = devices.LOADS
    monkeypatch.setattr(devices, "LOADS", {"handshake_us": (*loads["handshake_us"][:-1], "200"),
                                                   "message_us": (*loads["message_us"][:-1], "0.3")})
    running = Running()
    folder = work / "curve"
    folder.mkdir(exist_ok=True)
    yield Bench(running, folder, 2000, quick=True)
    running.stop_all()


def test_the_curve(bench):
    """Every figure at both sizes, from a server that knew that many devices; nothing of the registries is left."""
    said = []
    points = devices.scale_devices(bench, said.append)
    assert [(point.x, point.problem) for point in points] == [(1, ""), (1000, "")]
    assert len(said) == 4 and all(line.startswith("scale-devices ") for line in said)
    for point in points:
        for figure in ("handshake_us", "message_us", "first_us", "both_us", "known_rate", "registered_rate",
                       "warm_seconds", "read_seconds", "fill_seconds"):
            assert getattr(point, figure) > 0, figure
        assert point.pss_mib is None or point.pss_mib > 1
    assert not list(bench.folder.glob("devices-*"))
    assert not list(bench.folder.rglob("state"))


def test_a_full_disk(bench, monkeypatch):
    """Sizes the disk has no room for are left out, and the results say so; the others are measured."""
    measured = []
    monkeypatch.setattr(devices, "QUICK_SIZES", (1, 10_000_000))
    monkeypatch.setattr(devices, "measure", lambda bench, peer, point: measured.append(point.x))
    usage = devices.shutil.disk_usage(bench.folder)
    monkeypatch.setattr(devices.shutil, "disk_usage", lambda folder: usage._replace(free=2 << 30))
    points = devices.scale_devices(bench, lambda words: None)
    assert measured == [1]
    assert points[1] == Point(10_000_000, "left out: 2.0 GiB of disk are not enough for its registry")
    assert report.failures(run(scale_devices=points)) == [f"- scale-devices, at 10,000,000: {points[1].problem}"]


def test_a_registry_that_is_not_the_one(bench, monkeypatch):
    """A server that does not know the devices it should is not measured."""
    monkeypatch.setattr(devices, "QUICK_SIZES", (7,))
    monkeypatch.setattr(devices, "fill", lambda bench, state, devices: 0.0)
    point, = devices.scale_devices(bench, lambda words: None)
    assert point.problem == "it knows 0 devices, not 7" and point.handshake_us is None


# --- what is shown

def point(size, **figures):
    return Point(**{"x": size, "handshake_us": 400.0, "message_us": 13.0, "first_us": 600.0, "both_us": 540.0,
                    "known_rate": 650.0, "registered_rate": 640.0, "waiting_most": 8.0, "warm_seconds": 0.05,
                    "read_seconds": 0.01, "fill_seconds": 0.1, "pss_mib": 30.0, **figures})


def run(**parts):
    return Comparison(**{"kind": "Full", "date": "today", "commit": "0", "machine": {}, "versions": {}, "scenarios": [],
                         "how_often": "once", "minutes": 3.0, **parts})


def test_flat_and_not_flat():
    """Within 15 % of the first point is flat, above it is not; memory is for each device more than at the first."""
    points = [point(1), point(1000, handshake_us=459.0),
              point(10_000_000, handshake_us=420.0, first_us=696.0, registered_rate=540.0, pss_mib=830.0)]
    lines = report.scaling(run(scale_devices=points))
    rows = {line.split(" | ")[2]: line.split(" | ")[3:] for line in lines if line.startswith("| Sallyport")}
    assert rows["handshake of a known device"] == ["400 at 1 → 459 at 1,000 → 420 at 10,000,000", "15 %", "flat |"]
    assert rows["first connection"][1:] == ["16 %", "**not flat** |"]
    assert rows["message"][1:] == rows["connection, known and new devices at once"][1:] == ["0 %", "flat |"]
    assert "| 10,000,000 | 650 | 540 | 8 | 0.05 | 0.01 | 830 | 83.9 |" in lines
    assert lines[-1] == "Rates, farthest from the first: handshakes 0 % (flat), registrations 16 % (**not flat**)."
    assert not any("not measured" in line for line in lines)


def test_not_measured_or_in_part():
    """Without points the results say that there is no curve; a point that failed does not hide the others."""
    assert report.scaling(run()) == ["The scaling curves were not measured in this run."]
    lost = Point(1_000_000, "registry_fill: no space left")
    shown = "\n".join(report.scaling(run(scale_devices=[point(1), lost, point(1000)])))
    assert "400 at 1 → 400 at 1,000" in shown and "what went wrong" not in shown
    assert "1,000,000" not in shown


def test_plots():
    """Four plots whose axis of devices has a label for each power of ten, 1 to 10 million."""
    sizes = devices.SIZES
    plots = report.plots(run(scale_devices=[point(size) for size in sizes]))
    assert sorted(plots) == [f"scale_devices_{name}.svg" for name in ("handshake", "message", "rates", "start")]
    for name, svg in plots.items():
        words = [each.text for each in xml.etree.ElementTree.fromstring(svg).iter() if each.tag.endswith("text")]
        decades = ["1", "10", "100", "1,000", "10,000", "100,000", "1 M", "10 M"]
        assert [each for each in words if each in decades][-8:] == decades, (name, words)
        assert "registered devices" in words


def render(*arguments):
    subprocess.run([sys.executable, "-B", "-m", "comparison", *arguments], check=True, capture_output=True, timeout=120,
                   env={**os.environ, "PYTHONPATH": str(TOP / "bench")})


def test_results_of_a_run_can_be_shown_again(work):
    """--render takes the JSON of a run with the curve and writes table, lines and plots."""
    source = work / "run.json"
    source.write_text(run(scale_devices=[point(size) for size in devices.SIZES]).to_json())
    out = work / "shown" / "RESULTS.md"
    render("--render", source, "--out", out)
    page = out.read_text()
    assert "| Sallyport | registered devices | first connection | 600 at 1 →" in page
    assert "![scale_devices_rates.svg](results/scale_devices_rates.svg)" in page
    assert (out.parent / "results/scale_devices_rates.svg").read_text().startswith("<svg")


def test_what_is_kept_of_a_run():
    """What the report shows, and nothing else of what load said; read again it is the same."""
    rows = [{"title": "storm", "metric": "latency_us.p99", "unit": "µs", "goal": 0.4}]
    said = {"unit": "round trip", "units": 3, "rate": 1.0, "resumed": 0, "latency_us": {"p50": 1.0, "p99": 2.0},
            "proxy_cpu_us_per_unit": 5.0, "scenario": "storm"}
    before = run(scenarios=[{"name": "storm", "rows": rows, "load": "storm"}],
                 records=[Record("storm", "nginx", 1, True, "", said), Record("storm", "hitch", 1, problem="gone")],
                 scale_connections={"nginx": [Point(1, handshake_us=5.0), Point(None, "it failed")]},
                 checks=[Check("nginx", "ec", False, "TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519", 0)])
    after = Comparison.from_json(before.to_json())
    assert "proxy_cpu_us_per_unit" not in after.records[0].result
    assert after.records[0].result["latency_us"] == said["latency_us"]
    assert report.markdown(after, "") == report.markdown(before, "")
    assert after.to_json() == before.to_json()


def test_the_committed_results_are_what_their_figures_say():
    """bench/RESULTS.md is made of the RESULTS.json beside it."""
    kept = Comparison.from_json((TOP / "bench/RESULTS.json").read_text())
    notes = (TOP / "bench/results/notes.md").read_text()
    assert report.markdown(kept, notes) == (TOP / "bench/RESULTS.md").read_text()


def test_a_comparison_leaves_the_checkout_as_it_was():
    """Only --record writes where results are kept; the default is below build/."""
    written = TOP / "build" / "compare" / "RESULTS.md"
    before = {each: each.stat().st_mtime_ns for each in (TOP / "bench").rglob("*") if each.is_file()}
    render("--render", TOP / "bench/RESULTS.json")
    assert written.exists()
    assert {each: each.stat().st_mtime_ns for each in (TOP / "bench").rglob("*") if each.is_file()} == before
