"""The proxies that are compared: how each is configured, started, checked and stopped.

A peer is started fresh for each run, on free loopback ports, in front of a fresh sink. Every process is the leader
of a process group of its own, so that Ctrl-C reaches this program alone, which then stops what it started.
"""

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
TEMPLATES = TOP / "bench/peers"
BUILD = Path(os.environ.get("SALLYPORT_BUILD", TOP / "build/release"))
SALLYPORT = BUILD / "sallyport"
LOAD = BUILD / "bench/load"

CIPHER_TLS13 = "TLS_AES_128_GCM_SHA256"
GROUPS = "X25519:prime256v1"
POST_QUANTUM = "X25519MLKEM768"  # since OpenSSL 3.5
CIPHER_TLS12 = {"ec": "ECDHE-ECDSA-AES128-GCM-SHA256", "rsa": "ECDHE-RSA-AES128-GCM-SHA256"}


class PeerFailed(Exception):
    """A peer that did not start, or was not fit to be compared."""


class Running:
    """The processes this program has started; `stop_all()` leaves none of them."""

    def __init__(self):
        self._processes = []

    def start(self, command, **options):
        process = subprocess.Popen([str(each) for each in command], process_group=0, **options)
        self._processes.append(process)
        return process

    def stop(self, process):
        """SIGTERM to the process, which ends its children; SIGKILL to its group where that does not help."""
        if process in self._processes:
            self._processes.remove(process)
        # Sallyport drains at the first SIGTERM and ends at the second; the others ignore a second one.
        for patience in (1.5, 3.5):
            if process.poll() is not None:
                break
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop_all(self):
        for process in list(self._processes):
            self.stop(process)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def until(condition, seconds, process, what):
    """Polls until `condition()`; PeerFailed when the time is up or the process has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            raise PeerFailed(f"{what} ended by itself with status {process.returncode}")
        if time.monotonic() > deadline:
            raise PeerFailed(f"{what} did not answer within {seconds:g} s")
        time.sleep(0.02)


def output_of(*command):
    """What a command says about itself, on either stream; an empty text where it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).strip()


def groups_with(group):
    """What both sides offer where `group` is to be agreed on, best first."""
    return GROUPS if group == "X25519" else f"{group}:{GROUPS}"


def has_post_quantum():
    """Whether the OpenSSL that all of them use has X25519MLKEM768."""
    return POST_QUANTUM in output_of("openssl", "list", "-kem-algorithms")


