"""One run at a time: a fresh sink, a fresh proxy, load against it, and what came out as a record."""

import contextlib
import json
import subprocess
import time

from .check import check, make_witnesses
from .peers import GROUPS, LOAD, PeerFailed, Sink, groups_with, output_of
from .records import Record
from .scenarios import arguments_of, tls_arguments

FLOOR = "no proxy, no TLS"


def missed_rate(arguments, result):
    """What is wrong where the load was to keep a rate and did not: then something else was measured."""
    if "--rate" not in arguments:
        return ""
    wanted = float(arguments[arguments.index("--rate") + 1])
    return "" if result["rate"] > 0.95 * wanted else f"{result['rate']:,.0f} a second in place of {wanted:,.0f}"


class Bench:
    """Where runs happen: the folder, the PKI, what is running, and which checks a peer has passed."""

    def __init__(self, running, folder, files, quick):
        self.running = running
        self.folder = folder
        self.files = files
        self.quick = quick
        self.pki = folder / "pki"
        said = output_of(str(LOAD), "pki", "--out", str(self.pki))
        if not (self.pki / "server-ec-bundle.pem").exists():
            raise PeerFailed(f"load pki failed: {said}")
        self._witnesses = make_witnesses(self.pki)
        self.checks = {}  # (peer, tickets, key, tls, intermediate, group) -> what was agreed on

    @contextlib.contextmanager
    def front(self, peer_class, tickets=0, key="ec", groups=GROUPS, told="nothing", **settings):
        """A started peer in front of a sink of its own; stopped at the end whatever happens. `settings`: the peer's."""
        with contextlib.ExitStack() as stack:
            port = 0
            if not peer_class.terminates_mqtt:
                sink = Sink(self.running, told)
                stack.callback(sink.stop)
                port = sink.port
            peer = peer_class(self.running, self.pki, self.folder / f"{time.monotonic_ns():x}", self.files,
                              **settings)
            stack.callback(peer.stop)
            yield peer.start(port, tickets, key, groups, told)

    def ensure_fair(self, peer, scenario):
        """The peer of this scenario's configuration refuses strangers and speaks what is pinned: asked once."""
        intermediate = "--intermediate" in scenario.load
        wanted = min(scenario.tickets, peer.most_tickets)
        asked = (peer.name, wanted, scenario.key, scenario.tls, intermediate, scenario.group)
        if asked not in self.checks:
            agreed = check(peer, self._witnesses, wanted, scenario.key, scenario.tls, intermediate, scenario.group)
            if not agreed.as_wanted:
                raise PeerFailed(f"it issues {agreed.tickets} tickets, not {wanted}: no fair comparison")
            self.checks[asked] = agreed

    def load(self, arguments, port, pid=None):
        """Runs load; (its JSON or None, what went wrong or "")."""
        limit = 40 if self.quick else 120
        command = [LOAD, *arguments, "--connect", f"127.0.0.1:{port}", "--pki", self.pki, "--quiet",
                   "--limit", str(limit)]
        if pid is not None:
            command += ["--pid", str(pid)]
        process = self.running.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            said, complained = process.communicate(timeout=limit + 30)
        except subprocess.TimeoutExpired:
            said, complained = "", f"load did not end within {limit + 30} s"
        finally:
            self.running.stop(process)
        try:
            result = json.loads(said)
        except ValueError:
            last = (complained.strip().splitlines() or [""])[-1]
            return None, last or f"load ended with status {process.returncode} and said nothing"
        problem = ", ".join(f"{what} × {count}" for what, count in result.get("errors", {}).items())
        return result, problem or ("" if result.get("ok") else "load is not content")

    def run(self, scenario, peer_class, repeat):
        """One record. A peer's failure is part of it; nothing but an interrupt comes out of here."""
        record = Record(scenario.name, peer_class.name, repeat)
        if peer_class.terminates_mqtt and not scenario.broker:
            record.problem = "not possible: the broker of this row is the sink"
            return record
        try:
            with self.front(peer_class, scenario.tickets, scenario.key, groups_with(scenario.group),
                            peer_class.telling(scenario.told)) as peer:
                self.ensure_fair(peer, scenario)
                arguments = arguments_of(scenario, self.quick) + tls_arguments(scenario)
                record.result, record.problem = self.load(arguments, peer.port, peer.process.pid)
                if peer.process.poll() is not None:
                    record.problem = f"{peer.name} ended with status {peer.process.returncode}"
        except (PeerFailed, OSError) as failure:
            record.problem = str(failure)
        result = record.result or {}
        resumed, units = result.get("resumed", 0), result.get("units", 0)
        if not record.problem and scenario.resumes and resumed < 0.99 * units:
            record.problem = f"only {resumed:.0f} of {units} connections were resumed"
        if not record.problem and not scenario.resumes and resumed > 0:
            record.problem = f"{resumed:.0f} connections were resumed, and none should be"
        if not record.problem:
            record.problem = missed_rate(arguments_of(scenario, self.quick), result)
        record.ok = not record.problem
        return record

    def run_floor(self, scenario, repeat):
        """The same load without proxy and TLS: what the load and the sink alone take."""
        sink = Sink(self.running)
        try:
            arguments = arguments_of(scenario, self.quick) + ["--plain"]
            result, problem = self.load(arguments, sink.port)
        finally:
            sink.stop()
        return Record(scenario.name, FLOOR, repeat, not problem, problem, result)
