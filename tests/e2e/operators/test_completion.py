"""Completion in the shells themselves: commands, options, and the ids and names of the running server."""

import os
import pty
import select
import signal
import subprocess
import time

import pytest

from harness.server import BINARY, listener
from harness.wait import PATIENCE


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


def test_in_fish(server):
    """What fish offers behind a line, with what it says of each."""
    def fish(line):
        script = f'"{BINARY}" completion fish | source; set -p PATH "{os.path.dirname(BINARY)}"; complete -C "$argv[1]"'
        done = subprocess.run(["fish", "--no-config", "-c", script, line], capture_output=True, text=True, timeout=60,
                              check=True, env={**os.environ, "SALLYPORT_SOCKET": server.socket})
        assert done.stderr == ""
        return dict(each.partition("\t")[::2] for each in done.stdout.splitlines())

    assert {"ca", "device", "serve"} <= set(fish("sallyport "))
    assert list(fish("sallyport device li")) == ["list"] and fish("sallyport device li")["list"]
    ca, = server.json("ca", "list")
    assert fish("sallyport ca show ") == {ca["id"]: ca["cn"]}
    assert list(fish("sallyport listener reset f")) == ["first:one"]
    assert fish(f"sallyport check --config {server.config[:-3]}").keys() == {server.config}


def test_in_zsh(server, tmp_path):
    """Tab is pressed at a terminal: zsh finishes the word."""
    shell, terminal = pty.fork()
    if shell == 0:
        os.environ.update(SALLYPORT_SOCKET=server.socket, PATH=f"{os.path.dirname(BINARY)}:{os.environ['PATH']}",
                          ZDOTDIR=str(tmp_path), HOME=str(tmp_path), TERM="dumb", COLUMNS="200", PS1="> ")
        os.execvp("zsh", ["zsh", "-f", "-i"])
    try:
        said = b""

        def hear(what, typed):
            nonlocal said
            said = b""
            os.write(terminal, typed.encode())
            deadline = time.monotonic() + PATIENCE
            while what.encode() not in said:
                left = deadline - time.monotonic()
                ready, _, _ = select.select([terminal], [], [], max(left, 0))
                assert ready, f"{what!r} is not in {said!r}"
                said += os.read(terminal, 4096)

        hear("set up\r\n", f"autoload -U compinit; compinit -u -D; source <({BINARY} completion zsh); echo set up\n")
        hear("device list ", "sallyport device li\t")
        ca, = server.json("ca", "list")
        hear(ca["id"], f"\x15sallyport ca show {ca['id'][:6]}\t")
        hear("first:one", "\x15sallyport listener reset f\t")
    finally:
        os.kill(shell, signal.SIGKILL)
        os.waitpid(shell, 0)
        os.close(terminal)


def test_without_a_server(server):
    """Nothing of it is said, and nothing waits."""
    done = subprocess.run([BINARY, "__complete", "--socket", "/nonexistent", "device", "show", ""], capture_output=True,
                          text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_this_shell(shell):
    script = subprocess.run([BINARY, "completion", shell], capture_output=True, text=True, check=True).stdout
    assert "__complete" in script
    subprocess.run([shell, "-n"], input=script, text=True, check=True)
