"""A broker's port that keeps every byte it gets and sends what a test tells it to: for what must arrive exactly."""

import socket
import threading

from . import packet
from .wait import until


class Recorder:
    """`connections`: one bytearray each, without those that sent nothing (probes of the upstream)."""

    def __init__(self, connack=b"\x20\x02\0\0", connack5=b"\x20\x03\0\0\0"):
        self.connections, self.sockets = [], []
        self._connacks = connack, connack5
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(64)
        self.address = "127.0.0.1:%d" % self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._listening.close()
        for sock in self.sockets:
            sock.close()

    def _accept(self):
        try:
            while True:
                threading.Thread(target=self._record, args=(self._listening.accept()[0],), daemon=True).start()
        except OSError:
            pass

    def _record(self, sock):
        came, answered = None, False
        try:
            while data := sock.recv(262144):
                if came is None:
                    came = bytearray()
                    self.connections.append(came)
                    self.sockets.append(sock)
                came += data
                whole = None if answered else packet.take(bytearray(came))
                if whole:
                    answered = True
                    sock.sendall(self._connacks[1 if whole[2][6] == 5 else 0])
        except OSError:
            pass
        sock.close()

    def last(self, at_least=1):
        """What came on the newest connection, once it is `at_least` bytes."""
        until("the broker has got it", lambda: self.connections and len(self.connections[-1]) >= at_least)
        return bytes(self.connections[-1])
