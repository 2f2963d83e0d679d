"""`sallyport doctor`, `reload` and `log level`; how metrics are asked for."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from harness.authority import days, now
from harness.broker import Mosquitto
from harness.device import admitted, plain, refusal
from harness.server import BINARY, listener
from harness.wait import until


def doctor(server, *arguments):
    return subprocess.run([BINARY, "doctor", "--config", server.config, "--socket", server.socket, *arguments],
                          capture_output=True, text=True, timeout=120)


def findings(server):
    done = doctor(server, "-o", "json")
    return {(each["about"], each["grade"]): each for each in json.loads(done.stdout)}, done.returncode


def test_doctor_finds_what_is_wrong_and_says_what_to_do(serve_once, broker, site, shop, root):
    """The machine, the file and the server: good, then with an ending certificate, a dead broker, a bad file, no server."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    found, status = findings(server)
    assert status == 0
    for about in ("kernel", "open files", "listen queue", "disk", "configuration", "server"):
        assert any(name == about for name, _ in found), (about, found)
    assert ("configuration", "problem") not in found and ("broker", "warning") not in found
    assert ("configuration", "warning") not in found, "that its folder is in use is as it should be"
    table = doctor(server).stdout
    assert "kernel: Linux" in table and "problem:" not in table

    good = Path(server.config).read_text()
    ending = shop.issue("localhost", dns=["localhost"], eku=[ExtendedKeyUsageOID.SERVER_AUTH], sent=[shop.certificate],
                        not_after=now() + days(10))
    Path(server.config).write_text(good.replace(site.chain_file, ending.chain_file)
                                   .replace(site.key_file, ending.key_file))
    found, status = findings(server)
    assert status == 0 and re.search("ends in (9|10) days", found["listener mqtts", "warning"]["what"])
    Path(server.config).write_text(good + "\nnonsense = 1\n")
    found, status = findings(server)
    assert status == 1 and "nonsense" in found["configuration", "problem"]["what"]
    Path(server.config).write_text(good)
    elsewhere = subprocess.run([BINARY, "doctor", "--config", server.config, "--socket", "/nowhere"], capture_output=True,
                               text=True, timeout=120, check=False).stdout
    assert "cannot reach sallyport at /nowhere" in elsewhere, "who names a socket means it"
    server.stop()
    found, status = findings(server)
    assert status == 0 and "start it" in found["server", "warning"]["remedy"]


def test_doctor_sees_brokers_that_are_gone(serve_once, site, work):
    gone = Mosquitto(work / "gone").start()
    server = serve_once([listener(site)], upstreams=[{"name": "broker", "servers": [gone.address],
                                                      "health_interval": "100ms"}])
    gone.kill()
    until("it is down", lambda: server.metric("upstream_up") == 0)
    found, _ = findings(server)
    assert gone.address in found["broker", "warning"]["what"]


def test_reload_waits_and_says_how_it_went(serve_once, broker, site, root):
    server = serve_once([listener(site)], broker)
    root.register(server)
    assert server.cli("reload").stdout == "all of it is in force\n"
    text = Path(server.config).read_text()
    head, metrics = text.split("[metrics]")
    Path(server.config).write_text(head + "[metrics]" + metrics.replace("127.0.0.1:0", "127.0.0.1:1", 1))
    done = server.cli("reload").stdout
    assert "needs a restart" in done and done.endswith("the rest is in force\n"), done
    Path(server.config).write_text(text + "\nnonsense = 1\n")
    assert "nonsense" in server.cli("reload", status=1).stderr
    assert server.metric("reload_success") == 0
    Path(server.config).write_text(text)
    assert server.json("reload")["needs_restart"] == []
    assert [each["who"] for each in server.json("audit") if each["action"] == "reload"][0] != "SIGHUP"


def test_the_logs_level_changes_at_run_time(serve_once, broker, site, root):
    server = serve_once([listener(site)], broker, log={"level": "info"})
    root.register(server)
    plain(server.port).close()
    until("it is over", lambda: server.metric("connections_silent_total") == 1)
    server.cli("log", "level", "debug")
    plain(server.port).close()
    until("its end is in the log", lambda: server.lines("silent"))
    assert len(server.lines("silent")) == 1, "not the one before"
    server.cli("log", "level", "rain", status=2)
    server.cli("reload")
    plain(server.port).close()
    until("it is over", lambda: server.metric("connections_silent_total") == 3)
    admitted(server.port, root.issue("at info")).close()
    until("what came after it is in the log", lambda: server.lines("ended"))
    assert len(server.lines("silent")) == 1


def asked(server, **headers):
    request = urllib.request.Request(f"http://{server.metrics_address}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_metrics_for_who_asks(serve_once, broker, site):
    """OpenMetrics where it is asked for; numbers that can be read; nothing for a name that is not this machine's."""
    server = serve_once([listener(site)], broker)
    kind, text = asked(server)
    assert kind.startswith("text/plain; version=0.0.4")
    assert 'le="0.00025"' in text and "00001\"" not in text
    kind, text = asked(server, Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text; version=1.0.0") and text.endswith("# EOF\n")
    assert "# TYPE sallyport_connections_accepted counter\n" in text
    assert asked(server, Host="localhost:1")[1]
    with pytest.raises(urllib.error.HTTPError) as refused:
        asked(server, Host="evil.example")
    assert refused.value.code == 421


def test_top_shows_rates(serve_once, broker, site, root):
    """Between two looks a device comes, a stranger is refused, and bytes pass."""
    server = serve_once([listener(site)], broker)
    root.register(server)
    watching = subprocess.Popen([BINARY, "top", "--every", "4", "--times", "1", "--socket", server.socket],
                                stdout=subprocess.PIPE, text=True)
    with admitted(server.port, root.issue("at the top")) as device:
        for _ in range(40):
            device.ping()
        refusal(server.port)
        shown = watching.communicate(timeout=60)[0]
    assert watching.returncode == 0
    assert "1 sessions" in shown and "refused" in shown, shown
    assert re.search(r"^mqtts +1 +\d+\.\d +\d+\.\d$", shown, re.M), shown
    assert re.search(rf"^broker +{re.escape(broker.address)} +up +1$", shown, re.M), shown
    done = subprocess.run([BINARY, "top", "--every", "1", "--times", "2", "--socket", server.socket, "-o", "json"],
                          capture_output=True, text=True, timeout=60)
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(looks) == 2, done
    for look in looks:
        assert look["listeners"][0]["name"] == "mqtts" and look["listeners"][0]["handshakes_per_second"] == 0
        assert look["bytes_per_second"]["to_broker"] == 0 and look["upstreams"][0]["servers"][0]["state"] == "up"
