"""Sallyport, HAProxy, nginx, hitch and Mosquitto under the same load in the same run. bench/compare.sh prepares it.

For each scenario, for each repeat, for each peer in an order that rotates: the proxy is started, load runs against it,
the figures are kept. RESULTS.md, RESULTS.json and results/*.svg come out, in build/compare/; with --record in bench/.
"""

import argparse
import datetime
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from .devices import FILL, scale_devices
from .peers import LOAD, PEERS, SALLYPORT, TOP, PeerFailed, Running, output_of, raise_open_files, say
from .records import Comparison
from .report import EPOLL, OPENSSL, shown, write
from .run import Bench
from .scale import scale_connections
from .scenarios import figure, scenarios

CURVES = ("scale-connections", "scale-devices")
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
CURVES_SHARE = 0.26  # of the time budget: of 42 minutes 7½ for idle connections, 3½ for registered devices


def parse(arguments, names):
    parser = argparse.ArgumentParser(prog="bench/compare.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short run of each, without Mosquitto; 5 minutes")
    parser.add_argument("--only", nargs="+", metavar="SCENARIO", choices=(*names, *CURVES), default=[],
                        help="these alone: " + ", ".join((*names, *CURVES)))
    parser.add_argument("--peers", nargs="+", metavar="PEER", choices=tuple(PEERS), type=str.lower, default=[],
                        help="these alone: " + ", ".join(PEERS))
    parser.add_argument("--repeats", type=int, default=0, help="runs of each peer in each scenario (default 2 to 7)")
    parser.add_argument("--minutes", type=float, default=0,
                        help="the time budget (default 42; quick: 4.5): repeats are left out where it does not suffice")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--record", action="store_true", help="keep the results: in bench/RESULTS.md and beside it")
    where.add_argument("--out", type=Path, help="where the Markdown goes (default: build/compare/RESULTS.md)")
    parser.add_argument("--render", type=Path, metavar="FILE.json", help="run nothing: show this earlier run again")
    options = parser.parse_args(arguments)
    if options.record and (options.only or options.peers or options.quick):
        parser.error("--record keeps a full run: leave out --only, --peers and --quick")
    return options


def first_line(path, beginning, otherwise="unknown"):
    for line in Path(path).read_text().splitlines():
        if line.startswith(beginning):
            return line.split(":", 1)[1].strip()
    return otherwise


def about_machine(files):
    memory = int(first_line("/proc/meminfo", "MemTotal", "0 kB").split()[0]) / 2**20
    return {"CPU": f"{os.cpu_count()} × {first_line('/proc/cpuinfo', 'model name')}", "memory": f"{memory:.0f} GiB",
            "kernel": f"{platform.release()} {platform.machine()}",
            "TCP congestion control": CONGESTION.read_text().strip(), "open files": f"{files:,} a process"}


def about_versions(classes):
    found = {each.name: each.version() if each.binary() else "not installed" for each in classes}
    found["OpenSSL"] = output_of("openssl", "version")
    return found


def commit():
    head = output_of("git", "-C", str(TOP), "rev-parse", "--short=12", "HEAD")
    dirty = output_of("git", "-C", str(TOP), "status", "--porcelain", "--untracked-files=no")
    return head + (" with changes that are not committed" if dirty else "")


class Clock:
    """The time budget: how much of it a scenario may take, and how long it has been."""

    def __init__(self, minutes):
        self.began = time.monotonic()
        self._ends = self.began + minutes * 60

    def share(self, weight, of):
        return max(0.0, self._ends - time.monotonic()) * weight / of

    def stamp(self):
        seconds = int(time.monotonic() - self.began)
        return f"[{seconds // 60:2d}:{seconds % 60:02d}]"


