// A device of mqtt.js; its arguments and what it does: harness/libraries.py.
const fs = require('fs');
const mqtt = require('mqtt');

const [host, port, version, name, ca, certificate, key] = process.argv.slice(2);
const own = 'devices/' + name;
const options = {
  clientId: 'said-' + name,
  protocolVersion: Number(version),
  protocolId: version === '3' ? 'MQIsdp' : 'MQTT',
  username: ca ? 'said' : name,
  will: { topic: own + '/will', payload: 'gone', qos: 1, retain: false },
  reconnectPeriod: 0,
};
if (ca) {
  Object.assign(options, { password: 'secret', ca: fs.readFileSync(ca), cert: fs.readFileSync(certificate),
    key: fs.readFileSync(key) });
}
const client = mqtt.connect(`${ca ? 'mqtts' : 'mqtt'}://${host}:${port}`, options);
const came = [];
const fail = (error) => { console.error(error); process.exit(1); };
client.on('error', fail);
client.on('message', (topic, payload, packet) => {
  came.push(`${topic} ${packet.qos} ${packet.retain ? 1 : 0} ${payload}`);
  if (topic === own + '/last') {
    // After the acknowledgement of what came; without a DISCONNECT: the Will is due.
    setTimeout(() => { fs.writeSync(1, came.join('\n') + '\n'); process.kill(process.pid, 'SIGKILL'); }, 200);
  }
});
const publish = (topic, payload, qos, retain) => new Promise((done) =>
  client.publish(topic, payload, { qos, retain: Boolean(retain) }, (error) => (error && !error.code ? fail(error) : done())));
client.on('connect', async () => {
  await publish(own + '/kept', 'kept', 1, true);
  await new Promise((done) => client.subscribe(own + '/#', { qos: 2 }, (error) => (error ? fail(error) : done())));
  for (const qos of [0, 1, 2]) await publish(own + '/up', `qos ${qos}`, qos);
  await publish('devices/another/up', 'forged', 1);
  await publish(own + '/last', 'last', 2);
});
