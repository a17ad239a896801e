// The live map: asks the server every two seconds what the view holds, and lets vehicles glide
// from where they were to where they are.

import { FONT, colors, createMap, maplibre } from "./basemap.js";

const REFRESH_MS = 2000;
const GLIDE_MS = 1000;
// A frame of the glide redraws all single vehicles; more of them need not be smoother.
const FRAME_MS = 40;
const GLIDE_VEHICLES_MAX = 400;
const TRAIL_MS = 5 * 60 * 1000;
const NOTHING = { type: "FeatureCollection", features: [] };

const element = document.getElementById("map");
const form = document.getElementById("find");
const status = document.getElementById("map-status");
const list = document.getElementById("map-list");
const counts = document.getElementById("map-counts");
const kinds = document.getElementById("kinds");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const state = {
  map: null, kind: element.dataset.kind || "", q: element.dataset.q || "",
  tag: null, address: "", asked: null, timer: 0,
  shown: new Map(), target: new Map(), clusters: [], gliding: 0, started: 0,
  trails: new Map(), followed: null, popup: null, selected: null, isTroubled: false,
};

// --- Words, the same as the server's ---

const number = new Intl.NumberFormat("en");
function age(seconds) {
  if (seconds < 2) return "now";
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}
const doing = (vehicle) => (vehicle.moving ? "moving" : vehicle.online ? "connected" : "not connected");
function say(text, isBad = false) {
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("is-bad", isBad);
}
function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// --- What the server says ---

async function ask(address, options = {}) {
  const response = await fetch(address, { ...options, headers: { Accept: "application/json, application/geo+json", ...options.headers } });
  if (response.status === 304) return { response, body: null };
  const body = await response.json().catch(() => null);
  if (!response.ok) throw Object.assign(new Error(body?.detail ?? `the server answers ${response.status}`), { status: response.status });
  return { response, body };
}

function viewAddress() {
  const query = new URLSearchParams();
  if (state.map) {
    const b = state.map.getBounds();
    // A little more than is seen, so that little is missing while one drags.
    const [dx, dy] = [(b.getEast() - b.getWest()) * 0.05, (b.getNorth() - b.getSouth()) * 0.05];
    const round = (degrees) => degrees.toFixed(5);
    const lat = (degrees) => round(Math.max(-90, Math.min(90, degrees)));
    query.set("bbox", [round(b.getWest() - dx), lat(b.getSouth() - dy), round(b.getEast() + dx), lat(b.getNorth() + dy)].join());
    query.set("zoom", Math.max(0, state.map.getZoom()).toFixed(2));
  } else if (element.dataset.bounds) {
    query.set("bbox", element.dataset.bounds);
    query.set("zoom", "3");
  }
  if (state.kind) query.set("kind", state.kind);
  if (state.q) query.set("q", state.q);
  return `/api/v1/map?${query}`;
}

async function refresh() {
  clearTimeout(state.timer);
  state.asked?.abort();
  const asked = new AbortController();
  state.asked = asked;
  const address = viewAddress();
  const headers = address === state.address && state.tag ? { "If-None-Match": state.tag } : {};
  try {
    const { response, body } = await ask(address, { signal: asked.signal, headers });
    if (body) {
      [state.address, state.tag] = [address, response.headers.get("ETag")];
      take(body);
    }
    if (state.followed) await keepFollowing();
    // Only the trouble is over: what a search has found stays to be read.
    if (state.isTroubled) say("");
    state.isTroubled = false;
  } catch (error) {
    if (error.name === "AbortError") return;
    state.isTroubled = true;
    if (error.status === 401) return say("Your session has ended: load the page again to sign in.", true);
    say(`No news from the server, trying again: ${error.message}`, true);
  }
  if (state.asked === asked) plan();
}

function plan() {
  clearTimeout(state.timer);
  if (!document.hidden) state.timer = setTimeout(refresh, REFRESH_MS);
}

function take(view) {
  const now = performance.now();
  state.clusters = [];
  const target = new Map();
  for (const feature of view.features) {
    const properties = feature.properties;
    if (properties.cluster) state.clusters.push(feature);
    else target.set(properties.device, { ...properties, at: feature.geometry.coordinates, seen: now });
  }
  trail(target);
  state.target = target;
  glide();
  write(view);
}