def measure(bench, chosen, classes, clock, weights, repeats):
    """Every record of the scenarios, peers interleaved; a scenario stops repeating when its share of the time is up."""
    records = []
    left = sum(weights.values())
    for scenario in chosen:
        seconds = clock.share(weights[scenario.name], left)
        left -= weights[scenario.name]
        began = time.monotonic()
        wanted = repeats or (1 if bench.quick else scenario.repeats)
        for repeat in range(1, wanted + 1):
            round_began = time.monotonic()
            turned = classes[(repeat - 1) % len(classes):] + classes[:(repeat - 1) % len(classes)]
            if scenario.floor:
                records.append(bench.run_floor(scenario, repeat))
                tell(clock, scenario, records[-1], wanted)
            for peer_class in turned:
                records.append(bench.run(scenario, peer_class, repeat))
                tell(clock, scenario, records[-1], wanted)
            took = time.monotonic() - round_began
            if repeat < wanted and not repeats and time.monotonic() - began + took > seconds:
                say(f"{clock.stamp()} {scenario.name}: {wanted - repeat} repeats are left out for want of time")
                break
    return records


def tell(clock, scenario, record, wanted):
    figures = [f"{shown(figure(record.result, row.metric))} {row.unit}" for row in scenario.rows] \
        if record.result else []
    say(f"{clock.stamp()} {scenario.name} {record.repeat}/{wanted} {record.peer}: "
        f"{', '.join(figures)} {'' if record.ok else '— ' + record.problem}".rstrip())


def compare(options, running, folder, files, table):
    """Runs all that was asked for; returns the data of the results."""
    minutes = options.minutes or (4.5 if options.quick else 42)
    clock = Clock(minutes)
    names = options.peers or [each for each in PEERS if not (options.quick and each == "mosquitto")]
    classes = [PEERS[each] for each in names]
    chosen = [each for each in table if not options.only or each.name in options.only]
    weights = {each.name: each.seconds * each.repeats for each in chosen}
    with_curves = not options.only or any(each in CURVES for each in options.only)
    if with_curves and chosen:
        weights["curves"] = sum(weights.values()) * CURVES_SHARE / (1 - CURVES_SHARE)
    bench = Bench(running, folder, files, options.quick)
    data = Comparison(
        kind="Quick" if options.quick else "Partial" if options.only or options.peers else "Full",
        date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), commit=commit(),
        machine=about_machine(files), versions=about_versions(classes),
        scenarios=[{"name": each.name, "rows": [asdict(row) for row in each.rows], "load": " ".join(each.load)}
                   for each in chosen])
    data.records = measure(bench, chosen, classes, clock, weights, options.repeats)
    if with_curves and (not options.only or "scale-connections" in options.only):
        data.scale_connections = {
            each.name: scale_connections(bench, each, lambda words: say(clock.stamp(), words))
            for each in classes if each.name not in ("Mosquitto", OPENSSL, EPOLL)}
    if with_curves and "sallyport" in names and (not options.only or "scale-devices" in options.only):
        data.scale_devices = scale_devices(bench, lambda words: say(clock.stamp(), words))
    data.checks = list(bench.checks.values())
    most = max((each.repeat for each in data.records), default=0)
    data.how_often = f"every scenario up to {most} times for each peer" if most > 1 else "every scenario once"
    data.minutes = (time.monotonic() - clock.began) / 60
    return data


def main():
    files = raise_open_files()
    table = scenarios(files)
    options = parse(sys.argv[1:], [each.name for each in table])
    out = options.out or TOP / ("bench/RESULTS.md" if options.record else "build/compare/RESULTS.md")
    notes = TOP / "bench/results/notes.md"
    if options.render:
        for file in write(Comparison.from_json(options.render.read_text()), out, notes):
            say("wrote", file)
        return 0
    for binary in (LOAD, SALLYPORT, FILL):
        if not binary.exists():
            say(f"compare: {binary} is not built; bench/compare.sh builds it")
            return 2
    running = Running()
    # SIGTERM and a closed terminal end it as Ctrl-C does: what was started is stopped.
    for which in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, signal.default_int_handler)
    # Proxies that give up root must still reach their folders.
    folder = Path(tempfile.mkdtemp(prefix="sallyport-compare."))
    folder.chmod(0o755)
    try:
        data = compare(options, running, folder, files, table)
    except KeyboardInterrupt:
        say("compare: interrupted; nothing was written")
        return 130
    except PeerFailed as failure:
        say(f"compare: {failure}")
        return 1
    finally:
        running.stop_all()
        shutil.rmtree(folder, ignore_errors=True)
    for file in write(data, out, notes):
        say("wrote", file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
