"""Brokers that take a CONNECT and fail it, each in a way of its own."""

import selectors
import socket
import struct
import threading

from . import packet

HOW = ("closes", "resets", "silent", "refuses", "rubbish")


class FailingBroker:
    """Accepts everybody. `how`: what comes of a CONNECT; "good" lets it in and answers nothing else. May be changed
    while it runs."""

    def __init__(self, how):
        self.how = how
        self.connects = 0
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(1024)
        self._listening.setblocking(False)
        self.address = "127.0.0.1:%d" % self._listening.getsockname()[1]
        self._buffers = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()
        for sock in [*self._buffers, self._listening]:
            sock.close()

    def _run(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            while not self._stopped.is_set():
                for key, _ in selector.select(0.05):
                    if key.fileobj is self._listening:
                        sock, _ = self._listening.accept()
                        self._buffers[sock] = bytearray()
                        selector.register(sock, selectors.EVENT_READ)
                    elif not self._goes_on(key.fileobj):
                        selector.unregister(key.fileobj)
                        del self._buffers[key.fileobj]
                        key.fileobj.close()

    def _goes_on(self, sock):
        """False: it is to be closed. Who asked may have gone at any moment: the next one is served all the same."""
        try:
            return self._serve(sock)
        except OSError:
            return False

    def _serve(self, sock):
        data = sock.recv(65536)
        if not data:
            return False
        buffer = self._buffers[sock]
        if buffer is None:
            return True
        buffer += data
        found = packet.take(buffer)
        if not found:
            return True
        self.connects += 1
        version = found[2][2 + int.from_bytes(found[2][:2], "big")] & 0x7F
        self._buffers[sock] = None
        if self.how == "resets":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif self.how == "refuses":
            sock.sendall(packet.packet(packet.CONNACK, b"\0\x88\0" if version == 5 else b"\0\x03"))
        elif self.how == "rubbish":
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif self.how == "good":
            sock.sendall(packet.packet(packet.CONNACK, b"\0\0\0" if version == 5 else b"\0\0"))
        return self.how not in ("closes", "resets")
