"""A file system of a test's own, which it may freeze and fill. Needs root."""

import contextlib
import os
import subprocess
import time

from .device import Ended, admitted


class Disk:
    """A file system of its own in a file."""

    def __init__(self, folder, mebibytes=600):
        self.mount = folder / "mount"
        self.mount.mkdir(parents=True)
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(mebibytes << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, self.mount], check=True)
        self.frozen = False

    def freeze(self):
        subprocess.run(["fsfreeze", "--freeze", self.mount], check=True)
        self.frozen = True

    def thaw(self):
        if self.frozen:
            subprocess.run(["fsfreeze", "--unfreeze", self.mount], check=True)
        self.frozen = False

    def fill(self):
        """Takes all the room there is, but for a few KiB."""
        about = os.statvfs(self.mount)
        with (self.mount / "fills").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, about.f_bavail * about.f_bsize - 65536)

    def fill_up(self):
        """Not a byte is left, also for root."""
        with (self.mount / "fills").open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def free(self):
        (self.mount / "fills").unlink()

    def remove(self):
        self.thaw()
        subprocess.run(["umount", self.mount], check=True)


def is_refused(server, identity):
    try:
        admitted(server.port, identity).close()
    except (Ended, AssertionError, OSError):
        return True
    return False


def timed(what, call):
    begun = time.monotonic()
    done = call()
    print(f"  {what}: {time.monotonic() - begun:.2f} s: {(done.stderr or done.stdout).strip()[:150]}")
    return done
