"""A command-line TLS client as a person would use it: type one CONNECT, wait for the answer, leave."""

import select
import subprocess
import time

from . import packet
from .wait import PATIENCE

_ACCEPTED = packet.packet(packet.CONNACK, b"\0\0")


def converse(command, client_id, timeout, farewell=b""):
    """Whether a CONNACK 0 came back, and all the text that was printed. `farewell`: typed at the end, which is awaited;
    without one the client is just ended."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = bytearray()
    try:
        try:
            process.stdin.write(packet.connect(client_id))
            process.stdin.flush()
        except OSError:
            pass  # it was refused, and has ended already: what it printed is still to be read
        deadline = time.monotonic() + (timeout if timeout < 2 else PATIENCE)
        while time.monotonic() < deadline and _ACCEPTED not in output:
            if not select.select([process.stdout], [], [], 0.1)[0]:
                continue
            piece = process.stdout.read1(65536)
            if not piece:
                break
            output += piece
        if farewell:
            try:
                process.stdin.write(farewell)
                process.stdin.close()
            except OSError:
                pass  # it has ended already
            while piece := process.stdout.read1(65536):
                output += piece
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        try:
            process.stdin.close()
        except OSError:
            pass  # it has ended already
    return _ACCEPTED in output, output.decode(errors="replace")
