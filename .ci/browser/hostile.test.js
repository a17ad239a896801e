// What devices, plants and apps send is text, whatever it looks like: nothing of it becomes part
// of a page.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { Browser, signIn } from "./browser.js";
import { crawl } from "./pages.js";
import { Server } from "./server.js";

const run = promisify(execFile);

// Each leaves a mark in the page if it is taken for markup.
const CORPUS = [
  "<script data-planted>alert(1)</script>",
  "<img data-planted src=x onerror=alert(1)>",
  '"><svg data-planted onload=alert(1)>',
  "' autofocus onfocus=alert(1) data-planted='",
  "</title></textarea></pre><b data-planted>",
  "javascript:alert(1)",
  "<a data-planted href=javascript:alert(1)>here</a>",
  "<!--<b data-planted>-->",
  "{{constructor.constructor('alert(1)')()}}",
  "\u202egnp.exe",
];

let server;
let browser;
let session;

before(async () => {
  server = await Server.start();
  browser = await Browser.start();
  session = await signIn(browser, server);
  await plant();
});

after(async () => {
  await browser?.stop();
  await server?.stop();
});

async function publish(topic, payload) {
  const [host, port] = server.addresses.mqtts.split(":");
  const key = (name) => join(server.folder, "keys", name);
  await run("mosquitto_pub", [
    "-h", host, "-p", port, "-i", "evil-1", "-q", "1", "-t", topic, "-m", payload,
    "--cafile", key("ca.crt"), "--cert", key("evil-1.crt"), "--key", key("evil-1.key"),
  ]);
}

async function plant() {
  await server.axle("device", "add", "evil-1", "--out", join(server.folder, "keys"));
  const time = new Date().toISOString();
  for (const [index, text] of CORPUS.entries()) {
    const short = text.slice(0, 60);
    await server.api("PUT", `/devices/evil-name-${index}`, { name: short, kind: short });
    const word = text.replaceAll(/[/+#]/g, "");
    await publish(`v1/d/evil-1/e/${word}`, text);
    await publish("v1/d/evil-1/t/status", JSON.stringify({ time, firmware: text, [text]: text }));
    await publish("v1/d/evil-1/t/status", text);
    await server.api("POST", "/uploads", {
      device: "evil-1",
      stream: "fault",
      sent_at: time,
      samples: [{ time, code: text, severity: text, component: text, message: text }],
    });
    await server.api("POST", "/uploads", {
      device: "evil-1",
      stream: "ride",
      sent_at: time,
      samples: [{ time: "2099-01-01T00:00:00Z", [text]: text }],
    });
    await server.api("POST", "/devices/evil-1/commands", { name: "unlock", payload: { text } });
    await feed(text, index);
  }
  await server.settled();
}

async function feed(text, index) {
  const component = `evil-part-${index}`;
  await server.api(
    "POST",
    "/feeds/evil/batches",
    {
      records: [
        { type: "device", id: "evil-1", kind: text, name: text, model: text },
        { type: "component", serial: component, kind: "battery", model: text },
        { type: "component", serial: text, kind: text, model: text },
        { type: "installation", serial: component, device: "evil-1", from: text },
      ],
    },
    { "idempotency-key": `evil-${index}` },
  );
}

async function untouched(page, where) {
  await page.waitForLoadState("load");
  assert.equal(await page.locator("[data-planted]").count(), 0, where);
  const links = await page.locator("a[href], form[action]").evaluateAll((all) =>
    all.map((one) => one.getAttribute("href") ?? one.getAttribute("action")),
  );
  assert.deepEqual(links.filter((link) => /^\s*javascript:/i.test(link)), [], where);
}

for (const javaScriptEnabled of [true, false]) {
  test(`nothing that was sent acts: scripts ${javaScriptEnabled ? "on" : "off"}`, async (t) => {
    const visitor = await browser.visitor(server.origin, {
      storageState: session,
      javaScriptEnabled,
    });
    visitor.expect(/400|404|422/);
    const questions = CORPUS.flatMap((text) => [
      `/search?q=${encodeURIComponent(text)}`,
      `/devices?search=${encodeURIComponent(text)}`,
      `/query?sql=${encodeURIComponent(text)}`,
    ]);
    const pages = [...(await crawl(visitor)), "/devices/evil-1", ...questions];
    assert.ok(pages.length > questions.length + 3, pages.join(" "));
    for (const path of pages) {
      await t.test(path, async () => {
        await visitor.goto(path);
        await untouched(visitor.page, path);
      });
    }
    await t.test("behind the pages", () => visitor.leave());
  });
}

test("what was sent is shown as it is", async () => {
  const visitor = await browser.visitor(server.origin, { storageState: session });
  await visitor.goto("/devices");
  const main = await visitor.page.getByRole("main").innerText();
  for (const text of CORPUS.slice(0, 3)) {
    assert.ok(main.includes(text.slice(0, 60)), `${text} is there to read`);
  }
  await visitor.leave();
});
