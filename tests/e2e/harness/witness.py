"""A session that sends a message every 100 ms through Sallyport to itself and must miss none.

Its thread runs while a test attacks the same server; `verdict()` ends it and checks that every message came back,
once and in order, and that the session was never cut.
"""

import threading
import time

from .device import Ended, admitted


class Witness:
    def __init__(self, port, identity):
        self.device = admitted(port, identity, client_id="witness")
        self.device.subscribe("witness/" + identity.serial)
        self.topic = "witness/" + identity.serial
        self.sent = 0
        self.came = []
        self.failure = None
        self.longest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while not self._stop.wait(0.1):
                began = time.monotonic()
                self.device.publish(self.topic, b"%d" % self.sent)
                self.sent += 1
                self.came.append(int(self.device.message(timeout=20)[1]))
                self.longest = max(self.longest, time.monotonic() - began)
            self.device.ping()
        except (Ended, AssertionError, OSError) as failure:
            self.failure = failure

    def verdict(self):
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert self.failure is None, f"after {self.sent} messages: {self.failure!r}"
        assert self.came == list(range(self.sent))
        self.device.close()
