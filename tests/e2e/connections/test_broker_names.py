"""Brokers whose names do not resolve when Sallyport starts: what can be served is, and the rest once it can be."""

import os

from harness.device import Device, Ended, admitted
from harness.server import listener
from harness.wait import until


def names(folder):
    """A file in the form of hosts(5), and the environment of a process that looks names up there (libnss_wrapper)."""
    file = folder / "hosts"
    file.write_text("127.0.0.1 localhost\n")
    return file, {"LD_PRELOAD": "libnss_wrapper.so", "NSS_WRAPPER_HOSTS": str(file)}


def test_a_name_that_resolves_later(serve_once, broker, site, root, tmp_path):
    """Alone: the start warns, devices are refused as without a broker, and let in once the name resolves. Beside a
    server that has an address: sessions go there."""
    hosts, environment = names(tmp_path)
    port = broker.address.rsplit(":", 1)[1]
    server = serve_once([listener(site, upstream="late"), listener(site, name="both", upstream="both")],
                        environment=environment,
                        upstreams=[{"name": "late", "servers": [f"broker.test:{port}"]},
                                   {"name": "both", "servers": [f"other.test:{port}", broker.address]}])
    root.register(server)
    identity = root.issue("device")
    warnings = server.json("status")["warnings"]
    assert {each["about"] for each in warnings} == {f"upstream late: broker.test:{port}",
                                                    f"upstream both: other.test:{port}"}
    assert all("does not resolve" in each["what"] for each in warnings)
    assert server.metric("warnings", kind="broker-name") == 2
    assert server.metric("upstream_up", upstream="late") == 0
    for _ in range(4):
        admitted(server.ports["both"], identity).close()
    with server.refuses("broker_unavailable"):
        try:
            Device(server.ports["mqtts"], identity).connect("nowhere")
        except Ended:
            pass
    hosts.write_text("127.0.0.1 localhost broker.test other.test\n")
    later = os.stat(hosts).st_mtime + 10  # libnss_wrapper tells whole seconds apart
    os.utime(hosts, (later, later))

    def let_in():
        try:
            admitted(server.ports["mqtts"], identity).close()
            return True
        except (Ended, AssertionError):
            return False

    until("the name resolves, and the device is let in", let_in, 30)
    until("no warning is left", lambda: server.json("status")["warnings"] == [])
    until("it is shown as up", lambda: server.metric("upstream_up", upstream="late") == 1)
    server.exactly(2, "trouble-over", kind="broker-name")
