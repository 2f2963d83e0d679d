#!/usr/bin/env python3
"""The console over a registry of a million devices, in a real browser: `million.py REGISTRY_SCALE [DEVICES]`.

REGISTRY_SCALE is build/release/bench/registry_scale, which makes the devices' certificates and imports them; it says how
long the server takes for a page. Then Chromium opens the list, pages, searches, filters and previews a bulk action.
Times are told, not judged. SALLYPORT_BIN is the server. A part of tests/evidence.sh; a million take some five minutes.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import runner
from world import Admin, Authority, Mosquitto, free_port, listener


class Million:
    """A world of one CA and many devices; nothing is asked of this half."""

    def __init__(self, folder, registry_scale, devices):
        self.folder = Path(folder)
        self.devices = devices
        subprocess.run([registry_scale, str(devices), str(self.folder / "server")], check=True, timeout=3600)
        self.site = Authority(self.folder / "shop", "Server certificate shop").server("localhost")
        self.broker = Mosquitto(self.folder / "broker").start()
        self.address = f"127.0.0.1:{free_port()}"
        self.admin = Admin(self.folder / "server", [listener(self.site)], self.broker, {"address": self.address})

    def description(self):
        return {"url": f"http://{self.address}", "folder": str(self.folder), "devices": self.devices,
                "operator": self.admin.token(), "viewer": self.admin.token("viewer")}

    def do(self, what):
        raise KeyError(f"nothing is asked of this half: {json.dumps(what)}")

    def close(self):
        self.admin.server.stop()
        self.broker.stop()


def main():
    if not runner.THERE:
        print("million: npm or Chromium is missing", file=sys.stderr)
        return 77
    registry_scale, devices = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    runner.install()
    with tempfile.TemporaryDirectory(prefix="sallyport-million.") as folder:
        world = Million(folder, registry_scale, devices)
        try:
            runner.run(world, "million")
        finally:
            world.close()
    print(f"million: passed, {devices} devices")
    return 0


if __name__ == "__main__":
    sys.exit(main())
