// The query editor: asks the API, can take a question back, and shows the answer as a table, a
// chart or a map. The form works without this script, too.

import { plot } from "./plot.js";

const ROWS_SHOWN = 500;
const SERIES_MAX = 8;
const form = document.getElementById("query");
const sql = document.getElementById("sql");
const [run, cancel] = [document.getElementById("run"), document.getElementById("cancel")];
const [result, clock] = [document.getElementById("query-result"), document.getElementById("query-clock")];
const progress = document.getElementById("progress");
let running = null;
let undo = [];

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const group = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");

function clear() {
  undo.forEach((it) => it());
  undo = [];
}

function fault(problem) {
  clear();
  const code = element("p", { className: "meta" }, "Code ", element("code", {}, problem.code));
  if (problem.request_id) code.append(" · request ", element("code", {}, problem.request_id));
  const notice = element("div", { className: "notice is-bad", id: "query-fault" }, element("p", {}, element("strong", {}, problem.detail)), code);
  notice.setAttribute("role", "alert");
  result.replaceChildren(notice);
  sql.setAttribute("aria-invalid", "true");
}

async function ask() {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  const started = performance.now();
  const tick = setInterval(() => {
    const seconds = (performance.now() - started) / 1000;
    if (seconds > 0.3) clock.textContent = `running, ${seconds.toFixed(1)} s`;
  }, 100);
  progress.classList.add("is-on");
  run.disabled = true;
  cancel.hidden = false;
  sql.removeAttribute("aria-invalid");
  try {
    const response = await fetch("/api/v1/query", {
      method: "POST", signal: mine.signal, body: JSON.stringify({ sql: sql.value }),
      headers: { "content-type": "application/json", accept: "application/json" },
    });
    const body = await response.json();
    if (response.ok) show(body, performance.now() - started); else fault(body);
    clock.textContent = "";
  } catch (error) {
    if (error.name === "AbortError") clock.textContent = "canceled";
    else fault({ code: "console.unreachable", detail: `the server cannot be reached: ${error.message}` });
  } finally {
    clearInterval(tick);
    if (running === mine) {
      running = null;
      progress.classList.remove("is-on");
      run.disabled = false;
      cancel.hidden = true;
    }
  }
}

function show(body, took) {
  clear();
  const title = element("h2", { id: "answer-title" }, `${group(body.rows.length)} ${body.rows.length === 1 ? "row" : "rows"}`);
  const bar = element("div", { className: "bar" }, title, element("span", { className: "quiet" }, `in ${Math.round(took)} ms`));
  if (body.truncated) bar.append(element("span", { className: "pill is-warn" }, "cut at the limit"));
  if (body.rows.length > ROWS_SHOWN) bar.append(element("span", { className: "quiet" }, `the table shows the first ${ROWS_SHOWN}`));
  const area = element("div", { className: "answer" });
  const views = [["Table", () => table(area, body)]];
  if (numeric(body).length && body.rows.length > 1) views.push(["Chart", () => chart(area, body)]);
  const places = columnsOfPlace(body);
  if (places && body.rows.length) views.push(["Map", () => map(area, body, places)]);
  const choice = element("div", { className: "choice end" });
  choice.setAttribute("role", "group");
  choice.setAttribute("aria-label", "Show as");
  for (const [label, draw] of views) {
    const button = element("button", { type: "button" }, label);
    button.setAttribute("aria-pressed", String(label === "Table"));
    button.addEventListener("click", () => {
      choice.querySelectorAll("button").forEach((it) => it.setAttribute("aria-pressed", String(it === button)));
      clear();
      area.className = "answer";
      area.replaceChildren();
      draw();
    });
    choice.append(button);
  }
  if (views.length > 1) bar.append(choice);
  const panel = element("section", { className: "panel" }, bar, area);
  panel.setAttribute("aria-labelledby", "answer-title");
  result.replaceChildren(panel);
  table(area, body);
}

const isNumber = (column) => /int|double|float|decimal|real|numeric/.test(column.type);
const isTime = (column) => /timestamp|date/.test(column.type);
const numeric = (body) => body.columns.map((column, index) => ({ ...column, index })).filter(isNumber);

