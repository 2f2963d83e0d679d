"""deploy/demo.sh, the first thing that a newcomer runs: it works, and leaves nothing behind. It shows this build's program
here, and installs and builds nothing."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness.server import BINARY
from harness.wait import until

DEMO = Path(__file__).resolve().parents[3] / "deploy" / "demo.sh"
SHOWS = {
    "1": ["hello from the rsa device", "hello from the ecc device", "devices/client-rsa/own for client-rsa",
          'reason="device_inactive"'],
    "3": ["every node knows it", "in force on 3 of 3 nodes", "its session at edge-1 was cut", "no node lets it in"],
}


def demo(folder, *arguments):
    return subprocess.run([DEMO, "--program", os.path.relpath(BINARY, folder), *arguments], cwd=folder, text=True,
                          capture_output=True, timeout=300, env={**os.environ, "TMPDIR": str(folder)}, check=False)


def ended(pid):
    """Also where nobody asks how: whoever started it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def folder():
    made = Path(tempfile.mkdtemp(prefix="sally-demo-"))
    made.chmod(0o755)  # PostgreSQL's user has a folder of its own in it
    yield made
    made.rmdir()  # nothing is left in it


@pytest.mark.parametrize("nodes", SHOWS)
def test_it_shows_what_it_says(folder, nodes):
    done = demo(folder, "--nodes", nodes)
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in (*SHOWS[nodes], "All of it worked"):
        assert shown in done.stdout, done.stdout


def test_what_is_kept_runs_and_is_ended_as_it_says(folder):
    done = demo(folder, "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    end = re.search(r"to end it: (kill ([0-9 ]+); rm -rf .+)", done.stdout)
    try:
        socket = re.search(r"SALLYPORT_SOCKET=(\S+)", done.stdout)[1]
        assert "device" in subprocess.run([BINARY, "status", "--socket", socket], capture_output=True, text=True, timeout=60,
                                          check=True).stdout
    finally:
        kill, remove = end[1].split("; ")
        subprocess.run(["bash", "-c", kill], check=True, timeout=60)
        for pid in end[2].split():
            until("it has ended", lambda p=pid: ended(p))
        subprocess.run(["bash", "-c", remove], check=True, timeout=60)


@pytest.mark.parametrize("wrong", [["--nodes", "0"], ["--nodes"], ["--nodes", "10"], ["--program", "/nothing"], ["--program", "/tmp"],
                                   ["--program", "/bin/true"], ["--what"]])
def test_a_wrong_word_starts_nothing(folder, wrong):
    done = demo(folder, *wrong)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1, done
