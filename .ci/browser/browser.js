// A browser that forgives nothing: a request to another origin, a violation of the content
// security policy, an error on the console, a dialog or a failed request fails the test.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 844 };
const ACTION_MS = 15_000;

// The ways in which a page is looked at: each width and each color scheme once; where people want
// pictures, each with each.
export const LOOKS = [
  { name: "wide-light", viewport: WIDE, colorScheme: "light" },
  { name: "narrow-dark", viewport: NARROW, colorScheme: "dark" },
  ...(process.env.AXLE_SCREENSHOTS
    ? [
        { name: "wide-dark", viewport: WIDE, colorScheme: "dark" },
        { name: "narrow-light", viewport: NARROW, colorScheme: "light" },
      ]
    : []),
];

export class Browser {
  static async start() {
    const browser = await chromium.launch({
      executablePath: process.env.AXLE_CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
      ],
    });
    return new Browser(browser);
  }

  constructor(browser) {
    this.browser = browser;
  }

  // A person's browser window: cookies of its own, and a page that is watched.
  async visitor(origin, options = {}) {
    const context = await this.browser.newContext({ viewport: WIDE, ...options });
    context.setDefaultTimeout(ACTION_MS);
    const visitor = new Visitor(origin, context);
    await context.route("**/*", (route) => visitor.admit(route));
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
      });
    });
    visitor.page = await visitor.open();
    return visitor;
  }

  stop() {
    return this.browser.close();
  }
}

export class Visitor {
  constructor(origin, context) {
    Object.assign(this, { origin, context, faults: [], expected: [] });
  }

  // One more page of the same person.
  async open() {
    const page = await this.context.newPage();
    page.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      // What the software renderer says of its own speed is no fault of the page.
      if (!message.text().includes("GL Driver Message")) this.#fault(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.#fault(`script: ${error.message}`));
    page.on("dialog", (dialog) => {
      this.#fault(`dialog: ${dialog.message()}`);
      return dialog.dismiss();
    });
    return page;
  }

  admit(route) {
    const url = new URL(route.request().url());
    if (url.origin === this.origin || ["data:", "blob:"].includes(url.protocol)) {
      return route.continue();
    }
    this.#fault(`request to another origin: ${url}`);
    return route.abort();
  }

  // The browser itself reports an answer of 4xx as an error of the console; a test that wants such
  // an answer says so.
  expect(pattern) {
    this.expected.push(pattern);
  }

  #fault(text) {
    if (!this.expected.some((pattern) => pattern.test(text))) this.faults.push(text);
  }

  goto(path, options) {
    return this.page.goto(new URL(path, this.origin).href, options);
  }

  // Ends the visit; nothing may have gone wrong.
  async leave() {
    await this.context.close();
    assert.deepEqual(this.faults, [], "nothing goes wrong behind the page");
  }

  // A picture for people, where they want pictures.
  async picture(name, page = this.page) {
    const folder = process.env.AXLE_SCREENSHOTS;
    if (!folder) return;
    await mkdir(folder, { recursive: true });
    await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  }
}

// Signs a person in with a one-time link; what they are then is kept for others.
export async function signIn(browser, server) {
  const visitor = await browser.visitor(server.origin);
  await visitor.goto(await server.link());
  const session = await visitor.context.storageState();
  await visitor.leave();
  return session;
}
