"""Completion in the shells themselves: commands, options, and the ids and names of the running server."""

import os
import shutil
import subprocess

import pytest

from harness.server import BINARY, listener


@pytest.fixture(scope="module")
def server(serve, broker, site, root):
    running = serve([listener(site, name="first:one")], broker)
    root.register(running)
    return running


def bash(server, line):
    """What bash has in COMPREPLY when Tab is pressed behind `line`."""
    script = (f'source <("{BINARY}" completion bash); PATH="{os.path.dirname(BINARY)}:$PATH"; COMP_LINE="$1"; '
              'COMP_POINT=${#1}; _sallyport; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "bash", line], capture_output=True, text=True, timeout=60, check=True,
                          env={**os.environ, "SALLYPORT_SOCKET": server.socket})
    assert done.stderr == ""
    return done.stdout.split()


def test_in_bash(server, root):
    """Words at a colon are parted by bash: only what is behind it is given back."""
    assert {"ca", "device", "serve"} <= set(bash(server, "sallyport "))
    assert bash(server, "sallyport device li") == ["list"]
    assert bash(server, "sallyport device list --status=pe") == ["pending"]
    ca, = server.json("ca", "list")
    assert bash(server, "sallyport ca show ") == [ca["id"]]
    assert bash(server, "sallyport listener reset f") == ["first:one"]
    assert bash(server, "sallyport listener reset first:o") == ["one"]
    assert bash(server, f"sallyport check --config {server.config[:-3]}") == [server.config]
    assert bash(server, f"sallyport upstream drain broker 127") == [server.json("upstream", "list")[0]["servers"][0]["server"]]


def test_without_a_server(server):
    """Nothing of it is said, and nothing waits."""
    done = subprocess.run([BINARY, "__complete", "--socket", "/nonexistent", "device", "show", ""], capture_output=True,
                          text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_this_shell(shell):
    script = subprocess.run([BINARY, "completion", shell], capture_output=True, text=True, check=True).stdout
    assert "__complete" in script
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n"], input=script, text=True, check=True)