// --- Gliding: from where a vehicle is shown to where it is ---

function glide() {
  const from = new Map();
  let moves = false;
  for (const [device, vehicle] of state.target) {
    const before = state.shown.get(device)?.at ?? vehicle.at;
    // Over the antimeridian, and over half a screen, nobody glides.
    const isNear = Math.abs(before[0] - vehicle.at[0]) < 1;
    from.set(device, isNear ? before : vehicle.at);
    moves ||= isNear && (before[0] !== vehicle.at[0] || before[1] !== vehicle.at[1]);
  }
  cancelAnimationFrame(state.gliding);
  if (!moves || calm.matches || document.hidden || state.target.size > GLIDE_VEHICLES_MAX) return draw(from, 1);
  const started = performance.now();
  let last = 0;
  const step = (now) => {
    const share = Math.min(1, (now - started) / GLIDE_MS);
    if (now - last >= FRAME_MS || share === 1) {
      last = now;
      draw(from, share);
    }
    if (share < 1) state.gliding = requestAnimationFrame(step);
  };
  state.gliding = requestAnimationFrame(step);
}

function draw(from, share) {
  const features = [];
  state.shown = new Map();
  for (const [device, vehicle] of state.target) {
    const [a, b] = [from.get(device), vehicle.at];
    const at = share >= 1 ? b : [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share];
    state.shown.set(device, { ...vehicle, at });
    const properties = {
      device, kind: vehicle.kind, look: vehicle.moving ? "moving" : vehicle.online ? "online" : "offline",
      ...(vehicle.heading_deg === null ? {} : { heading: vehicle.heading_deg }),
      chosen: device === state.selected,
    };
    features.push({ type: "Feature", properties, geometry: { type: "Point", coordinates: at } });
  }
  const source = state.map?.getSource("fleet");
  if (!source) return;
  source.setData({ type: "FeatureCollection", features });
  if (share >= 1 || state.started !== state.clusters) {
    state.started = state.clusters;
    state.map.getSource("clusters").setData({ type: "FeatureCollection", features: state.clusters });
    state.map.getSource("trails").setData(trails());
  }
  if (state.popup && state.shown.has(state.selected)) state.popup.setLngLat(state.shown.get(state.selected).at);
}

// --- Trails: where vehicles in view were while one looked ---

function trail(target) {
  const now = performance.now();
  for (const [device, vehicle] of target) {
    const points = state.trails.get(device) ?? [];
    const last = points.at(-1);
    if (!last || last.at[0] !== vehicle.at[0] || last.at[1] !== vehicle.at[1]) points.push({ at: vehicle.at, now });
    while (points.length > 0 && now - points[0].now > TRAIL_MS) points.shift();
    state.trails.set(device, points);
  }
  // Who left the view is forgotten.
  for (const device of state.trails.keys()) if (!target.has(device)) state.trails.delete(device);
}

function trails() {
  const features = [];
  for (const points of state.trails.values()) {
    if (points.length < 2) continue;
    features.push({ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: points.map((point) => point.at) } });
  }
  return { type: "FeatureCollection", features };
}

// --- Layers ---

// An arrow that points north; layers turn it.
function arrow(color, edge) {
  const size = 44;
  const canvas = make("canvas", { width: size, height: size });
  const context = canvas.getContext("2d");
  context.beginPath();
  context.moveTo(22, 4);
  context.lineTo(36, 38);
  context.lineTo(22, 31);
  context.lineTo(8, 38);
  context.closePath();
  Object.assign(context, { lineJoin: "round", lineWidth: 7, strokeStyle: edge, fillStyle: color });
  context.stroke();
  context.fill();
  return context.getImageData(0, 0, size, size);
}

