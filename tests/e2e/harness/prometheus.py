"""Debian's Prometheus on a free loopback port, with the project's own configuration and rules, and its promtool."""

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

from .broker import free_port
from .wait import PATIENCE, until

SHIPPED = Path(__file__).resolve().parents[3] / "deploy/prometheus"


def promtool(*arguments, stdin=None):
    return subprocess.run(["promtool", *map(str, arguments)], input=stdin, capture_output=True, text=True)


class Prometheus:
    """Scrapes `target` and evaluates the rules once a second; everything else is as deploy/prometheus has it."""

    def __init__(self, folder, target):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
        for name in config["rule_files"]:
            shutil.copy(SHIPPED / name, self.folder / name)
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.address = f"127.0.0.1:{free_port()}"
        self.process = None

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--web.listen-address={self.address}",
                 f"--storage.tsdb.path={self.folder}/data", "--log.level=warn"],
                stdout=log, stderr=log, cwd=self.folder, env={**os.environ, "GOMAXPROCS": "2"})
        until("prometheus is ready", self._ready)
        return self

    def _ready(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=PATIENCE).status == 200
        except OSError:
            return False

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None

    def ask(self, path, **parameters):
        """What the API answers to GET /api/v1/PATH."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{query}", timeout=PATIENCE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{path} {parameters}: {refused.read().decode()}") from None

    def query(self, expression):
        """[(labels, value)] of now."""
        answer = self.ask("query", query=expression)
        assert answer["resultType"] == "vector", expression
        return [(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def scrapes(self):
        """How many times Sallyport has been scraped."""
        return sum(value for _, value in self.query("count_over_time(sallyport_build_info[1h])"))

    def rules(self):
        """Every rule of every group, as it was evaluated last."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def alerts(self):
        """{name: states of its alerts, pending or firing}"""
        return {rule["name"]: {each["state"] for each in rule["alerts"]} for rule in self.rules()
                if rule["type"] == "alerting" and rule["alerts"]}
