"""Runs files of checks against a world, and gives the checks what they ask of this side."""

import fcntl
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
THERE = bool(shutil.which("npm") and CHROMIUM)


def install():
    """playwright-core and axe-core, of exactly the versions in the lock file; nothing where they are there."""
    installed = HERE / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime:
        return
    with open(HERE / ".install-lock", "w") as lock:  # two test files may come at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
            subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE, check=True,
                           capture_output=True, text=True, timeout=600)


def run(world, name):
    """One file of checks; fails with what they said."""
    described = world.folder / "world.json"
    if not described.exists():
        described.write_text(json.dumps(world.description()))
    runner = subprocess.Popen(["node", "run.mjs", str(described), f"checks/{name}.mjs"], cwd=HERE, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, "CHROMIUM": CHROMIUM})
    limit = threading.Timer(900, runner.kill)
    limit.start()
    said = []
    for line in runner.stdout:
        if not line.startswith("@"):
            said.append(line)
            print(line, end="")
            continue
        try:
            answer = {"value": world.do(json.loads(line[1:]))}
        except Exception as error:  # the check that asked says it
            answer = {"error": repr(error)}
        runner.stdin.write(json.dumps(answer) + "\n")
        runner.stdin.flush()
    status = runner.wait(60)
    limit.cancel()
    assert status == 0, "".join(said)
    assert any(line.startswith("ok ") for line in said), "no check has run"
