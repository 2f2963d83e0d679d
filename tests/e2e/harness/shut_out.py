"""Those who must not come in, and who try all the time at every node until the test is over."""

import threading

from .device import Ended, admitted


class ShutOut:
    """`with ShutOut(nodes) as shut_out: … shut_out.add(device)`: at the end nobody was let in, and everybody had tried."""

    def __init__(self, nodes):
        self.nodes, self.devices, self.let_in, self.tried = nodes, [], [], 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def add(self, *devices):
        self.devices = [*self.devices, *devices]

    def _run(self):
        while not self._ended.wait(0.02):
            for device in self.devices:
                for node in self.nodes:
                    self._try(node, device)

    def _try(self, node, device):
        try:
            admitted(node.port, device).close()
        except (Ended, AssertionError, OSError):
            self.tried += 1
        else:
            self.let_in.append((node.folder.name, device.cn))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *failure):
        self._ended.set()
        self._thread.join()
        if failure[0] is None:
            assert not self.let_in, f"let in: {sorted(set(self.let_in))}"
            assert self.tried >= len(self.devices) * len(self.nodes)
