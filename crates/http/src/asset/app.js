// What every page has: parts that live, ages that stay true, keys. Each page shows its data
// without this script, too.

// An element with `data-live` names a source of Server-Sent Events; the events carry the names of
// the elements with `data-part` inside, and the HTML that stands there from now on. A part with
// `data-lines` grows at its top instead, up to so many entries. A page that nobody sees lets go of
// its connection, since a browser has few of them for all pages together.
function follow(root) {
  const status = document.querySelector(root.dataset.connection ?? "#connection");
  const tell = (tone, text) => {
    if (!status || status.textContent === text) return;
    status.textContent = text;
    status.className = `pill is-${tone}`;
  };
  let source = null;
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(root.dataset.live);
    source.onopen = () => tell("good", "live");
    source.onerror = () => tell("bad", "connection lost, trying again");
    for (const part of root.querySelectorAll("[data-part]")) {
      source.addEventListener(part.dataset.part, (event) => put(part, event.data));
    }
  };
  const close = () => { source?.close(); source = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
}

function put(part, html) {
  if (part.dataset.lines) return add(part, html);
  if (isSelectedIn(part) || isEditedIn(part)) return;
  replace(part, html);
}

// What comes while a list is paused waits for its turn.
function add(part, html) {
  if (part.waiting) {
    part.waiting.push(html);
    if (part.waiting.length > Number(part.dataset.lines)) part.waiting.shift();
    return;
  }
  part.insertAdjacentHTML("afterbegin", html);
  while (part.children.length > Number(part.dataset.lines)) part.lastElementChild.remove();
}

for (const button of document.querySelectorAll("[data-pause]")) {
  const part = document.querySelector(`[data-part="${button.dataset.pause}"]`);
  button.hidden = false;
  button.addEventListener("click", () => {
    const waiting = part.waiting;
    part.waiting = waiting ? null : [];
    button.setAttribute("aria-pressed", String(!waiting));
    button.textContent = waiting ? "Pause" : "Go on";
    waiting?.forEach((html) => add(part, html));
  });
}

// Whoever writes into a form keeps what is written.
function isEditedIn(part) {
  if (part.contains(document.activeElement) && document.activeElement.matches("input, textarea")) return true;
  return [...part.querySelectorAll("textarea, input")].some((it) => it.value !== it.defaultValue);
}

// Whoever marks text in order to copy it keeps it.
function isSelectedIn(part) {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
}

const keyOf = (details) => details.dataset.key ?? "";

// Replaces a part, and leaves the focus, and what is folded, as it was.
function replace(part, html) {
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const key = focused && (focused.id || focused.getAttribute("href"));
  const opened = new Set([...part.querySelectorAll("details[open]")].map(keyOf));
  const closed = new Set([...part.querySelectorAll("details:not([open])")].map(keyOf));
  const scrolled = [...part.querySelectorAll(".scroll")].map((it) => it.scrollLeft);
  part.innerHTML = html;
  for (const details of part.querySelectorAll("details")) {
    if (opened.has(keyOf(details))) details.open = true;
    if (closed.has(keyOf(details))) details.open = false;
  }
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

// On a phone the navigation is a row that is longer than the screen.
const current = document.querySelector(".side [aria-current]");
const row = current?.closest("ul");
if (row) row.scrollLeft = current.offsetLeft - (row.clientWidth - current.clientWidth) / 2;

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
