"""A wire between a node and PostgreSQL that a test cuts: what was connected stays so, and no byte comes through."""

import contextlib
import selectors
import socket
import threading


class Wire:
    def __init__(self, port):
        self.to = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._whole, self._ended = threading.Event(), False
        self._whole.set()
        self._ends = {}  # each end of a connection, and where its bytes go
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self):
        self._whole.clear()

    def mend(self):
        self._whole.set()

    def stop(self):
        self._ended = True
        self._whole.set()
        self._thread.join()
        for each in [*self._ends, self.listener]:
            each.close()

    def _run(self):
        while not self._ended:
            self._whole.wait()
            for key, _ in self._selector.select(0.02):
                if not self._whole.is_set():
                    break
                with contextlib.suppress(OSError):
                    if key.fileobj is self.listener:
                        self._connect()
                    else:
                        self._carry(key.fileobj)

    def _connect(self):
        one, _ = self.listener.accept()
        try:
            other = socket.create_connection(("127.0.0.1", self.to), timeout=10)
        except OSError:
            one.close()
            return
        for here, there in ((one, other), (other, one)):
            here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends[here] = there
            self._selector.register(here, selectors.EVENT_READ)

    def _carry(self, here):
        there = self._ends.get(here)
        if there is None:  # its other end was closed a moment ago
            return
        try:
            data = here.recv(1 << 16)
            if data:
                there.sendall(data)
                return
        except OSError:
            pass
        for each in (here, there):
            self._selector.unregister(each)
            del self._ends[each]
            each.close()