function decorate(map) {
  const c = colors();
  const byLook = ["match", ["get", "look"], "moving", c.moving, "online", c.online, c.offline];
  for (const look of ["moving", "online", "offline"]) {
    if (map.hasImage(look)) map.removeImage(look);
    map.addImage(look, arrow(c[look], c.stroke), { pixelRatio: 2 });
  }
  map.addSource("trails", { type: "geojson", data: trails() });
  map.addSource("clusters", { type: "geojson", data: NOTHING });
  map.addSource("fleet", { type: "geojson", data: NOTHING });
  map.addLayer({ id: "trails", type: "line", source: "trails", layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": c.trail, "line-width": 2, "line-opacity": 0.5 } });
  const radius = ["interpolate", ["linear"], ["log10", ["get", "count"]], 0.3, 13, 2, 20, 4, 30, 6, 40];
  const share = ["/", ["get", "online"], ["get", "count"]];
  map.addLayer({ id: "clusters", type: "circle", source: "clusters", paint: {
    "circle-radius": radius, "circle-color": ["interpolate", ["linear"], share, 0, c.offline, 0.5, c.cluster],
    "circle-stroke-width": ["case", [">", ["get", "moving"], 0], 3, 2],
    "circle-stroke-color": ["case", [">", ["get", "moving"], 0], c.moving, c.stroke],
  } });
  map.addLayer({ id: "cluster-counts", type: "symbol", source: "clusters", layout: {
    "text-field": ["case", [">=", ["get", "count"], 1000000], ["concat", ["number-format", ["/", ["get", "count"], 1000000], { "max-fraction-digits": 1 }], "M"],
      [">=", ["get", "count"], 1000], ["concat", ["number-format", ["/", ["get", "count"], 1000], { "max-fraction-digits": 1 }], "k"], ["to-string", ["get", "count"]]],
    "text-font": FONT, "text-size": 12, "text-allow-overlap": true, "text-ignore-placement": true,
  }, paint: { "text-color": c.clusterInk } });
  map.addLayer({ id: "chosen", type: "circle", source: "fleet", filter: ["get", "chosen"], paint: { "circle-radius": 16, "circle-color": c.accent, "circle-opacity": 0.25, "circle-stroke-color": c.accent, "circle-stroke-width": 2 } });
  map.addLayer({ id: "vehicles", type: "circle", source: "fleet", filter: ["!", ["has", "heading"]], paint: { "circle-radius": 6.5, "circle-color": byLook, "circle-stroke-color": c.stroke, "circle-stroke-width": 2 } });
  map.addLayer({ id: "arrows", type: "symbol", source: "fleet", filter: ["has", "heading"], layout: {
    "icon-image": ["get", "look"], "icon-rotate": ["get", "heading"], "icon-rotation-alignment": "map", "icon-allow-overlap": true, "icon-ignore-placement": true, 
  } });
  map.addLayer({ id: "names", type: "symbol", source: "fleet", minzoom: 12, layout: {
    "text-field": ["get", "device"], "text-font": FONT, "text-size": 11, "text-offset": [0, 1.1], "text-anchor": "top", "text-optional": true,
  }, paint: { "text-color": c.ink, "text-halo-color": c.halo, "text-halo-width": 1.4 } });
  draw(new Map([...state.target].map(([device, vehicle]) => [device, vehicle.at])), 1);
}

// --- Looking closer ---

function openCluster(properties, at) {
  const bounds = typeof properties.bounds === "string" ? JSON.parse(properties.bounds) : properties.bounds;
  let [west, south, east, north] = bounds;
  if (west > east) east += 360;
  if (east - west < 1e-5 && north - south < 1e-5) return fly(at, 17);
  move(() => state.map.fitBounds([[west, south], [east, north]], { padding: 70, maxZoom: 17, duration: calm.matches ? 0 : 600 }));
}

function fly(center, zoom) {
  move(() => state.map.flyTo({ center, zoom, duration: calm.matches ? 0 : 900 }));
}
function move(how) {
  if (state.map) how();
}

function facts(vehicle) {
  const rows = [["State", doing(vehicle)], ["Seen there", age(Math.round(vehicle.age_s + (performance.now() - vehicle.seen) / 1000))]];
  if (vehicle.kind) rows.unshift(["Kind", vehicle.kind]);
  if (vehicle.speed_kmh !== null) rows.push(["Speed", `${vehicle.speed_kmh} km/h`]);
  if (vehicle.battery_pct !== null) rows.push(["Battery", `${vehicle.battery_pct} %`]);
  return rows;
}

function describe(rows) {
  const box = make("dl");
  for (const [name, value] of rows) box.append(make("dt", { textContent: name }), make("dd", { textContent: value }));
  return box;
}

// Opens what is known of a vehicle; `found` says where it is if it stands in a cluster.
async function choose(device, found = null) {
  const vehicle = state.shown.get(device) ?? found;
  if (!vehicle || !state.map) return;
  state.popup?.remove();
  state.selected = device;
  const follow = make("button", { type: "button", className: "quiet", textContent: "Follow" });
  const tell = () => {
    const isOn = state.followed === device;
    follow.textContent = isOn ? "Stop following" : "Follow";
    follow.setAttribute("aria-pressed", String(isOn));
  };
  follow.addEventListener("click", () => {
    state.followed = state.followed === device ? null : device;
    tell();
    if (state.followed) keepFollowing();
  });
  tell();
  const link = make("a", { href: `/devices/${encodeURIComponent(device)}`, textContent: "Device page" });
  const body = make("div", { className: "vehicle" }, make("h2", { textContent: device }), vehicle.time ? describe(facts(vehicle)) : "",
    make("p", { className: "bar" }, link, follow));
  const popup = new maplibre.Popup({ offset: 14, maxWidth: "20rem", focusAfterOpen: true }).setLngLat(vehicle.at).setDOMContent(body).addTo(state.map);
  popup.on("close", () => {
    if (state.popup !== popup) return;
    [state.popup, state.selected, state.followed] = [null, null, null];
    draw(new Map(), 1);
  });
  state.popup = popup;
  draw(new Map(), 1);
  try {
    const { body: latest } = await ask(`/api/v1/devices/${encodeURIComponent(device)}/state`);
    const known = /\.(lat|lon|speed_kmh|battery_pct)$/;
    const rows = Object.entries(latest.fields).filter(([name]) => !(vehicle.time && known.test(name))).slice(0, 8)
      .map(([name, field]) => [name, `${field.value} · ${age(field.age_s)}`]);
    if (rows.length > 0) body.insertBefore(describe(rows), body.lastElementChild);
  } catch (error) {
    body.insertBefore(make("p", { className: "meta", textContent: error.message }), body.lastElementChild);
  }
}

async function keepFollowing() {
  const device = state.followed;
  const vehicle = state.target.get(device) ?? (await place(device).catch(() => null));
  if (vehicle && state.followed === device) {
    state.map?.easeTo({ center: vehicle.at, duration: calm.matches ? 0 : GLIDE_MS, easing: (share) => share });
  }
}

// Where a device is, wherever one looks.
async function place(device) {
  const { body } = await ask(`/api/v1/devices/${encodeURIComponent(device)}/state`);
  const fixes = Object.keys(body.fields).filter((name) => name.endsWith(".lat"))
    .map((name) => ({ lat: body.fields[name], lon: body.fields[name.replace(/lat$/, "lon")] }));
  const best = fixes.filter((fix) => fix.lat && fix.lon).sort((a, b) => a.lat.age_s - b.lat.age_s)[0];
  return best ? { at: [best.lon.value, best.lat.value] } : null;
}

async function find(text) {
  const { body } = await ask(`/api/v1/devices?search=${encodeURIComponent(text)}&limit=20`);
  const found = body.items.find((item) => item.id === text) ?? body.items[0];
  if (!found) return say(`No device has “${text}” in its id or name.`, true);
  const vehicle = await place(found.id);
  if (!vehicle) return say(`${found.id} has not reported a position yet.`, true);
  say(`${found.id} found.`);
  // A filter would hide what was looked for.
  if (state.kind || state.q) chooseKind("");
  fly(vehicle.at, 16);
  state.map?.once("moveend", async () => {
    await refresh();
    choose(found.id, vehicle);
  });
}

// --- The list beside the map, for keyboards, screen readers and browsers without WebGL ---

function write(view) {
  counts.replaceChildren(
    make("strong", { textContent: number.format(view.total) }), ` in view · ${number.format(view.online)} connected · ${number.format(view.moving)} moving`,
    view.complete ? "" : " · still reading the fleet");
  writeKinds(view.kinds);
  if (list.closest("details")?.open) writeList();
}

function writeKinds(found) {
  const names = [...new Set([...Object.keys(found), ...(state.kind ? [state.kind] : [])])].sort();
  const all = Object.values(found).reduce((sum, count) => sum + count, 0);
  const entries = [["", "All", all], ...names.filter(Boolean).map((name) => [name, name, found[name] ?? 0])];
  const text = JSON.stringify([entries, state.kind]);
  if (kinds.dataset.shown === text) return;
  kinds.dataset.shown = text;
  const focused = document.activeElement?.closest?.("#kinds") ? document.activeElement.value : null;
  kinds.replaceChildren(...entries.map(([value, name, count]) => {
    const button = make("button", { type: "button", value, className: "quiet" }, name, " ", make("span", { className: "meta", textContent: number.format(count) }));
    button.setAttribute("aria-pressed", String(value === state.kind));
    return button;
  }));
  if (focused !== null) kinds.querySelector(`button[value="${CSS.escape(focused)}"]`)?.focus();
}

function writeList() {
  const rows = [];
  for (const cluster of state.clusters.slice(0, 100)) {
    const { count, online, moving } = cluster.properties;
    const button = make("button", { type: "button", className: "quiet", textContent: `${number.format(count)} vehicles` });
    button.addEventListener("click", () => openCluster(cluster.properties, cluster.geometry.coordinates));
    rows.push(row(button, cluster.geometry.coordinates, `${number.format(online)} connected, ${number.format(moving)} moving`, ""));
  }
  for (const [device, vehicle] of [...state.target].slice(0, 300)) {
    const link = make("a", { href: `/devices/${encodeURIComponent(device)}`, textContent: device });
    rows.push(row(link, vehicle.at, doing(vehicle), age(vehicle.age_s)));
  }
  // What has the focus is not taken away from under it.
  if (list.contains(document.activeElement)) return;
  list.replaceChildren(...rows);
}

function row(what, at, how, when) {
  const cell = (...children) => make("td", {}, ...children);
  return make("tr", {}, cell(what), cell(`${at[1].toFixed(4)}, ${at[0].toFixed(4)}`), cell(how), cell(when));
}

function chooseKind(kind) {
  state.kind = kind;
  state.q = "";
  refresh();
}

kinds.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) chooseKind(button.value);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = new FormData(form).get("q").trim();
  if (text) find(text).catch((error) => say(error.message, true));
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(state.timer) : refresh()));
list.closest("details")?.addEventListener("toggle", () => writeList());

