"""The scaling curve over registered devices, of Sallyport alone: 1 to 10 million of them in its registry.

One Sallyport for each size stands at the same time, and each round measures them all one after the other, in an order
that rotates: what else the machine does meanwhile falls on every size alike. CPU times are medians of the rounds; rates
are the best of them, for whatever else wants the cores only lowers them.

Of a point, handshake_us, message_us and first_us are CPU a unit, known_and_new() finds the rates, warm_seconds is from
the start until it answers, read_seconds of them reading the registry, pss_mib memory once it has started. What measures brings some thousand devices of its own, the same number at each.
"""

import contextlib
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from .peers import BUILD, PeerFailed, Sallyport
from .records import Point
from .scale import LOADS, measure_loads

FILL = BUILD / "bench/registry_fill"
SIZES = (1, 1_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES = (1, 10_000, 1_000_000)
DISK_BYTES = 300  # for each device: twice what it takes, while RocksDB merges
DISK_RESERVE = 1 << 30
WARM_UP = 128  # devices each load makes known before it measures
FIRST = ("handshake", "--mode", "first", "--devices", str(WARM_UP), "--count", "1500")
TOGETHER, QUICK_TOGETHER = 1600, 1000  # connections of each of the two loads that run at once


class Sample:
    """The proxy's own account at one moment: CPU seconds, handshakes, registrations."""

    def __init__(self, peer):
        series = peer.metrics()

        def total(name, label=""):
            return sum(value for key, value in series.items() if key.split("{")[0] == name and label in key)

        self.cpu = cpu_seconds(peer.process.pid)
        self.at = time.monotonic()
        self.known = total("handshakes_total", 'kind="known"')
        self.new = total("handshakes_total", 'kind="full"')
        self.registered = total("registrations_total")
        self.waiting = total("registration_queue_depth")
        self.devices = total("devices")
        self.read_seconds = total("warmup_seconds")


def cpu_seconds(pid):
    """Of all its threads, to the nanosecond: proc(5), schedstat."""
    ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            ns += int((thread / "schedstat").read_text().split()[0])
        except OSError:
            continue  # it has just ended
    return ns / 1e9


def pss_mib(pid):
    """None where only root may see it: Sallyport keeps its memory private."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def settle(pid):
    """Waits until it is idle: RocksDB may still be merging what the filling left, and no device is to pay for that."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        before = cpu_seconds(pid)
        time.sleep(0.5)
        if cpu_seconds(pid) - before < 0.005:
            return
    raise PeerFailed("it was still busy with its registry a minute after its start")


def fill(bench, folder, devices):
    """Fills a new state folder; returns the seconds that took."""
    began = time.monotonic()
    process = bench.running.start([FILL, folder, devices], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        complaint = process.communicate(timeout=300)[1].strip()
    except subprocess.TimeoutExpired:
        complaint = "it took longer than 300 s"
    finally:
        bench.running.stop(process)
    if process.returncode != 0:
        raise PeerFailed(f"registry_fill: {complaint.splitlines()[-1] if complaint else process.returncode}")
    return time.monotonic() - began


def known_and_new(bench, peer, count):
    """Known devices' handshakes and new devices' first connections at once, each as fast as they go.

    Returns ({"known_rate", "registered_rate": a second, "both_us": CPU of a connection of either kind, "waiting_most":
    for their registration}, problem), of the time in which both ran, as the proxy itself counts them.
    """
    begun = all_written(peer)
    samples = []
    with ThreadPoolExecutor(2) as threads:
        def launch(mode):
            return threads.submit(bench.load, ["handshake", "--mode", mode, "--devices", str(WARM_UP), "--count",
                                               str(count)], peer.port)

        new = launch("first")
        while not new.done() and Sample(peer).registered == begun.registered:
            time.sleep(0.02)  # it is still making the certificates of its devices
        runs = [new, launch("full")]
        while not any(run.done() for run in runs):
            sample = Sample(peer)
            if sample.known > begun.known and not any(run.done() for run in runs):  # both have warmed up
                samples.append(sample)
            time.sleep(0.1)
    for run in runs:
        if run.result()[1]:
            return {}, run.result()[1]
    if len(samples) < 2 or samples[-1].at - samples[0].at < 0.5:
        return {}, "the two loads did not run at the same time"
    first, last = samples[0], samples[-1]
    seconds, known, new = last.at - first.at, last.known - first.known, last.new - first.new
    found = {"known_rate": known / seconds, "registered_rate": (last.registered - first.registered) / seconds,
             "both_us": (last.cpu - first.cpu) * 1e6 / (known + new),
             "waiting_most": max(sample.waiting for sample in samples)}
    registered, expected = all_written(peer).registered - begun.registered, 2 * WARM_UP + count
    return found, "" if registered == expected else f"{registered:.0f} of {expected} new devices were registered"


def all_written(peer):
    """The proxy's account once no device waits for its registration to be written; or as it is after ten seconds."""
    deadline = time.monotonic() + 10
    while (sample := Sample(peer)).waiting > 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    return sample


def start(bench, stack, point):
    """A Sallyport that knows as many devices as the point says; `stack` ends it and removes its registry."""
    room = shutil.disk_usage(bench.folder).free
    if point.x * DISK_BYTES + DISK_RESERVE > room:
        raise PeerFailed(f"left out: {room / 2**30:.1f} GiB of disk are not enough for its registry")
    state = bench.folder / f"devices-{point.x}"
    stack.callback(shutil.rmtree, state, ignore_errors=True)
    point.fill_seconds = fill(bench, state, point.x)
    peer = stack.enter_context(bench.front(Sallyport, state=state))
    settle(peer.process.pid)
    sample = Sample(peer)
    if sample.devices != point.x:
        raise PeerFailed(f"it knows {sample.devices:.0f} devices, not {point.x}")
    point.warm_seconds, point.read_seconds = peer.start_seconds, sample.read_seconds
    point.pss_mib = pss_mib(peer.process.pid)
    return peer


def measure(bench, peer, point):
    """One round of one size, into `point`."""
    measure_loads(bench, peer, {**LOADS, "first_us": FIRST}, point)
    found, problem = known_and_new(bench, peer, QUICK_TOGETHER if bench.quick else TOGETHER)
    point.problem = point.problem or problem
    for name, figure in found.items():
        point.add(name, figure, max if name in ("known_rate", "registered_rate", "waiting_most") else median)


def attempt(point, act, *arguments):
    """What `act` returns; None where it fails, and then the point says why."""
    try:
        return act(*arguments)
    except (PeerFailed, OSError) as failure:
        point.problem = str(failure)
        return None


def scale_devices(bench, say):
    """The points of the curve."""
    points = [Point(devices) for devices in (QUICK_SIZES if bench.quick else SIZES)]
    standing = []
    with contextlib.ExitStack() as stack:
        for point in points:
            if peer := attempt(point, start, bench, stack, point):
                standing.append((point, peer))
            say(started(point))
        for turn in range(1 if bench.quick else 3):
            for point, peer in standing[turn:] + standing[:turn]:
                attempt(point, measure, bench, peer, point)
                say(measured(point))
    return points


def started(point):
    return (f"scale-devices {point.x:,}: filled in {point.fill_seconds or 0:.1f} s, answers after "
            f"{point.warm_seconds or 0:.1f} s, {point.pss_mib or 0:.0f} MiB {point.problem}")


def measured(point):
    """The figures so far, for who waits."""
    return (f"scale-devices {point.x:,}: handshake {point.handshake_us or 0:.0f} µs, message "
            f"{point.message_us or 0:.1f} µs, first {point.first_us or 0:.0f} µs, both at once "
            f"{point.both_us or 0:.0f} µs, {point.known_rate or 0:.0f} known and "
            f"{point.registered_rate or 0:.0f} registered a second {point.problem}")
