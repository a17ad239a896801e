// What holds for every page: one title, readable by everyone, no sideways scrolling on a phone,
// the same content without scripts.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const axe = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");

// Fails on any violation of the rules that can be checked by a machine.
export async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }),
  );
  const found = violations.map(({ id, help, nodes }) => {
    const places = nodes.slice(0, 3).map((node) => node.html.slice(0, 160));
    return `${id} (${nodes.length}): ${help}: ${places.join(" … ")}`;
  });
  assert.equal(found.join("\n"), "", where);
}

// Fails when the page is wider than the window.
export async function fits(page, where) {
  const { needed, there } = await page.evaluate(() => ({
    needed: document.documentElement.scrollWidth,
    there: document.documentElement.clientWidth,
  }));
  assert.ok(needed <= there, `${where}: ${needed} px wide in a window of ${there}`);
}

// The words of a page's content that do not change from second to second.
export async function content(page) {
  const heading = page.getByRole("heading", { level: 1 });
  assert.equal(await heading.count(), 1, `${page.url()} has one title`);
  return {
    title: await heading.innerText(),
    sections: await page.getByRole("main").getByRole("heading", { level: 2 }).allInnerTexts(),
    length: (await page.getByRole("main").innerText()).length,
  };
}
