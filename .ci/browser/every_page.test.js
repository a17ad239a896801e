// What holds for every page of the console.

import assert from "node:assert/strict";
import { test } from "node:test";
import { accessible, content, fits } from "./audit.js";
import { LOOKS } from "./browser.js";
import { crawl } from "./pages.js";
import { device, visit, world } from "./world.js";

let pages = [];

test("every link of the console leads to a page", async () => {
  await visit({}, async (visitor) => {
    const answers = [];
    visitor.page.on("response", (answer) => answers.push([answer.status(), answer.url()]));
    const kinds = await Promise.all(["bike", "car", "meter"].map(device));
    const first = ["/", ...kinds.map((id) => `/devices/${id}`), "/search?q=bike"];
    pages = await crawl(visitor, first);
    assert.ok(pages.length > 3, pages.join(" "));
    assert.deepEqual(answers.filter(([status]) => status >= 400), []);
  });
});

for (const look of LOOKS) {
  test(`every page is readable by everyone: ${look.name}`, async (t) => {
    const { name, ...options } = look;
    for (const path of pages) {
      await t.test(path, () =>
        visit({ ...options, reducedMotion: "reduce" }, async (visitor, page) => {
          await visitor.goto(path);
          await page.waitForLoadState("load");
          await fits(page, path);
          await accessible(page, path);
          await visitor.picture(`${path.replaceAll(/[^a-z0-9]+/gi, "-").slice(0, 60)}-${name}`);
        }),
      );
    }
  });
}

test("every page shows its data without a script", async (t) => {
  for (const path of pages) {
    await t.test(path, async () => {
      let scripted;
      await visit({}, async (visitor, page) => {
        await visitor.goto(path);
        scripted = await content(page);
      });
      await visit({ javaScriptEnabled: false }, async (visitor, page) => {
        await visitor.goto(path);
        const plain = await content(page);
        assert.equal(plain.title, scripted.title);
        assert.deepEqual(plain.sections, scripted.sections);
        assert.ok(plain.length > 20, "there is something to read");
      });
    });
  }
});

test("every page can be walked through by keyboard", async (t) => {
  for (const path of pages) {
    await t.test(path, () =>
      visit({}, async (visitor, page) => {
        await visitor.goto(path);
        await page.keyboard.press("Tab");
        const first = await page.evaluate(() => document.activeElement?.textContent?.trim());
        if (path !== "/docs") assert.equal(first, "Skip to the content");
        const reached = new Set();
        for (let step = 0; step < 12; step += 1) {
          await page.keyboard.press("Tab");
          const outlined = await page.evaluate(() => {
            const element = document.activeElement;
            if (!element || element === document.body) return null;
            const style = getComputedStyle(element);
            const isShown = style.outlineStyle !== "none" || style.boxShadow !== "none";
            return { name: element.outerHTML.slice(0, 120), isShown };
          });
          if (outlined === null) break;
          assert.ok(outlined.isShown, `the focus can be seen on ${outlined.name}`);
          reached.add(outlined.name);
        }
        assert.ok(reached.size > 2, `${reached.size} places reached`);
      }),
    );
  }
});

test("a page that is not there says so, with the way back", async () => {
  await visit({}, async (visitor, page) => {
    visitor.expect(/404/);
    const answer = await visitor.goto("/no/such/page");
    assert.equal(answer.status(), 404);
    await accessible(page, "404");
    assert.ok(await page.getByRole("link", { name: "Overview" }).count());
  });
});

test("who is not signed in sees the way in and nothing else", async () => {
  const visitor = await world.browser.visitor(world.server.origin);
  for (const path of pages.filter((path) => path !== "/docs")) {
    await visitor.goto(path);
    assert.equal(new URL(visitor.page.url()).pathname, "/login", path);
  }
  await accessible(visitor.page, "/login");
  await visitor.leave();
});
