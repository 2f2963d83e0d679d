"""The console in a real browser (tests/console): every page and action, happy and refused, as operator and as viewer,
with hostile names, by keyboard alone, in both languages and themes, over a restart, and axe on each page.

One browser runs the checks of a file after each other; what they need of this side (a device that connects, the server
stopped) they ask for, a line at a time.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

CONSOLE = Path(__file__).resolve().parents[2] / "console"
sys.path.insert(0, str(CONSOLE))

from world import World  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FILES = ["pages", "actions", "strangers", "sign-in"]  # the last one restarts the server

pytestmark = pytest.mark.skipif(not (shutil.which("npm") and CHROMIUM), reason="needs nodejs, npm and chromium")


@pytest.fixture(scope="module")
def world(work):
    made = World(work / "console")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def modules():
    """playwright-core and axe-core, of exactly the versions in the lock file."""
    installed = CONSOLE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (CONSOLE / "package-lock.json").stat().st_mtime:
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=CONSOLE, check=True,
                       capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def described(world):
    path = world.folder / "world.json"
    path.write_text(json.dumps(world.description()))
    return path


@pytest.mark.parametrize("name", FILES)
def test_console(world, modules, described, name):
    runner = subprocess.Popen(["node", "run.mjs", str(described), f"checks/{name}.mjs"], cwd=CONSOLE, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, "CHROMIUM": CHROMIUM})
    limit = threading.Timer(600, runner.kill)
    limit.start()
    said = []
    for line in runner.stdout:
        if not line.startswith("@"):
            said.append(line)
            print(line, end="")
            continue
        try:
            answer = {"value": world.do(json.loads(line[1:]))}
        except Exception as error:  # pylint: disable=broad-except; the check that asked says it
            answer = {"error": repr(error)}
        runner.stdin.write(json.dumps(answer) + "\n")
        runner.stdin.flush()
    status = runner.wait(60)
    limit.cancel()
    assert status == 0, "".join(said)
    assert any(line.startswith("ok ") for line in said), "no check has run"
