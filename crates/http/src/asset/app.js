// What every page has: parts that live, ages that stay true, keys. Each page shows its data
// without this script, too.

const connection = document.getElementById("connection");

function tell(tone, text) {
  if (!connection || connection.textContent === text) return;
  connection.textContent = text;
  connection.className = `pill is-${tone}`;
}

// An element with `data-live` names a source of Server-Sent Events; the events carry the names of
// the elements with `data-part` inside, and the HTML that stands there from now on.
function follow(root) {
  const source = new EventSource(root.dataset.live);
  source.onopen = () => tell("good", "live");
  source.onerror = () => tell("bad", "connection lost, trying again");
  for (const part of root.querySelectorAll("[data-part]")) {
    source.addEventListener(part.dataset.part, (event) => {
      if (isSelectedIn(part)) return;
      replace(part, event.data);
    });
  }
  window.addEventListener("pagehide", () => source.close());
}

// Whoever marks text in order to copy it keeps it.
function isSelectedIn(part) {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
}

// Replaces a part, and leaves the focus where it was.
function replace(part, html) {
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const key = focused && (focused.id || focused.getAttribute("href"));
  const scrolled = [...part.querySelectorAll(".scroll")].map((it) => it.scrollLeft);
  part.innerHTML = html;
  part.querySelectorAll(".scroll").forEach((it, index) => { it.scrollLeft = scrolled[index] ?? 0; });
  if (key) {
    const again = [...part.querySelectorAll("[id], [href]")]
      .find((it) => it.id === key || it.getAttribute("href") === key);
    again?.focus({ preventScroll: true });
  }
  globalThis.htmx?.process(part);
}

// The server's words for ages, so that both say the same.
function age(seconds) {
  if (seconds < 0) return "in the future";
  if (seconds < 2) return "now";
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

// How old a moment was when the server wrote it; from then on this page's own stopwatch counts,
// since the computer's clock may be wrong.
const written = new WeakMap();

function tick() {
  const now = performance.now();
  for (const time of document.querySelectorAll("time[data-age]")) {
    if (!written.has(time)) written.set(time, now - 1000 * Number(time.dataset.age));
    const text = age(Math.floor((now - written.get(time)) / 1000));
    if (time.textContent !== text) time.textContent = text;
  }
}

document.querySelectorAll("[data-live]").forEach(follow);
tick();
setInterval(tick, 1000);

// "/" goes to the search field, as in most consoles.
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.getElementById("search");
  if (search) { event.preventDefault(); search.focus(); }
});