function table(area, body) {
  const head = element("tr", {}, ...body.columns.map((it) => element("th", { title: it.type, className: isNumber(it) ? "right" : "" }, it.name)));
  const rows = body.rows.slice(0, ROWS_SHOWN).map((row) => element("tr", {}, ...row.map((cell, index) => {
    if (cell === null) return element("td", { className: "quiet" }, "null");
    return element("td", { className: isNumber(body.columns[index]) ? "right" : "" }, String(cell));
  })));
  const scroll = element("div", { className: "scroll", tabIndex: 0 }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  scroll.setAttribute("role", "group");
  scroll.setAttribute("aria-labelledby", "answer-title");
  area.replaceChildren(scroll);
}

function select(label, options, chosen, changed) {
  const made = element("select", {}, ...options.map(({ index, name }) => element("option", { value: index, selected: index === chosen }, name)));
  made.addEventListener("change", () => changed(Number(made.value)));
  return element("label", {}, `${label} `, made);
}

function chart(area, body) {
  const columns = body.columns.map((column, index) => ({ ...column, index }));
  const abscissas = columns.filter((it) => isTime(it) || isNumber(it));
  const texts = columns.filter((it) => !isTime(it) && !isNumber(it));
  const none = { index: -1, name: "none" };
  let x = (columns.find(isTime) ?? abscissas[0]).index;
  let y = (numeric(body).find((it) => it.index !== x) ?? numeric(body)[0]).index;
  let by = texts.length === 1 ? texts[0].index : -1;
  const figure = element("figure", { className: "plot" });
  let drawn = null;
  const draw = () => {
    drawn?.destroy();
    const abscissa = columns[x];
    const at = (value) => (isTime(abscissa) ? Date.parse(value) / 1000 : Number(value));
    const names = by < 0 ? [""] : [...new Set(body.rows.map((row) => String(row[by])))].slice(0, SERIES_MAX);
    const rows = body.rows.filter((row) => row[x] !== null).map((row) => [at(row[x]), row]).sort(([a], [b]) => a - b);
    const series = names.map((label) => ({
      label, isSparse: rows.length < 100,
      ys: rows.map(([, row]) => (by < 0 || String(row[by]) === label ? row[y] : undefined)),
    }));
    drawn = plot(figure, { label: columns[y].name, unit: "", xs: rows.map(([value]) => value), series, isTime: isTime(abscissa), height: 360 });
  };
  const bar = element("div", { className: "bar" },
    select("x", abscissas, x, (index) => { x = index; draw(); }),
    select("y", numeric(body), y, (index) => { y = index; draw(); }));
  if (texts.length) bar.append(select("one line for each", [none, ...texts], by, (index) => { by = index; draw(); }));
  area.replaceChildren(bar, figure);
  draw();
  undo.push(() => drawn?.destroy());
}

function columnsOfPlace(body) {
  const find = (...names) => body.columns.findIndex((it) => names.includes(it.name.toLowerCase()) && isNumber(it));
  const [lat, lon] = [find("lat", "latitude"), find("lon", "lng", "longitude")];
  return lat >= 0 && lon >= 0 ? { lat, lon } : null;
}

// One device with times is a way; anything else is places.
async function map(area, body, { lat, lon }) {
  const place = element("div", { className: "query-map" });
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", "Map of the answer");
  area.replaceChildren(place);
  const find = (name) => body.columns.findIndex((it) => it.name === name);
  const [time, device, speed] = [find("time"), find("device"), find("speed_kmh")];
  const rows = body.rows.filter((row) => row[lat] !== null && row[lon] !== null);
  const devices = new Set(device < 0 ? [] : rows.map((row) => row[device]));
  try {
    if (time >= 0 && devices.size === 1) {
      const { showRide } = await import("./ride-map.js");
      const points = rows.map((row) => ({ lat: row[lat], lon: row[lon], time: Date.parse(row[time]), speed_kmh: speed < 0 ? null : row[speed] }));
      const shown = showRide(place, points.sort((a, b) => a.time - b.time));
      undo.push(() => shown.destroy());
      return;
    }
    const { colors, createMap, maplibre } = await import("./basemap.js");
    const bounds = new maplibre.LngLatBounds();
    rows.forEach((row) => bounds.extend([row[lon], row[lat]]));
    const features = rows.map((row) => ({ type: "Feature", properties: {}, geometry: { type: "Point", coordinates: [row[lon], row[lat]] } }));
    const drawn = await createMap(place, { bounds, fitBoundsOptions: { padding: 36, maxZoom: 14 } }, (made) => {
      const c = colors();
      made.addSource("places", { type: "geojson", data: { type: "FeatureCollection", features } });
      made.addLayer({ id: "places-of-rows", type: "circle", source: "places", paint: { "circle-radius": 5, "circle-color": c.cluster, "circle-stroke-color": c.stroke, "circle-stroke-width": 1.5, "circle-opacity": 0.8 } });
    });
    undo.push(() => drawn.remove());
  } catch (error) {
    place.textContent = `The map cannot be drawn: ${error.message}`;
  }
}

form.addEventListener("submit", (event) => {
  if (event.submitter?.id === "csv") return;
  event.preventDefault();
  ask();
});
cancel.addEventListener("click", () => { running?.abort(); sql.focus(); });
sql.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
});
for (const example of document.querySelectorAll("[data-example]")) {
  const use = element("button", { type: "button" }, "Use");
  use.addEventListener("click", () => { sql.value = example.textContent; sql.focus(); ask(); });
  example.after(use);
}
