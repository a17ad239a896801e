// The page of one device: its last ride, its commands, its quarantine.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./server.js";
import { ask, device, visit, world } from "./world.js";

test("the last ride is a map and charts that know of each other", async () => {
  const bike = await riding();
  await visit({}, async (visitor, page) => {
    await visitor.goto(`/devices/${bike}`);
    const ride = page.getByRole("region", { name: "Last ride" });
    await ride.getByRole("group", { name: "Map of the ride" }).locator("canvas").waitFor();
    const chart = ride.locator("figure").first();
    await chart.waitFor();
    await chart.scrollIntoViewIfNeeded();
    const box = await chart.boundingBox();
    const places = ride.locator("[data-highlighted]");
    await page.mouse.move(box.x + box.width / 3, box.y + box.height / 2);
    await places.first().waitFor();
    const first = await places.first().getAttribute("data-highlighted");
    await page.mouse.move(box.x + (2 * box.width) / 3, box.y + box.height / 2);
    await page.waitForFunction(
      (first) => {
        const place = document.querySelector("[data-highlighted]");
        return place && place.dataset.highlighted !== first;
      },
      first,
    );
    await visitor.picture("last-ride");
  });
});

test("a command that is sent lives on the page until it has succeeded", async () => {
  const bike = await online("bike");
  await visit({}, async (visitor, page) => {
    await visitor.goto(`/devices/${bike}`);
    const commands = page.getByRole("region", { name: "Commands" });
    await commands.getByLabel("Command", { exact: true }).fill("ring");
    await commands.getByRole("button", { name: "Send" }).click();
    await commands.getByRole("status").filter({ hasText: "ring" }).waitFor();
    const timeline = commands.locator("details").first();
    await timeline.locator("summary").filter({ hasText: "succeeded" }).waitFor({ timeout: 30_000 });
    if ((await timeline.getAttribute("open")) === null) await timeline.locator("summary").click();
    const steps = await timeline.getByRole("listitem").allInnerTexts();
    const order = ["accepted", "sent", "delivered", "succeeded"].map((status) =>
      steps.findIndex((step) => step.includes(status)),
    );
    assert.ok(order.every((at) => at >= 0), steps.join(" | "));
    assert.deepEqual(order, [...order].sort((a, b) => a - b), "each step in its turn");
    await visitor.picture("command");
  });
});

test("a command can be sent without a script", async () => {
  const bike = await online("bike");
  await visit({ javaScriptEnabled: false }, async (visitor, page) => {
    await visitor.goto(`/devices/${bike}`);
    const commands = page.getByRole("region", { name: "Commands" });
    await commands.getByLabel("Command", { exact: true }).fill("unlock");
    await commands.getByLabel("Dry run").check();
    await commands.getByRole("button", { name: "Send" }).click();
    await page.waitForURL(`**/devices/${bike}*`);
    const latest = page.getByRole("region", { name: "Commands" }).locator("details").first();
    assert.match(await latest.locator("summary").innerText(), /unlock[\s\S]*dry run/);
  });
});

test("what was set aside is mended on the page and put through again", async () => {
  const { server } = world;
  const car = await device("car");
  const code = `mended-${Date.now()}`;
  // Year 1999: it cannot be true.
  await server.api("POST", "/uploads", {
    device: car,
    stream: "fault",
    sent_at: new Date().toISOString(),
    samples: [{ time: "1999-05-05T05:05:05Z", code, severity: "info" }],
  });
  await server.settled();
  await visit({}, async (visitor, page) => {
    await visitor.goto(`/devices/${car}`);
    const quarantine = page.getByRole("region", { name: /quarantine/i });
    const item = quarantine.locator("details").filter({ hasText: code }).first();
    await item.locator("summary").click();
    const payload = item.getByRole("textbox");
    await payload.fill((await payload.inputValue()).replace("1999-", "2026-"));
    await item.getByRole("button", { name: "Replay" }).click();
    await quarantine.getByRole("status").filter({ hasText: "in the log again" }).waitFor();
  });
  await server.settled();
  const rows = await ask(`SELECT device FROM fault WHERE code = '${code}'`);
  assert.deepEqual(rows, [[car]]);
});

// A bike that has ridden, whatever it does now.
async function riding() {
  const rows = await until(async () => {
    const rows = await ask(
      "SELECT device, count(*) AS n FROM ride WHERE lat IS NOT NULL GROUP BY device ORDER BY n DESC LIMIT 1",
    );
    return rows.length > 0 && rows[0][1] > 30 ? rows : null;
  }, "a ride", 120_000);
  return rows[0][0];
}

async function online(kind) {
  return until(async () => {
    const { items } = await world.server.api("GET", "/devices?limit=1000");
    for (const { id } of items.filter((item) => item.kind === kind)) {
      if ((await world.server.api("GET", `/devices/${id}/state`)).online) return id;
    }
    return null;
  }, `a ${kind} that is connected`, 60_000);
}
