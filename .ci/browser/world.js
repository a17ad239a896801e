// One server full of life, one browser, and an administrator: all tests share them.

import { after, before } from "node:test";
import { Browser, signIn } from "./browser.js";
import { Server, until } from "./server.js";

// Set before the first test.
export const world = { server: null, browser: null, admin: null };

before(async () => {
  world.server = await Server.start("demo", ["--bikes", "6", "--cars", "2", "--meters", "2"]);
  world.browser = await Browser.start();
  world.admin = await signIn(world.browser, world.server);
  await until(async () => {
    const rows = await ask("SELECT count(*) FROM ride");
    return rows[0][0] > 0;
  }, "the first rides", 60_000);
});

after(async () => {
  await world.browser?.stop();
  await world.server?.stop();
});

// Rows of a question.
export async function ask(sql) {
  return (await world.server.api("POST", "/query", { sql })).rows;
}

// A device of the fleet.
export async function device(kind) {
  const { items } = await world.server.api("GET", "/devices?limit=1000");
  return items.find((device) => device.kind === kind).id;
}

// Visits as the administrator, and makes sure that nothing went wrong meanwhile.
export async function visit(options, walk) {
  const visitor = await world.browser.visitor(world.server.origin, {
    storageState: world.admin,
    ...options,
  });
  try {
    await walk(visitor, visitor.page);
  } catch (error) {
    await visitor.picture(`failed-${Date.now()}`);
    error.message += `\n  at ${visitor.page.url()}, behind the page: ${visitor.faults.join("; ")}`;
    await visitor.context.close();
    throw error;
  }
  await visitor.leave();
}
