// People: invitations, passwords, passkeys, and what each role sees.

import assert from "node:assert/strict";
import { test } from "node:test";
import { accessible } from "./audit.js";
import { crawl } from "./pages.js";
import { device, visit, world } from "./world.js";

const PASSWORD = "three green trams at night";

// Adds a person as the administrator does; the link that is shown once.
async function invite(name, role, devices = "") {
  let link;
  await visit({}, async (visitor, page) => {
    await visitor.goto("/users");
    await page.getByLabel("Name to sign in with").fill(name);
    await page.getByLabel("Role").selectOption(role);
    if (devices) await page.getByLabel(/Devices of a household/).fill(devices);
    await page.getByRole("button", { name: /Add and make a link/ }).click();
    const said = await page.getByRole("status").filter({ hasText: name }).innerText();
    link = new URL(/https?:\S+/.exec(said)[0]);
  });
  return link.pathname + link.search;
}

// Follows an invitation and chooses a password.
async function accept(visitor, link) {
  const { page } = visitor;
  await visitor.goto(link);
  await accessible(page, "the invitation");
  await page.getByLabel("New password").fill(PASSWORD);
  await page.getByLabel("The same again").fill(PASSWORD);
  await page.getByRole("button", { name: "Set the password" }).click();
}

async function signIn(visitor, name, password) {
  await visitor.goto("/login");
  await visitor.page.getByLabel("Name").fill(name);
  await visitor.page.getByLabel("Password").fill(password);
  await visitor.page.getByRole("button", { name: "Sign in", exact: true }).click();
}

test("a household signs in with a password and sees its own device alone", async () => {
  const meter = await device("meter");
  const bike = await device("bike");
  const name = `home-${Date.now()}`;
  const link = await invite(name, "household", meter);
  const first = await world.browser.visitor(world.server.origin);
  await accept(first, link);
  await first.page.getByRole("button", { name: "Sign out" }).click();
  await first.leave();

  const visitor = await world.browser.visitor(world.server.origin);
  const { page } = visitor;
  await signIn(visitor, name, PASSWORD);
  await page.waitForURL(/\/energy/);
  const own = await crawl(visitor, ["/devices"]);
  assert.ok(own.some((path) => path.startsWith(`/devices/${meter}`)), own.join(" "));
  const others = own.filter((path) => /^\/(devices|energy)\/./.test(path) && !path.includes(meter));
  assert.deepEqual(others, []);
  visitor.expect(/40[34]/);
  for (const path of [`/devices/${bike}`, `/energy/${bike}`, "/users", "/query", "/system"]) {
    const answer = await visitor.goto(path);
    assert.ok([403, 404].includes(answer.status()), `${path}: ${answer.status()}`);
    assert.ok(!(await page.getByRole("main").innerText()).includes("km/h"), path);
  }
  const answer = await page.request.get(`${world.server.origin}/api/v1/devices/${bike}/state`, {
    headers: { "sec-fetch-site": "same-origin" },
  });
  assert.equal(answer.status(), 404, "the API answers as for a device that is not there");
  await visitor.leave();
});

test("a wrong password is refused without saying what is wrong", async () => {
  const visitor = await world.browser.visitor(world.server.origin);
  visitor.expect(/401|403/);
  const answers = [];
  for (const name of ["nobody-at-all", "admin"]) {
    await signIn(visitor, name, "not the password at all");
    answers.push(await visitor.page.getByRole("alert").innerText());
  }
  assert.equal(answers[0], answers[1]);
  await accessible(visitor.page, "the refused sign-in");
  await visitor.leave();
});

test("an invitation works once", async () => {
  const link = await invite(`once-${Date.now()}`, "support");
  const first = await world.browser.visitor(world.server.origin);
  await accept(first, link);
  await first.page.waitForURL((url) => url.pathname === "/");
  await first.leave();
  const second = await world.browser.visitor(world.server.origin);
  second.expect(/40[34]|410/);
  await second.goto(link);
  assert.equal(await second.page.getByLabel("New password").count(), 0);
  await second.leave();
});

// A browser with an authenticator in software that says yes by itself.
async function withAuthenticator(origin) {
  const visitor = await world.browser.visitor(origin);
  const devtools = await visitor.context.newCDPSession(visitor.page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return { visitor, send: (verb, rest = {}) => devtools.send(verb, { authenticatorId, ...rest }) };
}

test("a passkey signs in without a password", async () => {
  // Passkeys belong to a name, so the console is visited by one.
  const origin = world.server.origin.replace("127.0.0.1", "localhost");
  const link = await invite(`key-${Date.now()}`, "operator");
  const { visitor } = await withAuthenticator(origin);
  const { page } = visitor;
  await visitor.goto(link);
  await page.getByRole("button", { name: /passkey/i }).click();
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Use a passkey" }).click();
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  await visitor.leave();
});

test("a copied passkey and one that asks nobody sign nobody in", async () => {
  const origin = world.server.origin.replace("127.0.0.1", "localhost");
  const link = await invite(`copy-${Date.now()}`, "support");
  const { visitor, send } = await withAuthenticator(origin);
  const { page } = visitor;
  const use = () => page.getByRole("button", { name: "Use a passkey" }).click();
  const told = (words) => page.getByRole("status").filter({ hasText: words }).waitFor();
  visitor.expect(/401/);
  await visitor.goto(link);
  await page.getByRole("button", { name: /passkey/i }).click();
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await use();
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  const [credential] = (await send("WebAuthn.getCredentials")).credentials;
  await send("WebAuthn.clearCredentials");
  await send("WebAuthn.addCredential", { credential: { ...credential, signCount: 0 } });
  await use();
  await told("has been copied");
  await send("WebAuthn.clearCredentials");
  await send("WebAuthn.addCredential", { credential: { ...credential, signCount: 100 } });
  await send("WebAuthn.setUserVerified", { isUserVerified: false });
  await use();
  await told("Try again");
  await send("WebAuthn.setUserVerified", { isUserVerified: true });
  await use();
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  await visitor.leave();
});
