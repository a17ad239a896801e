// Every page that can be reached from the console's navigation, found by following links.

const PAGES_MAX = 60;
// Pages of one form that are visited.
const ALIKE_MAX = 1;

// The form of an address: what is the same for all devices, items or bikes.
function form(path) {
  const { pathname, searchParams } = new URL(path, "http://axle");
  const [, noun = "", ...rest] = pathname.split("/");
  const shown = rest.map((part, index) => (index === 0 ? ":id" : part));
  return [noun, ...shown].join("/") + [...searchParams.keys()].sort().join("&");
}

// Addresses of pages: all of `first`, and what can be reached from there.
export async function crawl(visitor, first = ["/"]) {
  const [found, forms, waiting] = [[], new Map(), [...first]];
  const seen = new Set(first);
  while (waiting.length > 0 && found.length < PAGES_MAX) {
    const path = waiting.shift();
    const count = forms.get(form(path)) ?? 0;
    if (count >= ALIKE_MAX && !first.includes(path)) continue;
    const answer = await visitor.goto(path);
    const type = answer.headers()["content-type"] ?? "";
    if (!answer.ok() || !type.startsWith("text/html")) continue;
    forms.set(form(path), count + 1);
    found.push(path);
    const links = await visitor.page.locator("a[href]").evaluateAll((all) =>
      all.filter((a) => !a.hasAttribute("download")).map((a) => a.href),
    );
    for (const link of links) {
      const url = new URL(link);
      const next = url.pathname + url.search;
      if (url.origin !== visitor.origin || seen.has(next)) continue;
      if (next.startsWith("/api/") || next.startsWith("/assets/")) continue;
      seen.add(next);
      waiting.push(next);
    }
  }
  return found;
}
