"""A real Mosquitto on a free loopback port, and a deaf one of our own for what Mosquitto will not do."""

import os
import random
import selectors
import signal
import socket
import subprocess
import threading
from pathlib import Path

from . import packet
from .wait import until

MOSQUITTO = "/usr/sbin/mosquitto"


_reserved = []  # sockets that hold our names for ports; they end with the process


def free_port():
    """A free port, ours until this process ends: below those that the kernel gives to clients, and reserved by a
    name in the abstract namespace (unix(7)), for several files are tested at a time."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = range(10_000, lowest if lowest > 20_000 else 65_000)
    for port in random.sample(ports, len(ports)):
        name, probe = socket.socket(socket.AF_UNIX), socket.socket()
        with probe:
            try:
                name.bind(f"\0sallyport-test-port-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                name.close()
                continue
        _reserved.append(name)
        return port
    raise OSError("no port is free")


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Mosquitto:
    def __init__(self, folder, *lines, port=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.log = self.folder / "mosquitto.log"
        self.config = self.folder / "mosquitto.conf"
        settings = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence false",
                    "max_queued_messages 10000", "max_inflight_messages 0", "log_dest stdout", *lines]
        if os.geteuid() == 0:
            settings.append("user root")
        self.config.write_text("\n".join(settings) + "\n")
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([MOSQUITTO, "-c", str(self.config)], stdout=log, stderr=log)
        until("mosquitto answers", lambda: answers(self.port))
        return self

    def kill(self):
        """At once, as a crash: its sockets are reset or closed by the kernel."""
        self._end(signal.SIGKILL)

    def stop(self):
        self._end(signal.SIGTERM)

    def _end(self, how):
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(10)
            self.process = None


class ScriptedBroker:
    """Accepts everybody, answers the CONNECT, then never reads again (`deaf`) or sends `flood` bytes to each.

    One thread; every socket has a small receive buffer, so that what a deaf one swallows is little.
    """

    def __init__(self, flood=b""):
        self.flood = flood
        self.sessions = {}  # socket -> [CONNECT still expected, bytes of the flood already sent, bytes read]
        self.listening = socket.socket()
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen(1024)
        self.listening.setblocking(False)
        self.port = self.listening.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.hearing = threading.Event()  # set: what comes after the CONNECT is read (and dropped)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def sent(self):
        return sum(each[1] for each in list(self.sessions.values()))

    def read(self):
        return sum(each[2] for each in list(self.sessions.values()))

    def stop(self):
        self._stopped.set()
        self._thread.join()
        for sock in self.sessions:
            sock.close()
        self.listening.close()

    def _run(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.listening, selectors.EVENT_READ)
            was_hearing = False
            while not self._stopped.is_set():
                if self.hearing.is_set() and not was_hearing:
                    was_hearing = True
                    for sock in self.sessions:
                        self._watch(selector, sock, selectors.EVENT_READ)
                for key, events in selector.select(0.05):
                    if key.fileobj is self.listening:
                        sock, _ = self.listening.accept()
                        sock.setblocking(False)
                        self.sessions[sock] = [bytearray(), 0, 0]
                        selector.register(sock, selectors.EVENT_READ)
                    else:
                        self._serve(selector, key.fileobj, events)

    @staticmethod
    def _watch(selector, sock, events):
        try:
            selector.modify(sock, events)
        except KeyError:
            selector.register(sock, events)

    def _serve(self, selector, sock, events):
        session = self.sessions[sock]
        try:
            if session[0] is not None:
                session[0] += sock.recv(4096)
                if packet.take(session[0]):
                    session[0] = None
                    sock.send(packet.packet(packet.CONNACK, b"\0\0"))
                    if self.flood:
                        selector.modify(sock, selectors.EVENT_WRITE)
                    elif not self.hearing.is_set():
                        selector.unregister(sock)
            elif events & selectors.EVENT_WRITE:
                session[1] += sock.send(self.flood[session[1]:session[1] + 262144])
                if session[1] == len(self.flood):
                    selector.unregister(sock)
            else:
                data = sock.recv(262144)
                session[2] += len(data)
                if not data:
                    selector.unregister(sock)
        except BlockingIOError:
            pass
        except OSError:
            selector.unregister(sock)


class SlowBroker:
    """One connection: its CONNECT is answered, then nothing is read until `hearing` is set, and little at a time from
    then on. Keeps what came and how it ended."""

    def __init__(self, mqtt=True, acknowledges=False):
        self.came = bytearray()
        self.end = None  # "end" or "reset"
        self.hearing = threading.Event()
        self._mqtt, self._acknowledges = mqtt, acknowledges
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(16)
        self.address = "127.0.0.1:%d" % self._listening.getsockname()[1]
        self._socket = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self.hearing.set()
        for sock in (self._listening, self._socket):
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self._thread.join()
        self._listening.close()

    def _run(self):
        try:
            while not self.came:  # a connection without a byte is a probe of the upstream
                self._socket = self._listening.accept()[0]
                self.came += self._socket.recv(64)
            if self._mqtt:
                self._socket.sendall(packet.packet(packet.CONNACK, b"\0\0"))
            self.hearing.wait()
            end = "end"
            while data := self._socket.recv(4096):
                self.came += data
                if self._acknowledges and end == "end":
                    try:
                        self._socket.sendall(packet.puback(1))
                    except ConnectionError:  # what had come before the reset is still there to be read
                        end = "reset"
            self.end = end
        except ConnectionError:
            self.end = "reset"
        except OSError:
            pass
        if self._socket is not None:
            self._socket.close()
