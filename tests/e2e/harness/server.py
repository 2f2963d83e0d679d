"""The real `sallyport` binary: writes its configuration, starts it, speaks to it, reads its log and metrics."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from .wait import PATIENCE, patient, until

BINARY = os.environ.get("SALLYPORT_BIN") or str(Path(__file__).resolve().parents[3] / "build/release/sallyport")
NO_DEVICES = {"active": 0, "inactive": 0, "pending": 0, "revoked": 0}  # a CA's, as the API and the command line count
_FIELD = re.compile(r'(\w+)=("(?:\\.|[^"\\])*"|\S*)')
_METRIC = re.compile(r"^sallyport_(\w+)(?:\{(.*)\})? (\S+)$", re.M)
_LABEL = re.compile(r'(\w+)="((?:\\.|[^"\\])*)"')


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(each) for each in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)


def toml(tables):
    """Tables of plain values; a list of tables becomes [[name]]."""
    lines = [f"{key} = {toml_value(value)}" for key, value in tables.items()
             if not isinstance(value, dict) and not _tables(value)]
    for name, value in tables.items():
        for table in [value] if isinstance(value, dict) else value if _tables(value) else []:
            lines.append(f"\n[{name}]" if isinstance(value, dict) else f"\n[[{name}]]")
            lines += [f"{key} = {toml_value(each)}" for key, each in table.items()]
    return "\n".join(lines) + "\n"


def _tables(value):
    return isinstance(value, list) and value and all(isinstance(each, dict) for each in value)


def listener(identity, name="mqtts", **settings):
    """A listener table with the certificate of `identity` (or a list of them) on a port the kernel chooses."""
    identities = identity if isinstance(identity, list) else [identity]
    return {"name": name, "address": "127.0.0.1:0", "upstream": "broker",
            "certificates": [{"chain": each.chain_file, "key": each.key_file} for each in identities], **settings}


class Line:
    """One line of the log: TIME LEVEL event key=value …, or the same as a JSON object; its values as text."""

    def __init__(self, text):
        self.text = text
        if text.startswith("{"):
            self.fields = {key: str(value) for key, value in json.loads(text).items()}
            self.level, self.event = self.fields["level"], self.fields["event"]
            return
        parts = text.split(" ", 3)
        self.level, self.event = (parts + ["", "", ""])[1:3]
        self.fields = {key: value[1:-1].replace('\\"', '"').replace("\\\\", "\\") if value.startswith('"') else value
                       for key, value in _FIELD.findall(parts[3] if len(parts) > 3 else "")}


class Sallyport:
    def __init__(self, folder, listeners, broker=None, *, upstreams=None, environment=None, launcher=(), **tables):
        """`launcher`: the words before the command, of a program that becomes it."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket = str(self.folder / "admin.sock")
        assert len(self.socket) < 108, "the admin socket's path is too long for unix(7)"
        self.config = str(self.folder / "sallyport.toml")
        self.log_file = self.folder / "log"
        self.error_file = self.folder / "stderr"
        self.environment = environment or {}
        self.launcher = list(launcher)
        self.process = None
        self.metrics_address = ""
        self.ports = {}
        self._starts_at = 0
        tables.setdefault("proxy", {}).setdefault("drain", "1s")
        if "SALLYPORT_TEST_IO" in os.environ:  # the whole set of tests by another way to the kernel
            tables["proxy"].setdefault("io", os.environ["SALLYPORT_TEST_IO"])
        Path(self.config).write_text(toml({
            "state_dir": str(self.folder / "state"),
            "listener": listeners,
            "upstream": upstreams or [{"name": "broker", "servers": [broker.address]}],
            "admin": {"socket": self.socket},
            "metrics": {"address": "127.0.0.1:0"},
            **tables}))

    # Life
    def start(self, timeout=20.0, ready=200, arguments=()):
        self._starts_at = self.log_file.stat().st_size if self.log_file.exists() else 0
        with open(self.log_file, "ab") as log, open(self.error_file, "ab") as errors:
            self.process = subprocess.Popen([*self.launcher, BINARY, "serve", "--config", self.config, *arguments],
                                            stdout=log, stderr=errors, env={**os.environ, **self.environment})
        until("readyz", lambda: self._ready(ready), timeout)
        self.ports = {each["name"]: int(each["address"].rsplit(":", 1)[1]) for each in self.json("listener", "list")}
        return self

    def _ready(self, ready):
        if self.process.poll() is not None:
            raise AssertionError(f"sallyport ended with {self.process.returncode}: {self.errors()}\n{self.log()}")
        for line in self.lines():
            if line.event == "warming":
                self.metrics_address = line.fields["metrics"]
                return self.probe("readyz") == ready and bool(self.lines("ready"))
        return False

    def signal(self, which):
        self.process.send_signal(which)

    def kill9(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process = None

    def wait(self, timeout=15.0):
        """Waits for its end; returns the exit status."""
        status = self.process.wait(patient(timeout))
        self.process = None
        return status

    def keeps_secrets(self):
        """No certificate, key or token in anything it ever said."""
        said = self.log_file.read_text(errors="surrogateescape") + self.errors()
        for secret in (r"-----BEGIN [A-Z ]+-----[^)]", r"MI[IGH][A-Za-z0-9+/]{40}", r"sallyport_[0-9a-f]{16}"):
            found = re.search(secret, said)
            assert found is None, f"in the log: {said[max(0, found.start() - 200):found.end() + 50]}"

    def stop(self):
        """SIGTERM, and again so that it does not drain: it must end with 0 whatever the tests did to it."""
        if self.process is None:
            return
        crashed = self.process.poll()
        assert crashed is None, f"sallyport ended by itself with {crashed}: {self.errors()}\n{self.log()[-4000:]}"
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGTERM)
            until("it notices the first signal", lambda: self.process.poll() is not None or "draining" in self.log())
            self.signal(signal.SIGTERM)
        try:
            status = self.wait()
            assert status == 0, f"exit status {status}: {self.errors()}\n{self.log()[-2000:]}"
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"did not end after two SIGTERMs\n{self.log()[-4000:]}") from None

    @property
    def port(self):
        return next(iter(self.ports.values()))

    # Operating it
    def cli(self, *arguments, status=0, timeout=30, stdin=subprocess.DEVNULL):
        done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=patient(timeout), stdin=stdin,
                              env={**os.environ, "SALLYPORT_SOCKET": self.socket})
        assert status is None or done.returncode == status, \
            f"sallyport {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def json(self, *arguments):
        return json.loads(self.cli(*arguments, "-o", "json").stdout)

    def devices(self, *filters):
        return {each["id"]: each for each in self.json("device", "list", *filters)}

    def registered(self, identity, timeout=10.0):
        """Waits until the device is in the registry; returns its object."""
        def shown():
            done = self.cli("device", "show", identity.id, "-o", "json", status=None)
            return json.loads(done.stdout) if done.returncode == 0 else None
        return until(f"device {identity.cn} is registered", shown, timeout, pause=0.05)

    # What it says
    def log(self):
        """The log since the last start."""
        with open(self.log_file, "rb") as file:
            file.seek(self._starts_at)
            return file.read().decode(errors="surrogateescape")

    def errors(self):
        return self.error_file.read_text()

    def lines(self, event=None, **fields):
        found = [Line(text) for text in self.log().splitlines()]
        return [line for line in found if (event is None or line.event == event)
                and all(line.fields.get(key) == value for key, value in fields.items())]

    def line(self, event, **fields):
        """The last of lines(), once there is one: what is counted is logged a moment later."""
        return until(f"{event} is logged", lambda: self.lines(event, **fields))[-1]

    def exactly(self, count, event, **fields):
        """All lines(), once there are as many; more of them is a failure."""
        found = until(f"{event} is logged {count} times",
                      lambda: lines if len(lines := self.lines(event, **fields)) >= count else None)
        assert len(found) == count, [line.text for line in found]
        return found

    def probe(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.metrics_address}/{path}", timeout=PATIENCE) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def metrics(self):
        """{(name, frozenset of labels): value}"""
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=PATIENCE) as answer:
            page = answer.read().decode()
        return {(name, frozenset(_LABEL.findall(labels))): float(value)
                for name, labels, value in _METRIC.findall(page)}

    def metric(self, name, **labels):
        """The sum over all series of `name` that carry `labels`."""
        wanted = set(labels.items())
        return sum(value for (key, have), value in self.metrics().items() if key == name and wanted <= have)

    def rejections(self, listener_name=None):
        """{reason: count}, zeros left out."""
        counts = {}
        for (name, labels), value in self.metrics().items():
            have = dict(labels)
            if name == "rejections_total" and value and listener_name in (None, have["listener"]):
                counts[have["reason"]] = counts.get(have["reason"], 0) + int(value)
        return counts

    def rss(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    @contextlib.contextmanager
    def refuses(self, reason, count=1, listener_name="mqtts", **fields):
        """Within the block exactly `count` connections are refused for `reason`, in metric and log alike.

        Yields a list that holds the log's lines afterwards. Every refusal names its peer; `fields` must match. Of very
        many the log leaves some out, and says how many.
        """
        before = self.rejections(listener_name)
        lines_before = len(self.lines("rejected"))
        more_before = len(self.lines("rejected-more", reason=reason, listener=listener_name))
        found = []
        yield found

        def new_lines():
            return [line for line in self.lines("rejected")[lines_before:]
                    if line.fields.get("reason") == reason and line.fields.get("listener") == listener_name]

        def left_out():
            return sum(int(line.fields["count"])
                       for line in self.lines("rejected-more", reason=reason, listener=listener_name)[more_before:])

        until(f"{count} counted as {reason}; before {before}, now {self.rejections(listener_name)}",
              lambda: self.rejections(listener_name).get(reason, 0) - before.get(reason, 0) >= count, 5)
        until(f"{count} logged as {reason}", lambda: len(new_lines()) + left_out() >= count, 5)
        time.sleep(0)
        after = self.rejections(listener_name)
        grown = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
        assert grown == {reason: count}, grown
        found += new_lines()
        assert len(found) == count or (len(found) < count and left_out() > 0), [line.text for line in found]
        for line in found:
            assert re.match(r"127\.\d+\.\d+\.\d+:\d+$", line.fields.get("peer", "")), line.text
            for key, value in fields.items():
                assert line.fields.get(key) == value, f"{key}={value} expected in: {line.text}"
