"""A device of paho Python; its arguments and what it does: harness/libraries.py."""

import os
import sys
import threading

import paho.mqtt.client as mqtt

host, port, version, name, ca, certificate, key = sys.argv[1:8]
came, subscribed, connected = [], threading.Event(), threading.Event()
own = f"devices/{name}"


def on_connect(client, _data, _flags, code, _properties=None):
    assert int(getattr(code, "value", code)) == 0, code
    connected.set()


def on_message(_client, _data, message):
    came.append(f"{message.topic} {message.qos} {int(message.retain)} {message.payload.decode()}")


# paho 2 asks which callbacks are meant.
callbacks = [mqtt.CallbackAPIVersion.VERSION1] if hasattr(mqtt, "CallbackAPIVersion") else []
client = mqtt.Client(*callbacks, client_id="said-" + name,
                     protocol={"3": mqtt.MQTTv31, "4": mqtt.MQTTv311, "5": mqtt.MQTTv5}[version])
client.on_connect, client.on_message = on_connect, on_message
client.on_subscribe = lambda *_: subscribed.set()
client.username_pw_set("said", "secret") if ca else client.username_pw_set(name)
if ca:
    client.tls_set(ca, certificate, key)
client.will_set(own + "/will", "gone", qos=1)
client.connect(host, int(port), keepalive=60)
client.loop_start()
assert connected.wait(30)
client.publish(own + "/kept", "kept", qos=1, retain=True).wait_for_publish()
client.subscribe(own + "/#", qos=2)
assert subscribed.wait(30)
for qos in (0, 1, 2):
    client.publish(own + "/up", f"qos {qos}", qos=qos).wait_for_publish()
client.publish("devices/another/up", "forged", qos=1).wait_for_publish()
client.publish(own + "/last", "last", qos=2).wait_for_publish()
for _ in range(600):
    if any(line.startswith(own + "/last") for line in came):
        break
    threading.Event().wait(0.05)
print("\n".join(came), flush=True)
os.kill(os.getpid(), 9)  # without a DISCONNECT: the Will is due
