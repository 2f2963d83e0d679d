#!/usr/bin/env python3
"""deploy_test.py SALLYPORT: what deploy/ has for containers, as far as it can be looked at where none run.

Every YAML and JSON file parses; what must agree between them does: ports, paths, volumes, and how long a drain may take.
The configurations in them pass `sallyport check`. Where they are installed, these look as well, and what is missing is
said: kubernetes_validate (the API's own schemas), jsonschema, helm, hadolint.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import yaml

TOP = Path(__file__).resolve().parents[1]
DEPLOY = TOP / "deploy"
CHART = DEPLOY / "helm/sallyport"
findings, missing = [], []


def expect(good, what):
    if not good:
        findings.append(what)


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def drain_of(config):
    proxy = config.get("proxy", {})
    return seconds(proxy.get("drain_delay", "0s")) + seconds(proxy.get("drain", "25s"))


def check_config(sallyport, where, text):
    """`sallyport check`, with a certificate and folders that are there. Returns what is in it."""
    config = tomllib.loads(text)
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                               "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
                               "-keyout", f"{folder}/server_pkcs8.key", "-out", f"{folder}/server_chain.crt"],
                              capture_output=True)
        assert made.returncode == 0, made.stderr
        there = text.replace("/etc/sallyport/tls", folder).replace("/var/lib/sallyport", f"{folder}/state")
        there += f'\n[admin]\nsocket = "{folder}/admin.sock"\n'
        Path(f"{folder}/sallyport.toml").write_text(there)
        done = subprocess.run([sallyport, "check", "--config", f"{folder}/sallyport.toml"], capture_output=True, text=True)
        problems = [line for line in done.stderr.splitlines() if "(warning)" not in line]
        expect(done.returncode == 0, f"{where}: sallyport check: {problems}")
    return config


def check_pod(where, pod, config, volumes):
    """A pod with Sallyport in it, and the configuration that it mounts."""
    containers = pod.get("initContainers", []) + pod["containers"]
    ours = next(each for each in containers if each["name"] == "sallyport")
    sidecar = ours in pod.get("initContainers", [])
    expect(pod["securityContext"].get("runAsNonRoot"), f"{where}: may run as root")
    for each in containers:
        context = each["securityContext"]
        expect(context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
               and context["capabilities"] == {"drop": ["ALL"]}, f"{where}: {each['name']} may do too much")
        for mount in each["volumeMounts"]:
            expect(mount["name"] in volumes, f"{where}: {each['name']} mounts {mount['name']}, which is not there")
            expect("subPath" not in mount, f"{where}: a subPath does not follow what rotates")
    ports = {port["name"]: port["containerPort"] for port in ours["ports"]}
    expect(config["metrics"]["address"] == f"0.0.0.0:{ports['metrics']}", f"{where}: metrics.address and port differ")
    expect([each["address"] for each in config["listener"]] == [f"0.0.0.0:{ports['mqtts']}"],
           f"{where}: the listener and the port differ")
    paths = {name: ours[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    expect(paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}, f"{where}: {paths}")
    expect(pod["terminationGracePeriodSeconds"] >= drain_of(config) + 15, f"{where}: killed before it has drained")
    files = {f"/etc/sallyport/{item['path']}" for volume in pod["volumes"] if volume["name"] == "config"
             for source in volume["projected"]["sources"] if "secret" in source for item in source["secret"]["items"]}
    for listener in config["listener"]:
        for pair in listener["certificates"]:
            expect({pair["chain"], pair["key"]} <= files, f"{where}: {pair} is not mounted")
    if sidecar:
        expect(ours["restartPolicy"] == "Always", f"{where}: it would run once, before the broker")
        expect(ours["lifecycle"]["preStop"]["exec"]["command"][1:] == ["drain", "--yes"], f"{where}: preStop")
        for each in pod["containers"]:
            expect(each["lifecycle"]["preStop"]["sleep"]["seconds"] > drain_of(config), f"{where}: the broker ends first")


def check_manifests(sallyport, where, text):
    documents = [each for each in yaml.safe_load_all(text) if each]
    named = {(each["kind"], each["metadata"]["name"]): each for each in documents}
    expect(len(named) == len(documents), f"{where}: two of the same name")
    if importlib.util.find_spec("kubernetes_validate"):
        import kubernetes_validate
        for each in documents:
            if each["apiVersion"].split("/")[0] != "monitoring.coreos.com":  # not of Kubernetes itself
                try:
                    kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
                except kubernetes_validate.ValidationError as error:
                    findings.append(f"{where}: {each['kind']}: {error}")
    for each in documents:
        if each["kind"] != "StatefulSet":
            continue
        spec = each["spec"]
        pod, labels = spec["template"]["spec"], spec["template"]["metadata"]["labels"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
        source = next(source["configMap"]["name"] for volume in pod["volumes"] if volume["name"] == "config"
                      for source in volume["projected"]["sources"] if "configMap" in source)
        config = check_config(sallyport, where, named["ConfigMap", source]["data"]["sallyport.toml"])
        check_pod(where, pod, config, volumes)
        expect(("Service", spec["serviceName"]) in named, f"{where}: there is no Service {spec['serviceName']}")
        for kind in ("Service", "PodDisruptionBudget"):
            for _, other in filter(lambda item: item[0][0] == kind, named.items()):
                selector = other["spec"]["selector"]
                selector = selector.get("matchLabels", selector)
                expect(selector.items() <= labels.items(), f"{where}: {kind} {other['metadata']['name']} selects no pod")


def check_compose(sallyport):
    folder = DEPLOY / "container"
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    config = check_config(sallyport, "compose.yaml", (folder / "sallyport.toml").read_text())
    ours = compose["services"]["sallyport"]
    expect(seconds(ours["stop_grace_period"]) >= drain_of(config) + 15, "compose.yaml: killed before it has drained")
    expect(ours["read_only"] and ours["cap_drop"] == ["ALL"], "compose.yaml: sallyport may do too much")
    expect([each["servers"] for each in config["upstream"]] == [["mosquitto:1883"]], "compose.yaml: another broker")
    for name, service in compose["services"].items():
        for network in service["networks"]:
            expect(network in compose["networks"], f"compose.yaml: {name}: {network}")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if not source.startswith("."):
                expect(source in compose["volumes"], f"compose.yaml: {name}: there is no volume {source}")
            elif source.startswith(("../prometheus", "../grafana")) and not (DEPLOY / source[3:].split("/")[0]).exists():
                missing.append(source)
            elif source != "./tls":
                expect((folder / source).exists(), f"compose.yaml: {name}: {source} is not there")
    profile = next(each.split("=", 1)[1] for each in ours["security_opt"] if each.startswith("seccomp="))
    expect((folder / profile).exists(), f"compose.yaml: {profile} is not there")


def check_dockerfile():
    text = (DEPLOY / "container/Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)", text, re.M)
    expect(len(stages) == 2 and stages[-1].endswith("-slim"), "Dockerfile: its last stage is no slim image")
    expect(re.search(r"^USER 8883:8883$", text, re.M) and "HEALTHCHECK" in text, "Dockerfile: no user, or no health check")
    if shutil.which("hadolint"):
        done = subprocess.run(["hadolint", "--ignore", "DL3008", str(DEPLOY / "container/Dockerfile")],  # versions of packages
                              capture_output=True, text=True)
        expect(done.returncode == 0, f"hadolint: {done.stdout}{done.stderr}")
    else:
        missing.append("hadolint")


def check_chart(sallyport):
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    if importlib.util.find_spec("jsonschema"):
        import jsonschema
        jsonschema.Draft7Validator.check_schema(schema)
        jsonschema.validate(values, schema)
    else:
        missing.append("jsonschema")
    expect(set(values) <= set(schema["properties"]), "values.yaml has what its schema has not")
    used = set(re.findall(r"\.Values\.(\w+)", "".join(path.read_text() for path in (CHART / "templates").iterdir())))
    expect(used == set(values), f"values.yaml and the templates differ: {used ^ set(values)}")
    check_config(sallyport, "values.yaml", values["config"])
    if not shutil.which("helm"):
        missing.append("helm")
        return
    lint = subprocess.run(["helm", "lint", "--strict", str(CHART)], capture_output=True, text=True)
    expect(lint.returncode == 0, f"helm lint: {lint.stdout}{lint.stderr}")
    everything = ["--set", "serviceMonitor.enabled=true,registryKeySecret=k,seccomp.type=Localhost,replicas=2,"
                  "persistence.storageClass=fast,service.type=ClusterIP,imagePullSecrets[0].name=p"]
    for options in [], everything:
        done = subprocess.run(["helm", "template", "edge", str(CHART), *options], capture_output=True, text=True)
        expect(done.returncode == 0, f"helm template: {done.stderr}")
        if done.returncode == 0:
            check_manifests(sallyport, f"helm template {' '.join(options)}", done.stdout)


def main():
    sallyport = sys.argv[1]
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        check_manifests(sallyport, path.name, path.read_text())
    if not importlib.util.find_spec("kubernetes_validate"):
        missing.append("kubernetes_validate")
    check_compose(sallyport)
    check_dockerfile()
    check_chart(sallyport)
    profile = json.loads((DEPLOY / "seccomp/sallyport.json").read_text())
    expect(profile["defaultAction"] == "SCMP_ACT_ERRNO", "the seccomp profile lets everything through")
    for finding in findings:
        print(f"deploy: {finding}")
    print(f"deploy: {len(findings)} findings" + (f"; not asked, because not installed: {', '.join(missing)}" if missing else ""))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
