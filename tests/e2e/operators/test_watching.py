"""deploy/prometheus, deploy/grafana and the runbook: against Debian's Prometheus, which scrapes a Sallyport under load.

An alert over a metric or a label that does not exist never fires, and nobody notices. So each is asked for here."""

import json
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml

from harness import packet
from harness.authority import Authority
from harness.device import Device, admitted, plain, refusal
from harness.lists import crl, file_of
from harness.prometheus import SHIPPED, Prometheus, promtool
from harness.resuming import served
from harness.server import BINARY, listener
from harness.wait import until

TREE = Path(__file__).resolve().parents[3]
RUNBOOK = TREE / "admin/docs/runbook.md"
GRAFANA = TREE / "deploy/grafana"
ALERTS = {rule["alert"]: rule for group in yaml.safe_load((SHIPPED / "rules.yml").read_text())["groups"]
          for rule in group["rules"]}
DASHBOARD = json.loads((GRAFANA / "dashboard.json").read_text())
PANELS = [(panel["title"], target["expr"], target["legendFormat"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]

# What has data only when something is wrong; deploy/prometheus/tests makes up the data, and sees the alert fire.
SELDOM = {
    "Since the last backup": "time() - (sallyport_backup_failed_seconds",  # after a backup that failed
    "Sessions that a broker failed": "sum",  # asked when the broker has been killed
}
SELDOM_SELECTORS = {
    "listener_reason:sallyport_rejections:usual15m",  # after a quarter of an hour
    'sallyport_warnings{kind!~"clock|server-certificate|key-file|broker-name|trusted-ca|reload|key-memory"}',  # a new kind
}
# Of machines that share a registry: tests/e2e/shared reads them of three.
OF_SHARED = {"sallyport_registry_connected", "sallyport_node_lag_seconds", "sallyport_registry_stale"}
# What may be true of the machine that runs the tests.
OF_THE_MACHINE = {"SallyportKeyMemoryUnprotected", "SallyportStoreFull", "SallyportStoreFillingUp", "SallyportStoreSlow",
                  "SallyportChangeSlowInForce", "SallyportShardSaturated", "SallyportAllShardsSaturated",
                  "SallyportHandshakesSlow", "SallyportBrokerConnectSlow"}


@pytest.fixture(scope="module")
def fleet(work):
    """The CA of the devices: one of its own, whose list is imported."""
    return Authority(work / "watched-fleet", "Watched fleet")


@pytest.fixture(scope="module")
def server(broker, serve, site, fleet):
    running = serve([listener(site), listener(site, name="by-openssl", tls_engine="openssl")], broker)
    fleet.register(running)
    return running


@pytest.fixture(scope="module")
def watched(server, fleet, work, tmp_path_factory):
    """A Prometheus that has seen a little of everything happen between two scrapes."""
    running = Prometheus(work / "prometheus", server.metrics_address).start()
    try:
        until("every counter has been scraped", lambda: running.scrapes() > 1)
        load(server, fleet, tmp_path_factory.mktemp("lists"))
        scraped = running.scrapes()
        until("what happened is scraped, and seen by the rules", lambda: running.scrapes() > scraped + 3)
        yield running
    finally:
        running.stop()


def load(server, fleet, folder):
    """Two versions of TLS, two engines, resumption, messages, refusals, silence, a list, a cut, a backup."""
    for tls, port in (("1.2", server.ports["mqtts"]), ("1.3", server.ports["mqtts"]), ("1.3", server.ports["by-openssl"])):
        served(server, fleet.issue(f"served {tls} {port}"), tls, port)
    stranger = Authority(folder / "stranger", "Nobody's CA")
    for _ in range(3):
        assert refusal(server.port, stranger.issue("stranger"))
    plain(server.port).close()
    seen = fleet.issue("on the list")
    with admitted(server.port, seen) as device:
        server.registered(seen)
        server.cli("crl", "import", file_of(crl(fleet, seen), folder, "pem"), "--yes")
        device.end()
    with Device(server.port, fleet.issue("of MQTT 5")) as device:
        assert device.connect("five", version=5) == 0
        device.send(packet.disconnect())
    server.cli("backup", str(folder / "backup"), "--yes")


def chosen(expression):
    """A panel's query as Grafana sends it: its variables replaced by what is chosen, here everything."""
    for name, value in (("job", "sallyport"), ("instance", ".+"), ("listener", ".+"), ("__rate_interval", "1m")):
        expression = expression.replace("$" + name, value)
    assert "$" not in expression, expression
    return expression


# Files

def test_promtool_takes_rules_and_configuration():
    """And the tests of each alert, which ctest runs as `alerts`."""
    for arguments in (("check", "rules", SHIPPED / "rules.yml", SHIPPED / "recording.yml"),
                      ("check", "config", SHIPPED / "prometheus.yml")):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_it_is_about():
    for name, alert in ALERTS.items():
        notes = alert["annotations"]
        assert set(notes) == {"summary", "description", "runbook_url"}, name
        assert notes["runbook_url"] == f"admin/docs/runbook.md#{name.lower()}"
        assert alert["labels"]["severity"] in ("critical", "warning", "info"), name
        assert "{{ $labels." in notes["summary"] + notes["description"], name


def fired():
    """{alert: labels of those that fire in deploy/prometheus/tests}, and the alerts that are seen not to fire beside it."""
    fires, silent = {}, set()
    for file in sorted((SHIPPED / "tests").glob("*_test.yml")):
        for test in yaml.safe_load(file.read_text())["tests"]:
            instances = {found for series in test["input_series"] for found in re.findall(r'instance="(\w+)"', series["series"])}
            for asked in test["promql_expr_test"]:
                name = re.fullmatch(r'ALERTS\{alertname="(\w+)",alertstate="firing"\}', asked["expr"]).group(1)
                labels = [dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"])) for sample in asked["exp_samples"]]
                fires.setdefault(name, []).extend(labels)
                if not labels or instances - {each.get("instance") for each in labels}:
                    silent.add(name)
    return fires, silent


def test_every_alert_is_seen_firing_and_not_firing():
    """With the labels that its words name."""
    fires, silent = fired()
    assert set(fires) == silent == set(ALERTS)
    for name, alert in ALERTS.items():
        assert fires[name], f"{name} never fires in deploy/prometheus/tests"
        named = set(re.findall(r"\$labels\.(\w+)", " ".join(alert["annotations"].values())))
        for labels in fires[name]:
            assert named <= set(labels), f"{name} names a label that it does not have"
            assert labels["severity"] == alert["labels"]["severity"]


def sections():
    return dict(re.findall(r"^## (Sallyport\w+)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.M | re.S))


def test_every_alert_has_its_page_and_every_page_its_alert():
    """Each answers the five questions of somebody who was woken."""
    assert set(sections()) == set(ALERTS)
    for name, text in sections().items():
        for question in ("Means", "Devices", "Confirm", "Do", "Over"):
            assert f"**{question}.**" in text, f"{name} does not say: {question}"


def test_the_commands_of_the_runbook_exist():
    """With their options."""
    asked = {}
    for line in re.findall(r"(?:^|`)sallyport ([a-z][^`#\n]*)", RUNBOOK.read_text(), re.M):
        words = tuple(re.match(r"(?:[a-z][a-z-]* ?)+", line).group().split())
        asked.setdefault(words, set()).update(re.findall(r"--[a-z-]+", line))
    assert len(asked) > 15
    for words, options in asked.items():
        done = subprocess.run([BINARY, *words, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, f"sallyport {' '.join(words)}: {done.stderr}"
        assert options <= set(re.findall(r"--[a-z-]+", done.stdout)), f"sallyport {' '.join(words)}: {options}"


def test_the_dashboard_is_what_its_script_makes():
    done = subprocess.run(["/usr/bin/python3", GRAFANA / "make_dashboard.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_panels_have_a_place_of_their_own():
    """Within the 24 columns, none over another; ids are unique; each asks the chosen data source."""
    ids, taken = set(), set()
    for panel in DASHBOARD["panels"]:
        assert panel["id"] not in ids
        ids.add(panel["id"])
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        assert all(each["datasource"]["uid"] == "${datasource}" for each in panel.get("targets", []))


def test_what_is_provisioned_fits():
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    providers = yaml.safe_load((GRAFANA / "provisioning/dashboards/sallyport.yml").read_text())
    assert sources["apiVersion"] == providers["apiVersion"] == 1
    assert sources["datasources"][0]["type"] == "prometheus" and providers["providers"][0]["type"] == "file"


# Against the real ones

def test_promtool_takes_the_metrics(server, watched):
    """Names, types and help as Prometheus' own linter wants them."""
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        page = answer.read().decode()
    done = promtool("check", "metrics", stdin=page)
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr


def test_every_query_of_the_dashboard_has_data(watched):
    """And the labels that its legend names."""
    empty, nameless = [], []
    for title, expression, legend in PANELS:
        found = watched.query(chosen(expression))
        if not found and not expression.startswith(SELDOM.get(title, "-")):
            empty.append(f"{title}: {expression}")
        if any(not set(re.findall(r"{{(\w+)}}", legend)) <= set(labels) for labels, _ in found):
            nameless.append(f"{title}: {legend}")
    assert not empty, "\n".join(empty)
    assert not nameless, "\n".join(nameless)


def test_every_choice_of_the_dashboard_has_values(watched):
    for variable in DASHBOARD["templating"]["list"][1:]:
        series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
        found = watched.ask("series", **{"match[]": chosen(series)})
        assert found and all(each.get(label) for each in found), variable["name"]
    for each in DASHBOARD["annotations"]["list"]:
        watched.query(chosen(each["expr"]))


def selectors(expression):
    """The series that an expression reads: its names, each with its labels."""
    return set(re.findall(r"(?<![\w:])((?:listener(?:_reason)?|instance|shard|job):\w+:\w+(?:\{[^}]*\})?|(?:sallyport|process)_\w+(?:\{[^}]*\})?|"
                          r"up\{[^}]*\})", expression))


def test_every_rule_reads_what_is_there(watched):
    """All are evaluated without an error; what each reads has data, what is recorded too."""
    rules = watched.rules()
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == set(ALERTS)
    assert all(rule["health"] == "ok" for rule in rules), [rule["lastError"] for rule in rules if rule["health"] != "ok"]
    empty = {each for rule in rules for each in selectors(rule["query"])
             if each not in SELDOM_SELECTORS | OF_SHARED and not watched.query(each)}
    assert not empty, empty
    for rule in rules:
        assert selectors(rule["query"]), f"{rule['name']} reads nothing"


def test_every_query_of_the_runbook_has_data(watched):
    asked = {each for each in re.findall(r"`([^`\n]+)`", RUNBOOK.read_text())
             if selectors(each) - OF_SHARED and not each.startswith("sallyport ")}
    assert len(asked) > 25
    empty = [each for each in asked if not watched.query(each)]
    assert not empty, "\n".join(empty)


def test_where_all_is_well_no_alert_is_up(watched):
    assert set(watched.alerts()) <= OF_THE_MACHINE


def refusal_by(server, fleet):
    """A device comes while the broker is away."""
    with Device(server.port, fleet.issue("comes in vain")) as device:
        return device.connect("in vain") == 3


def test_a_broker_that_dies_is_seen(watched, broker, server, fleet):
    """The whole way: Mosquitto is killed, Sallyport notices, Prometheus scrapes, the alerts are pending, then over."""
    both = {"SallyportBrokerDown", "SallyportNoBrokerUp"}
    broker.kill()
    until("the alerts are up", lambda: both <= set(watched.alerts()))
    failed = next(expression for title, expression, _ in PANELS if title == "Sessions that a broker failed")
    until("a failed session is drawn", lambda: refusal_by(server, fleet) and watched.query(chosen(failed)))
    said = [each["annotations"] for rule in watched.rules() if rule["name"] in both for each in rule["alerts"]]
    assert all(broker.address in each["summary"] or "upstream broker" in each["summary"] for each in said), said
    broker.start()
    until("they are over", lambda: not both & set(watched.alerts()))
