"""Devices made of the libraries that people use, each a program that does the same: it connects with a Will, keeps a
message, subscribes to `devices/NAME/#`, publishes with QoS 0, 1 and 2 below its own topics and once below another's,
prints what came (`TOPIC QOS RETAINED PAYLOAD`), and dies without a DISCONNECT.

Arguments: HOST PORT LEVEL NAME CA CERTIFICATE KEY. Without a CA it speaks plain MQTT and says NAME as its user name; with
one it says another, and a password."""

import os
import signal
import subprocess
from pathlib import Path

CLIENTS = Path(__file__).parent / "clients"


def _paho_c(folder):
    program = Path(folder) / "paho_c"
    if not program.exists():
        subprocess.run(["cc", "-O1", "-o", program, CLIENTS / "paho_c.c", "-lpaho-mqtt3cs"], check=True)
    return [program]


def command(library, folder):
    if library == "paho-c":
        return _paho_c(folder)
    if library == "mqtt.js":
        return ["node", CLIENTS / "mqtt_js.js"]
    return ["/usr/bin/python3", "-B", CLIENTS / "paho_python.py"]


def run(library, folder, port, version, name, ca="", identity=None):
    """What the device printed, as a list of lines."""
    files = [identity.chain_file, identity.key_file] if identity else ["", ""]
    done = subprocess.run([*command(library, folder), "localhost" if ca else "127.0.0.1", str(port), str(version), name, ca,
                           *files], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "NODE_PATH": "/usr/share/nodejs"})
    assert done.returncode == -signal.SIGKILL, f"{library}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout.splitlines()


def run_mosquitto(port, version, name, ca="", identity=None):
    """The same with mosquitto_pub and mosquitto_sub."""
    own, protocol = f"devices/{name}", {3: "mqttv31", 4: "mqttv311", 5: "mqttv5"}[version]
    common = ["-h", "localhost" if ca else "127.0.0.1", "-p", str(port), "-V", protocol, "-u", "said" if ca else name]
    if ca:
        common += ["-P", "secret", "--cafile", ca, "--cert", identity.chain_file, "--key", identity.key_file]

    def publish(topic, payload, qos, *options):
        subprocess.run(["mosquitto_pub", *common, "-i", "pub-" + name, "-t", topic, "-m", payload, "-q", str(qos), *options],
                       check=True, capture_output=True, timeout=60)

    publish(own + "/kept", "kept", 1, "-r")
    sub = subprocess.Popen(["mosquitto_sub", *common, "-i", "sub-" + name, "-t", own + "/#", "-q", "2", "-F", "%t %q %r %p",
                            "--will-topic", own + "/will", "--will-payload", "gone", "--will-qos", "1"],
                           stdout=subprocess.PIPE, text=True, bufsize=1)
    lines = [sub.stdout.readline().strip()]  # the message that was kept says that the subscription is in force
    for qos in (0, 1, 2):
        publish(own + "/up", f"qos {qos}", qos)
    publish("devices/another/up", "forged", 1)
    publish(own + "/last", "last", 2)
    while not lines[-1].startswith(own + "/last"):
        lines.append(sub.stdout.readline().strip())
    sub.kill()
    sub.wait()
    sub.stdout.close()
    return lines
