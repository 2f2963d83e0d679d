"""A wall clock of a server's own, which a test sets: libfaketime, by a file. Its steady clock is the machine's."""

import glob
import os
from pathlib import Path


class Clock:
    """Ahead of the machine's by `seconds`; behind it where they are negative."""

    def __init__(self, folder, seconds=0):
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.file = Path(folder) / "clock"
        self.set(seconds)

    def set(self, seconds):
        """From now on. The file is there whole or not at all: a server never reads half of it."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        os.replace(new, self.file)

    @property
    def environment(self):
        libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        assert libraries, "there is no libfaketime: install what deploy/packages.sh names"
        return {"LD_PRELOAD": libraries[0], "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
