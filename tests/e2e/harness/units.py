#!/usr/bin/env python3
"""What a page's machine has and a test has not, as far as the pages use it (pages.py). Run as a program:
`units.py systemctl start sallyport`.

systemctl starts the real programs by the command lines of their units; of sallyport's, by what our own unit file says.
It waits as systemd does: a start and a reload until the process says READY=1, and it follows MAINPID."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["PLACE_ROOT"])
RUN = ROOT / "run"
UNIT_FILE = Path(__file__).parents[3] / "deploy/systemd/sallyport.service"
COMMANDS = {
    "mosquitto": ["/usr/sbin/mosquitto", "-c", f"{ROOT}/etc/mosquitto/mosquitto.conf"],
    "haproxy": ["/usr/sbin/haproxy", "-W", "-db", "-f", f"{ROOT}/etc/haproxy/haproxy.cfg"],
    "nginx": ["/usr/sbin/nginx", "-e", "stderr", "-g", "daemon off;", "-c", f"{ROOT}/etc/nginx/nginx.conf"],
}
PATIENCE = 60
ELSEWHERE = ("aws", "apt-get", "timedatectl")


def fail(text):
    print(f"units.py: {text}", file=sys.stderr)
    sys.exit(1)


class Unit:
    def __init__(self, name):
        self.name = name.removesuffix(".service")
        if self.name != "sallyport" and self.name not in COMMANDS:
            fail(f"no unit {self.name}")
        self.pid_file = RUN / f"{self.name}.unit"
        self.log = RUN / f"{self.name}.log"
        self.notify = f"{RUN}/n"

    def pid(self):
        pid = int(self.pid_file.read_text()) if self.pid_file.exists() else 0
        return pid if pid and _lives(pid) else 0

    def command(self):
        if self.name != "sallyport":
            return COMMANDS[self.name]
        line = re.search(r"^ExecStart=(.*)$", UNIT_FILE.read_text(), re.M)[1]
        return [os.environ["PLACE_BINARY"] if word == "/usr/bin/sallyport" else
                f"{ROOT}{word}" if word.startswith("/etc/") else word for word in line.split()]

    def heard(self):
        """A socket of its own for one operation: what the process says from now on."""
        Path(self.notify).unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(self.notify)
        made.settimeout(PATIENCE)
        return made

    def wait_for(self, word, ears):
        while True:
            try:
                said = dict(line.split("=", 1) for line in ears.recv(4096).decode().split("\n") if line)
            except socket.timeout:
                fail(f"{self.name} did not say {word} in {PATIENCE} s\n{self.log.read_text()[-2000:]}")
            if "MAINPID" in said:
                self.pid_file.write_text(said["MAINPID"])
            if word in said:
                return

    def start(self):
        if self.pid():
            return
        environment = {key: value for key, value in os.environ.items() if key != "SALLYPORT_SOCKET"}
        ears = self.heard() if self.name == "sallyport" else None
        if ears:
            environment["NOTIFY_SOCKET"] = self.notify
            ears.settimeout(0.1)
        with open(self.log, "ab") as log:
            process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                       env=environment, cwd="/")
        self.pid_file.write_text(str(process.pid))
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if process.poll() is not None:
                fail(f"{self.name} ended with {process.returncode}\n{self.log.read_text()[-2000:]}")
            if not ears:
                if self._listens(process.pid):
                    return
                time.sleep(0.02)
                continue
            try:
                if "READY=1" in ears.recv(4096).decode().split("\n"):
                    return
            except socket.timeout:
                pass
        fail(f"{self.name} is not ready\n{self.log.read_text()[-2000:]}")

    @staticmethod
    def _listens(pid):
        """The process, or a child of it, has a listening TCP socket."""
        listening = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
                     if line.split()[3] == "0A"}
        for each in [pid, *_children(pid)]:
            for descriptor in _descriptors(each):
                try:
                    found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor))
                except OSError:
                    continue
                if found and found[1] in listening:
                    return True
        return False

    def stop(self):
        pid = self.pid()
        if not pid:
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while _lives(pid):
            if time.monotonic() > deadline:
                fail(f"{self.name} does not end")
            time.sleep(0.02)
        self.pid_file.unlink()

    def reload(self):
        if self.name == "sallyport":
            self.signal(signal.SIGHUP)
            return
        # Workers with the new configuration listen, and those with the old one no more.
        before = set(_children(self.pid()))
        self.signal(signal.SIGUSR2 if self.name == "haproxy" else signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while not any(map(self._listens, set(_children(self.pid())) - before)) or any(map(self._listens, before)):
            if time.monotonic() > deadline:
                fail(f"{self.name} did not reload\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def signal(self, which):
        if not self.pid():
            fail(f"{self.name} does not run")
        waits = self.name == "sallyport" and which in (signal.SIGHUP, signal.SIGUSR2)
        ears = self.heard() if waits else None
        os.kill(self.pid(), which)
        if waits:
            self.wait_for("MAINPID" if which == signal.SIGUSR2 else "READY", ears)


def _lives(pid):
    """Not a zombie: nobody here collects what ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def _descriptors(pid):
    try:
        return list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return []


