#!/usr/bin/env python3
"""What two shards hold and what a crowd does to them; after bench/compare.sh has built what is needed.

Three questions: how many connections stand within the limit of open files, in how much memory, and do all of them
still answer? When 10,000 devices reconnect at once, with tickets and without, are all served, in how much memory, and
how long do established sessions wait meanwhile? What does a refused address cost? Takes about three minutes; writes
build/compare/capacity.md, or with --record bench/results/capacity.md.
"""

import argparse
import re
import signal
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

from comparison.peers import TOP, PeerFailed, Running, Sallyport, raise_open_files
from comparison.run import Bench

CROWD = 10_000
ROUNDS = 3
FLOOD = 100  # connections that come at once where they are refused
ESTABLISHED = ("--connections", "100", "--rate", "500", "--size", "100")
RESULT = TOP / "bench/results/capacity.md"


def peak_mib(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def cpu_seconds(pid):
    """To the nanosecond, where /proc/PID/stat counts ticks: sched-stats.rst of the kernel's documentation."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def must(result, problem):
    if problem:
        raise PeerFailed(problem)
    return result


def hold(bench):
    """As many as one process of `load` may open."""
    connections = bench.files - 1500
    with bench.front(Sallyport, shards=2) as peer:
        result = must(*bench.load(["idle", "--connections", str(connections), "--hold", "5"], peer.port,
                                  peer.process.pid))
        descriptors = len(list(Path(f"/proc/{peer.process.pid}/fd").iterdir()))
    return (f"**Connections.** {connections:,} proxied connections of as many devices on two shards, where a process may "
            f"open {bench.files:,} files and each is two sockets: all {result['answered']:,.0f} answered after the "
            f"silence, {result['pss_kib_per_unit']:.1f} KiB of PSS each; without them {descriptors} descriptors are open.")


def milliseconds(results):
    medians = [statistics.median(each["latency_us"][q] for each in results) / 1000 for q in ("p50", "p99", "p999")]
    return " / ".join(f"{each:.2f}" for each in medians) + " ms"


def beside_established(bench):
    """Round trips of those who stand: alone, while a crowd makes full handshakes, and while it makes them with another
    Sallyport, which is what sharing the cores with the storm costs without sharing the shards."""
    storm = ["storm", *ESTABLISHED, "--seconds", "6", "--burst", str(CROWD), "--every", "60"]
    calm, amid, beside = [], [], []
    for _ in range(ROUNDS):
        with bench.front(Sallyport, shards=2) as peer:
            calm.append(must(*bench.load(["roundtrip", *ESTABLISHED, "--seconds", "6"], peer.port)))
            amid.append(must(*bench.load(storm, peer.port)))
        with bench.front(Sallyport, shards=2) as peer, bench.front(Sallyport, shards=2) as other:
            beside.append(must(*bench.load([*storm, "--bursts-to", f"127.0.0.1:{other.port}"], peer.port)))
    served = min(each["handshakes"] for each in amid)
    return (f"**Established sessions in a storm**: 100 of them, 500 round trips a second, from due times, medians of "
            f"{ROUNDS} runs (p50 / p99 / p99.9): {milliseconds(calm)} alone; {milliseconds(amid)} while {CROWD:,} devices "
            f"make full handshakes at once, at least {served:,.0f} of which were served; {milliseconds(beside)} while "
            f"they make them with a second Sallyport on the same two cores: what sharing the cores alone costs.")


def crowd(bench, mode):
    """All of a fleet come back at once."""
    with bench.front(Sallyport, tickets=1, shards=2) as peer:
        result = must(*bench.load(["reconnect", "--mode", mode, "--connections", str(CROWD)], peer.port,
                                  peer.process.pid))
        return (f"| {mode} | {result['units']:,.0f} of {CROWD:,} in {result['seconds']:.1f} s | "
                f"{result['resumed']:,.0f} | {result['proxy_cpu_us_per_unit']:.0f} µs | "
                f"{peak_mib(peer.process.pid):.0f} MiB |")


def refuse(bench):
    """Connections beyond max_connections_per_ip, as fast as one client makes them."""
    with bench.front(Sallyport, limit="max_connections_per_ip = 1") as peer:
        with socket.create_connection(("127.0.0.1", peer.port)):
            time.sleep(0.5)  # it has the one place there is
            costs = [cost_of_refusals(peer, 2000) for _ in range(3)]
    return (f"**A refused address** costs {statistics.median(costs):.1f} µs of CPU a connection, before any TLS, where {FLOOD} "
            f"come at once.")


def cost_of_refusals(peer, tries):
    before = cpu_seconds(peer.process.pid)
    for _ in range(tries // FLOOD):
        refused = [socket.socket() for _ in range(FLOOD)]
        for each in refused:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", peer.port))
        for each in refused:
            with each:
                each.settimeout(5)
                try:
                    if each.recv(1):
                        raise PeerFailed("a connection beyond the limit was answered")
                except (ConnectionResetError, BrokenPipeError):
                    pass
                except TimeoutError:
                    raise PeerFailed("a connection beyond the limit was let in") from None
    return (cpu_seconds(peer.process.pid) - before) / tries * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--record", action="store_true", help="keep the result: in bench/results/capacity.md")
    where.add_argument("--out", type=Path, help="where the Markdown goes (default: build/compare/capacity.md)")
    options = parser.parse_args()
    out = options.out or (RESULT if options.record else TOP / "build/compare/capacity.md")
    files = raise_open_files()
    running = Running()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped
    try:
        with tempfile.TemporaryDirectory(prefix="sallyport-capacity.") as folder:
            bench = Bench(running, Path(folder), files, quick=False)
            parts = [hold(bench), "",
                     "**Reconnect storms** on two shards, the load on the same two cores; a shard's limit of handshakes "
                     "is the default, 256.", "",
                     "| handshakes | served | resumed | CPU each | most memory |", "|---|---|---:|---:|---:|",
                     *(crowd(bench, mode) for mode in ("full", "resumed")), "", beside_established(bench), "",
                     refuse(bench)]
    except PeerFailed as failure:
        print(f"capacity: {failure}", file=sys.stderr)
        return 1
    finally:
        running.stop_all()
    text = "\n".join(parts) + "\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
