// The pages beside the devices: map, energy.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./server.js";
import { device, visit, world } from "./world.js";

test("the map shows the fleet, and comes closer to a vehicle that is looked for", async () => {
  const car = await device("car");
  await until(async () => {
    const map = await world.server.api("GET", "/map?bbox=-180,-85,180,85&zoom=1");
    return map.features.length > 0;
  }, "positions", 60_000);
  await visit({}, async (visitor, page) => {
    await visitor.goto("/map");
    const map = page.getByRole("region", { name: "Live map of the fleet" });
    await map.locator("canvas").first().waitFor();
    const count = Number(/\d+/.exec(await page.locator("#map-counts").innerText())[0]);
    assert.ok(count > 0, "vehicles are in view");
    const find = page.getByRole("search", { name: "Find a vehicle" });
    await find.getByRole("searchbox").fill(car);
    await find.getByRole("button", { name: "Find" }).click();
    await page.getByRole("link", { name: car }).first().waitFor({ state: "attached" });
    await visitor.picture("map");
  });
});

test("the map's list leads to a vehicle without a script", async () => {
  const car = await device("car");
  await visit({ javaScriptEnabled: false }, async (visitor, page) => {
    await visitor.goto(`/map?q=${car}`);
    await page.getByRole("link", { name: car }).first().click();
    assert.ok(await page.getByRole("heading", { level: 1, name: car }).isVisible());
  });
});

test("a household's use can be read by day, week, month and year", async () => {
  const meter = await device("meter");
  await visit({}, async (visitor, page) => {
    await visitor.goto("/energy");
    await page.getByRole("link", { name: meter }).click();
    await page.getByRole("heading", { level: 2, name: "Now" }).waitFor();
    assert.match(await page.getByRole("main").innerText(), /\d\s*(k?W|Wh|kWh)/);
    for (const period of ["Week", "Month", "Year", "Day"]) {
      await page.getByRole("link", { name: period, exact: true }).click();
      await page.waitForURL(new RegExp(`period=${period.toLowerCase()}`));
      assert.ok((await page.getByRole("main").innerText()).length > 100, period);
    }
    await visitor.picture("energy");
  });
});
