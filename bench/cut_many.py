#!/usr/bin/env python3
"""A CA with thousands of live sessions is deactivated: how soon is it in force, and are they closed at the pace?

Expected: in force within 100 ms (one pass over the sessions of each shard), the next handshake refused, no byte to the
broker afterwards, and SESSIONS / (shards x cuts_per_second) seconds until the last one is closed.

    bench/cut_many.py [SESSIONS]          5,000 where nothing is said; two descriptors each in the server
"""

import asyncio
import os
import resource
import ssl
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/e2e"))

from harness import packet  # noqa: E402
from harness.authority import Authority  # noqa: E402
from harness.broker import Mosquitto  # noqa: E402
from harness.device import client_context, refusal  # noqa: E402
from harness.server import Sallyport, listener  # noqa: E402

PACE = 1000


async def connect(port, context, number, gate):
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        writer.write(packet.connect(f"c{number}", 5))
        await reader.readexactly(5)
        return reader, writer


async def ended(reader, began):
    """When the session ended, and what came before."""
    data = b""
    try:
        while piece := await reader.read(4096):
            data += piece
    except (ConnectionError, ssl.SSLError):
        pass
    return time.monotonic() - began, data


async def run(server, ca, ca_id, sessions):
    identities = [ca.issue(f"device {n}") for n in range(50)]
    contexts = [client_context(each) for each in identities]
    gate = asyncio.Semaphore(100)
    began = time.monotonic()
    links = await asyncio.gather(*(connect(server.port, contexts[n % 50], n, gate) for n in range(sessions)))
    print(f"{sessions} sessions connected in {time.monotonic() - began:.1f} s")
    reports = [asyncio.create_task(ended(reader, 0.0)) for reader, _ in links]
    to_broker = server.metric("bytes_total", direction="to_broker")
    began = time.monotonic()
    done = await asyncio.to_thread(server.cli, "ca", "deactivate", ca_id)
    answered = time.monotonic() - began
    print(done.stderr.strip())
    print(f"answered after {answered * 1000:.0f} ms, command start included; "
          f"{server.json('status')['sessions_closing']} sessions wait to be closed")
    print("the next handshake:", await asyncio.to_thread(refusal, server.port, identities[0]))
    for _, writer in links:
        if not writer.is_closing():
            writer.write(packet.pingreq())
    results = await asyncio.gather(*reports)
    last = max(each[0] for each in results) - began
    shards = len(server.json("status")["shards"])
    told = sum(data.endswith(b"\xe0\x01\x98") for _, data in results)
    print(f"the last one closed after {last:.2f} s (at {PACE} a second on {shards} shards: {sessions / PACE / shards:.2f} s); "
          f"{told} of {sessions} were told by DISCONNECT 0x98")
    print("bytes to the broker after the answer:", server.metric("bytes_total", direction="to_broker") - to_broker)
    seconds = server.metric("status_in_force_seconds_sum") / server.metric("status_in_force_seconds_count")
    print(f"in force after {seconds * 1000:.1f} ms on average of {server.metric('status_in_force_seconds_count'):.0f}")


def main():
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ.setdefault("SALLYPORT_BIN", str(Path(__file__).resolve().parents[1] / "build/release/sallyport"))
    with tempfile.TemporaryDirectory(prefix="cut-", dir="/tmp") as folder:
        folder = Path(folder)
        broker = Mosquitto(folder / "broker").start()
        ca = Authority(folder / "ca", "Fleet")
        server = Sallyport(folder / "s", [listener(Authority(folder / "shop", "Shop").server("localhost"))], broker,
                           proxy={"cuts_per_second": PACE, "drain": "1s"}).start()
        try:
            asyncio.run(run(server, ca, ca.register(server), sessions))
        finally:
            server.stop()
            broker.stop()


if __name__ == "__main__":
    main()
