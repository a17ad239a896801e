// The pages beside the devices: map, energy.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./server.js";
import { device, visit, world } from "./world.js";

test("the map shows the fleet, and comes closer to a vehicle that is looked for", async () => {
  const car = await device("car");
  await until(async () => {
    const { fields } = await world.server.api("GET", `/devices/${car}/state`);
    return "status.lat" in fields;
  }, "a position", 60_000);
  await visit({}, async (visitor, page) => {
    await visitor.goto("/map");
    const map = page.getByRole("region", { name: "Live map of the fleet" });
    await map.locator("canvas").first().waitFor();
    const count = Number(/\d+/.exec(await page.locator("#map-counts").innerText())[0]);
    assert.ok(count > 0, "vehicles are in view");
    const find = page.getByRole("search", { name: "Find a vehicle" });
    await find.getByRole("searchbox").fill(car);
    await find.getByRole("button", { name: "Find" }).click();
    const popup = page.locator(".maplibregl-popup");
    await popup.getByRole("heading", { name: car }).waitFor();
    const follow = popup.getByRole("button", { name: "Follow" });
    await follow.click();
    await popup.getByRole("button", { name: "Stop following", pressed: true }).waitFor();
    await visitor.picture("map");
    await popup.getByRole("link", { name: "Device page" }).click();
    await page.getByRole("heading", { level: 1, name: car }).waitFor();
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

test("a browser that cannot draw the map says so and shows the list", async () => {
  await visit({}, async (visitor, page) => {
    visitor.expect(/webgl|context/i);
    await page.addInitScript(() => {
      HTMLCanvasElement.prototype.getContext = () => null;
    });
    await visitor.goto("/map");
    await page.getByText("this browser offers no WebGL").waitFor();
    await page.locator("#map-list tr").first().waitFor({ state: "visible" });
  });
});

test("what nobody has is said until one looks for something else", async () => {
  await visit({}, async (visitor, page) => {
    await visitor.goto("/map");
    const find = page.getByRole("search", { name: "Find a vehicle" });
    const refreshed = () => page.waitForResponse((answer) => answer.url().includes("/api/v1/map"));
    await refreshed();
    await find.getByRole("searchbox").fill("nobody-has-this");
    await find.getByRole("button", { name: "Find" }).click();
    const status = page.getByRole("status").filter({ hasText: "nobody-has-this" });
    await status.waitFor();
    await refreshed();
    await refreshed();
    assert.ok(await status.isVisible());
  });
});

test("a household's use can be read by day, week, month and year", async () => {
  const meter = await device("meter");
  await visit({}, async (visitor, page) => {
    await visitor.goto("/energy");
    await page.getByRole("link", { name: meter }).click();
    await page.getByRole("heading", { level: 2, name: "Now" }).waitFor();
    assert.match(await page.getByRole("main").innerText(), /\d\s*(k?W|Wh|kWh)/);
    for (const period of ["week", "month", "year", "day"]) {
      await page.getByRole("link", { name: period, exact: true }).click();
      await page.waitForURL(new RegExp(`period=${period}`));
      assert.ok((await page.getByRole("main").innerText()).length > 100, period);
    }
    await visitor.picture("energy");
  });
});
