"""A scaling curve: what a handshake and a message cost while more and more idle connections stand.

The fleet grows step by step in front of one proxy, so that 8000 connections are made once and not for every point.
"""

import statistics
import subprocess
import time

from .peers import LOAD, PeerFailed
from .records import Point
from .scenarios import CPU, idle_connections

STEPS = (1, 10, 100, 1000, 2000, 4000, MOST := 10000)
QUICK_STEPS = (1, 100, 1000)
HANDSHAKES = ("handshake", "--mode", "full", "--count", "1500")
MESSAGES = ("messages", "--connections", "50", "--rate", "10000", "--size", "100", "--seconds", "1.5")
LOADS = {"handshake_us": HANDSHAKES, "message_us": MESSAGES}


def steps(bench):
    """The sizes of the fleet; the last is what the limit of open files allows beside the connections that measure."""
    if bench.quick:
        return QUICK_STEPS
    most = min(MOST, idle_connections(bench.files))
    return tuple(each for each in STEPS if each < most) + (most,)


class Fleet:
    """Idle connections held open by processes of `load idle`, one for each step."""

    def __init__(self, bench, port):
        self._bench = bench
        self._port = port
        self._holders = []
        self._size = 0

    def grow_to(self, size):
        """More connections until `size` stand; PeerFailed where they do not come to stand."""
        more = size - self._size
        holder = self._bench.running.start(
            [LOAD, "idle", "--connections", str(more), "--hold", "3600", "--limit", "4000", "--connect",
             f"127.0.0.1:{self._port}", "--pki", self._bench.pki], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True)
        self._holders.append(holder)
        began = time.monotonic()
        for line in holder.stderr:  # a line a second
            if line.startswith(f"idle: {more} of {more},"):
                self._size = size
                return
            if line.startswith("idle:") or time.monotonic() - began > 120:
                raise PeerFailed(f"of {more} more connections: {line.strip()}")
        raise PeerFailed(f"{more} more connections did not come to stand")

    def stop(self):
        for holder in self._holders:
            self._bench.running.stop(holder)
            holder.stderr.close()


def measure_loads(bench, peer, loads, point):
    """Adds to `point` what a unit of each load costs: {name of the figure: arguments of load}."""
    for name, arguments in loads.items():
        result, problem = bench.load(list(arguments), peer.port, peer.process.pid)
        if problem:
            point.problem = problem
        else:
            point.add(name, result[CPU], statistics.median)


def scale_connections(bench, peer_class, say):
    """The curve of one peer."""
    points = []
    repeats = 1 if bench.quick else 3
    try:
        with bench.front(peer_class) as peer:
            fleet = Fleet(bench, peer.port)
            try:
                for size in steps(bench):
                    fleet.grow_to(size)
                    point = Point(size)
                    for _ in range(repeats):
                        measure_loads(bench, peer, LOADS, point)
                    points.append(point)
                    say(f"scale-connections {peer.name} {size}: handshake {point.handshake_us or 0:.0f} µs, "
                        f"message {point.message_us or 0:.1f} µs {point.problem}")
            finally:
                fleet.stop()
    except (PeerFailed, OSError) as failure:
        points.append(Point(None, str(failure)))
        say(f"scale-connections {peer_class.name} failed: {failure}")
    return points