def _children(pid):
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def systemctl(words):
    if words == ["daemon-reload"]:
        return
    verb, names = words[0], [word for word in words[1:] if not word.startswith("-")]
    options = [word for word in words[1:] if word.startswith("-")]
    for unit in map(Unit, names):
        if verb in ("start", "stop", "reload") and not options:
            getattr(unit, verb)()
        elif verb == "restart" and not options:
            unit.stop()
            unit.start()
        elif verb == "kill" and sorted(options) == ["--kill-whom=main", "--signal=USR2"]:
            unit.signal(signal.SIGUSR2)
        elif verb == "is-active" and not options:
            print("active" if unit.pid() else "inactive")
            sys.exit(0 if unit.pid() else 3)
        else:
            fail(f"systemctl {' '.join(words)}: not known here")


def journalctl(words):
    if words[:4] != ["-u", "sallyport", "-o", "cat"] or len(words) != 4:
        fail(f"journalctl {' '.join(words)}: not known here")
    sys.stdout.write(re.sub(r"^<\d>", "", Unit("sallyport").log.read_text(), flags=re.M))


def as_here(words):
    """What a second machine on this one needs besides its own text: sockets and folders of its own where the page
    leaves the default, and the tests' user where Mosquitto or nginx would take theirs."""
    path = Path(words[0])
    text = path.read_text()
    if path.name == "mosquitto.conf" and os.geteuid() == 0:
        text += "user root\n"
    if path.name == "nginx.conf":
        text = f"pid {RUN}/nginx.pid;\nerror_log stderr;\n{'user root;' if os.geteuid() == 0 else ''}\n{text}"
    if path.suffix == ".toml" and "[[listener]]" in text:
        if not re.search(r"^state_dir\b", text, re.M):
            text = f'state_dir = "{ROOT}/var/lib/sallyport"\n{text}'
        for table, key, value in (("admin", "socket", f"{RUN}/sallyport/admin.sock"),
                                  ("metrics", "address", os.environ["PLACE_METRICS"])):
            found = re.search(rf"^\[{table}\]$(.*?)(?=^\[|\Z)", text, re.M | re.S)
            if found is None:
                text += f'\n[{table}]\n{key} = "{value}"\n'
            elif not re.search(rf"^{key}\b", found[1], re.M):
                text = text.replace(f"[{table}]\n", f'[{table}]\n{key} = "{value}"\n', 1)
    path.write_text(text)


def chown(words):
    """The package's user is not there. That the files are, is looked at."""
    owner, *files = [word for word in words if word != "-R"]
    if not re.fullmatch(r"(root)?:?(sallyport|haproxy|mosquitto)(:sallyport)?", owner) or not files:
        fail(f"nobody is called {owner}")
    for each in files:
        os.stat(each)


def elsewhere(program, words):
    """A program that needs another machine. What it is asked is kept; AWS answers with the reader's own devices."""
    with open(RUN / "elsewhere", "a") as file:
        file.write(json.dumps([program, *words]) + "\n")
    devices = {f"{number:064x}": (name, status) for number, (name, status) in
               enumerate((("meter-1", "ACTIVE"), ("meter-2", "INACTIVE"), ("meter-3", "REVOKED")), 1)}
    if words[:2] == ["iot", "list-certificates-by-ca"]:
        print("\n".join(f"{id}\t{status}" for id, (_, status) in devices.items()))
    elif words[:2] == ["iot", "describe-certificate"]:
        name, _ = devices[words[words.index("--certificate-id") + 1]]
        print((Path(os.environ["PLACE_WORK"]) / f"{name}.crt").read_text())


if __name__ == "__main__":
    if sys.argv[1] in ELSEWHERE:
        elsewhere(sys.argv[1], sys.argv[2:])
        sys.exit()
    {"systemctl": systemctl, "journalctl": journalctl, "as-here": as_here,
     "chown": chown, "chgrp": chown}[sys.argv[1]](sys.argv[2:])
