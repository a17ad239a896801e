// The ways that people go through the console.

import assert from "node:assert/strict";
import { test } from "node:test";
import { device, visit, world } from "./world.js";

test("a one-time link opens the console once", async () => {
  const link = await world.server.link();
  const first = await world.browser.visitor(world.server.origin);
  await first.goto(link);
  assert.equal(new URL(first.page.url()).pathname, "/");
  assert.ok(await first.page.getByRole("heading", { level: 1, name: "Overview" }).isVisible());
  await first.leave();
  const second = await world.browser.visitor(world.server.origin);
  second.expect(/403/);
  await second.goto(link);
  assert.ok(await second.page.getByRole("heading", { level: 1, name: /used up/ }).isVisible());
  await second.leave();
});

test("signing out ends the session", async () => {
  const visitor = await world.browser.visitor(world.server.origin);
  await visitor.goto(await world.server.link());
  await visitor.page.getByRole("button", { name: "Sign out" }).click();
  await visitor.page.waitForURL("**/login");
  await visitor.goto("/devices");
  assert.equal(new URL(visitor.page.url()).pathname, "/login");
  await visitor.leave();
});

test("the overview moves by itself", async () => {
  await visit({}, async (visitor, page) => {
    await visitor.goto("/");
    await page.getByRole("status").filter({ hasText: "live" }).waitFor();
    const latest = page.getByRole("region", { name: "Latest messages" }).first();
    const before = await latest.innerText();
    await page.waitForFunction(
      (before) => {
        const region = document.getElementById("latest-title").closest("section");
        return region.innerText !== before;
      },
      before,
    );
  });
});

test("search leads to a device and its latest values", async () => {
  const bike = await device("bike");
  await visit({}, async (visitor, page) => {
    await visitor.goto("/");
    await page.keyboard.press("/");
    await page.getByRole("searchbox", { name: "Search" }).fill(bike);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: bike }).waitFor();
    const values = page.getByRole("region", { name: "Latest values" });
    await values.getByRole("row", { name: /battery/i }).first().waitFor();
  });
});