def raise_open_files():
    """The soft limit becomes the hard one, for the children too; returns it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Sink:
    """`load sink`, the broker that is never the bottleneck."""

    def __init__(self, running, expects="nothing"):
        self._running = running
        self.process = running.start([LOAD, "sink", "--listen", "127.0.0.1:0", "--expects", expects],
                                     stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline()
        if not said.startswith("listening on "):
            raise PeerFailed(f"the sink did not start: {said!r}")
        self.port = int(said.rsplit(":", 1)[1])

    def stop(self):
        self._running.stop(self.process)
        self.process.stdout.close()


class Peer:
    """What all peers share. A subclass says its name, template and command."""

    name = ""
    counts = True  # among those whose best Sallyport is compared with
    most_tickets = 2  # how many a handshake issues where a scenario asks for that many
    template = ""
    terminates_mqtt = False  # it is the broker as well: no sink behind it, and none of the sink's topics
    program = ""
    user_line = ""  # what its configuration says where it starts as root
    certificate_with_ca = False
    tells = ("proxy",)  # how it can tell a broker who the device is
    patience = 20  # seconds until it must answer

    def __init__(self, running, pki, folder, files):
        self._running = running
        self._pki = Path(pki)
        self._folder = Path(folder)
        self._files = files
        self._starts = 0
        self.process = None
        self.port = None
        self.start_seconds = None  # from its start until it answers

    @classmethod
    def binary(cls):
        return shutil.which(cls.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

    @classmethod
    def version(cls):
        raise NotImplementedError

    def command(self, config):
        raise NotImplementedError

    @classmethod
    def telling(cls, wanted):
        """How this peer does what Sallyport is asked to: the others cannot write a CONNECT, so they send a header."""
        return wanted if wanted in cls.tells or wanted == "nothing" else "proxy"

    def values(self, folder, broker_port, tickets, key, groups, told):
        """What the placeholders of the templates stand for."""
        metrics_port = free_port()
        return {
            "FOLDER": folder, "LISTEN_PORT": self.port, "BROKER_PORT": broker_port, "METRICS_PORT": metrics_port,
            "FILES": self._files, "MAX_CONNECTIONS": max(100, (self._files - 500) // 2),
            "CERTIFICATE": self._pki / f"server-{key}.pem", "KEY": self._pki / f"server-{key}.key",
            "BUNDLE": self._pki / f"server-{key}-bundle.pem", "DEVICE_CA": self._pki / "device-ca.pem",
            "CIPHERS_TLS12": CIPHER_TLS12[key], "CIPHERS_TLS13": CIPHER_TLS13,
            "GROUPS": groups, "TICKETS": tickets, "TICKETS_ON_OFF": "on" if tickets else "off",
            "TICKETS_TRUE_FALSE": "true" if tickets else "false", "NO_TICKETS": "" if tickets else "no-tls-tickets",
            "NO_TICKETS_AT_ALL": "" if tickets else "Options = -SessionTicket",
            "USER": self.user_line if os.geteuid() == 0 else "",
            "SEND_PROXY": "send-proxy-v2-ssl-cn" if told == "proxy" else "",
            "PROXY_ON_OFF": "on" if told == "proxy" else "off",
            "TOLD": {"proxy": "proxy_protocol = true", "user-name": 'username = "{cn}"'}.get(told, ""),
        }

    def render(self, template, target, values):
        text = (TEMPLATES / template).read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        target.write_text(text)
        return target

    def start(self, broker_port, tickets=0, key="ec", groups=GROUPS, told="nothing"):
        """Starts it in front of `broker_port`, issuing `tickets` per handshake, with an "ec" or "rsa" server key; `groups` are
        the key exchanges it offers, best first. `told`: how the broker hears of the device."""
        if not self.binary():
            raise PeerFailed(f"{self.program} is not installed")
        self._starts += 1
        folder = self._folder / f"{self.name}-{self._starts}"
        folder.mkdir(parents=True)
        self.port = free_port()
        values = self.values(folder, broker_port, tickets, key, groups, told)
        config = self.render(self.template, folder / self.template, values)
        openssl = self.render("openssl.cnf", folder / "openssl.cnf", values)
        began = time.monotonic()
        with open(folder / "log", "wb") as log:
            self.process = self._running.start(
                self.command(config), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                env={**os.environ, **self.environment(openssl)})
        try:
            until(lambda: answers(self.port), self.patience, self.process, self.name)
        except PeerFailed as failure:
            self.stop()
            raise PeerFailed(f"{failure}: {(folder / 'log').read_text(errors='replace')[-600:].strip()}") from None
        self.start_seconds = time.monotonic() - began
        return self

    def environment(self, openssl):
        return {"OPENSSL_CONF": str(openssl)}

    def stop(self):
        if self.process is not None:
            self._running.stop(self.process)
            self.process = None
            shutil.rmtree(self._folder / f"{self.name}-{self._starts}" / "state", ignore_errors=True)


class Haproxy(Peer):
    name, program, template = "HAProxy", "haproxy", "haproxy.cfg"

    @classmethod
    def version(cls):
        return " ".join(output_of(cls.binary(), "-v").splitlines()[0].split()[:3])

    def command(self, config):
        return [self.binary(), "-db", "-f", config]


class Nginx(Peer):
    name, program, template, user_line = "nginx", "nginx", "nginx.conf", "user www-data;"

    @classmethod
    def version(cls):
        return output_of(cls.binary(), "-v").replace("nginx version: ", "")

    def command(self, config):
        return [self.binary(), "-e", "stderr", "-c", config]


class Hitch(Peer):
    name, program, template = "hitch", "hitch", "hitch.conf"
    user_line = 'user = "_hitch"\ngroup = "_hitch"'

    @classmethod
    def version(cls):
        return output_of(cls.binary(), "--version").splitlines()[0]

    def command(self, config):
        return [self.binary(), f"--config={config}"]


class Mosquitto(Peer):
    """The broker's own TLS. It does a broker's work too, so it is shown and not counted among the best."""

    name, program, template, user_line = "Mosquitto", "mosquitto", "mosquitto.conf", "user root"
    counts, terminates_mqtt = False, True

    @classmethod
    def version(cls):
        return output_of(cls.binary(), "-h").splitlines()[0]

    def command(self, config):
        return [self.binary(), "-c", config]


class Sallyport(Peer):
    """Its registry is new with each start, unless it is given the `state` folder of one; such a folder stays."""

    name, program, template = "Sallyport", "sallyport", "sallyport.toml"
    counts = False
    tells = ("proxy", "user-name")
    most_tickets = 1
    engine = io = "auto"
    patience = 120  # where it has to read ten million devices from a slow disk

    def __init__(self, running, pki, folder, files, state=None, shards=1, limit=""):
        super().__init__(running, pki, folder, files)
        self._state = state
        self._more = {"SHARDS": shards, "LIMIT": limit}
        self._metrics_port = None

    @classmethod
    def binary(cls):
        return str(SALLYPORT) if SALLYPORT.exists() else None

    @classmethod
    def version(cls):
        return output_of(cls.binary(), "version").splitlines()[0]

    def command(self, config):
        return [self.binary(), "serve", "--config", config]

    def environment(self, openssl):
        return {}

    def values(self, folder, broker_port, tickets, key, groups, told):
        values = super().values(folder, broker_port, tickets, key, groups, told)
        self._metrics_port = values["METRICS_PORT"]
        return {**values, "STATE": self._state or folder / "state", "ENGINE": self.engine, "IO": self.io,
                **self._more}

    def metrics(self):
        """{series as it is written, without "sallyport_": value}"""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=5) as answer:
            return {series: float(value)
                    for series, value in re.findall(r"^sallyport_(\S+) (\S+)$", answer.read().decode(), re.M)}

    def start(self, *arguments):
        super().start(*arguments)
        time.sleep(0.1)
        return self


class SallyportOpenssl(Sallyport):
    """The same with tls_engine = "openssl": handshakes and records are OpenSSL's, as its peers' are."""

    name, engine = "sallyport-openssl", "openssl"


class SallyportEpoll(Sallyport):
    """The same by epoll in place of io_uring."""

    name, io = "sallyport-epoll", "epoll"


PEERS = {each.name.lower(): each for each in (Sallyport, SallyportOpenssl, SallyportEpoll, Haproxy, Nginx, Hitch, Mosquitto)}


def say(*words):
    print(*words, file=sys.stderr, flush=True)