// --- Start ---

function start(map) {
  state.map = map;
  for (const layer of ["clusters", "vehicles", "arrows"]) {
    map.on("mouseenter", layer, () => { map.getCanvas().style.cursor = "pointer"; });
    map.on("mouseleave", layer, () => { map.getCanvas().style.cursor = ""; });
  }
  map.on("click", (event) => {
    const near = [[event.point.x - 6, event.point.y - 6], [event.point.x + 6, event.point.y + 6]];
    const layers = ["arrows", "vehicles", "clusters"].filter((layer) => map.getLayer(layer));
    const [hit] = map.queryRenderedFeatures(near, { layers });
    if (!hit) return;
    if (hit.layer.id === "clusters") openCluster(hit.properties, hit.geometry.coordinates);
    else choose(hit.properties.device);
  });
  // Whoever drags the map has seen enough of the one that was followed.
  map.on("dragstart", () => { state.followed = null; });
  let wait = 0;
  map.on("moveend", () => {
    clearTimeout(wait);
    wait = setTimeout(refresh, 80);
  });
  map.on("error", (event) => console.warn(event.error?.message ?? event));
  map.once("idle", () => { element.dataset.drawn = String(Math.round(performance.now())); });
}

const bounds = element.dataset.bounds?.split(",").map(Number);
const view = bounds?.length === 4
  ? { bounds: [[bounds[0], bounds[1]], [bounds[2], bounds[3]]], fitBoundsOptions: { padding: 60, maxZoom: 13 } }
  : { center: [10, 25], zoom: 1.2 };
try {
  const made = await createMap(element, { ...view, hash: "at" }, decorate);
  start(made);
} catch (error) {
  const reason = /webgl/i.test(error.message) ? "this browser offers no WebGL" : error.message;
  element.replaceChildren(make("p", { className: "map-note", textContent: `The map cannot be drawn: ${reason}. The list below shows the same vehicles.` }));
  element.classList.add("is-off");
  const details = list.closest("details");
  if (details) details.open = true;
}
refresh();
