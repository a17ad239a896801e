// MQTT.js, of both versions, over TLS and over WebSocket: a device sends, a backend application
// reads, and a command comes down.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import mqtt from "mqtt";

import { Server } from "./server.js";

const TOPIC = "v1/d/b-1/t/status";

let server;
let token;
let keys;

before(async () => {
  server = await Server.start();
  await server.axle("device", "add", "b-1", "--kind", "bike", "--out", "keys");
  const grants = ["--subscribe", "v1/d/+/t/#", "--json"];
  ({ token } = JSON.parse(await server.axle("application", "create", "backend", ...grants)));
  const read = (name) => readFile(join(server.folder, "keys", name));
  keys = { ca: await read("ca.crt"), cert: await read("b-1.crt"), key: await read("b-1.key") };
});

after(() => server.stop());

async function client(way, options) {
  const { mqtts, device_https } = server.addresses;
  const url = way === "wss" ? `wss://${device_https}/mqtt` : `mqtts://${mqtts}`;
  const made = mqtt.connect(url, { ca: keys.ca, reconnectPeriod: 0, ...options });
  await once(made, "connect");
  return made;
}

for (const protocolVersion of [4, 5]) {
  for (const way of ["mqtts", "wss"]) {
    test(`version ${protocolVersion} over ${way}: up, to a reader, and a command down`, async () => {
      const asBackend = { clientId: "backend", username: "backend", password: token };
      const reader = await client(way, { protocolVersion, ...asBackend });
      await reader.subscribeAsync("v1/d/+/t/#", { qos: 2 });
      const { cert, key } = keys;
      const device = await client(way, { protocolVersion, clientId: "b-1", cert, key });
      for (const qos of [0, 1, 2]) {
        const arrival = once(reader, "message");
        const sent = JSON.stringify({ battery_pct: 40 + qos });
        await device.publishAsync(TOPIC, sent, { qos });
        const [topic, payload, packet] = await arrival;
        assert.deepEqual([topic, String(payload), packet.qos], [TOPIC, sent, qos]);
      }
      await device.subscribeAsync("v1/d/b-1/c/#", { qos: 1 });
      const command = once(device, "message");
      const waiting = server.axle("command", "send", "b-1", "unlock", "--wait", "--json");
      const [topic, payload] = await command;
      const { id } = JSON.parse(payload);
      assert.equal(topic, `v1/d/b-1/c/${id}/unlock`);
      await device.publishAsync(`v1/d/b-1/c/${id}/r`, '{"status":"succeeded"}', { qos: 1 });
      assert.equal(JSON.parse(await waiting).status, "succeeded");
      await device.endAsync();
      await reader.endAsync();
    });
  }
}
