"""Pages whose every command is run here, as a reader would: blocks marked `sh` one after the other in one shell, blocks
marked `sh background` beside it until the end. Ports are free ones in place of the page's, and nothing else is changed."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from harness.broker import free_port
from harness.server import BINARY

DOCS = Path(__file__).parents[3] / "admin" / "docs"
PORTS = ("8883", "1883", "9884")
BLOCK = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```$", re.M | re.S)
# What is not run: a file's content, and what a program prints.
SHOWN = ("toml", "yaml", "console", "")


def blocks(page):
    """(background, line, text) of each block that is to be run."""
    text = (DOCS / page).read_text()
    found = []
    for block in BLOCK.finditer(text):
        assert block[1] in ("sh", *SHOWN), f"{page}: nobody runs a block of {block[1]!r}"
        if block[1] == "sh":
            found.append((block[2].strip() == "background", text[:block.start()].count("\n") + 2, block[3]))
    return found


def script_of(page):
    """One shell script; what is beside it is started in the folder where the reader stands by then."""
    lines = ["set -eEuo pipefail", "trap 'echo \"the block at line $LINE of the page failed: $BASH_COMMAND\" >&2' ERR"]
    for background, line, text in blocks(page):
        lines.append(f"LINE={line}")
        if background:
            lines.append(f"( exec {text.strip()} ) >>background.log 2>&1 &")
        else:
            # A command that is to fail must: bash's -e passes over what stands behind a "!".
            lines.append(re.sub(r"^! ((?:.*\\\n)*.*)$", r"if \1; then echo 'it did not fail' >&2; false; fi", text,
                                flags=re.M))
    script = "\n".join(lines) + "\n"
    for port in PORTS:
        script = re.sub(rf"\b{port}\b", str(free_port()), script)
    return script


@pytest.mark.parametrize("page", ["first-hour.md"])
def test_every_command_of_the_page_works(tmp_path, page):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sallyport").symlink_to(BINARY)
    env = {key: value for key, value in os.environ.items() if not key.startswith("SALLYPORT_")}
    env.update(PATH=f"{tools}:{env['PATH']}:/usr/sbin", HOME=str(tmp_path))
    shown = tmp_path / "shown"
    with open(shown, "w") as output:
        shell = subprocess.Popen(["bash", "-c", script_of(page)], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL,
                                 stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        status = shell.wait(180)
        logs = "".join(path.read_text() for path in tmp_path.rglob("background.log"))
        assert status == 0, f"{shown.read_text()[-4000:]}\n--- beside it:\n{logs[-4000:]}"
    finally:
        # Whoever was started by the page is of its session, and ends with it.
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        shell.wait()


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_no_block_of_a_page_is_overlooked(page):
    """The reader of pages finds all blocks: as many as there are fences."""
    text = (DOCS / page).read_text()
    assert sum(line.startswith("```") for line in text.splitlines()) == 2 * len(BLOCK.findall(text))
