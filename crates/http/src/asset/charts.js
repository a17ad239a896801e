// Charts of a device's fields: reads the reduced history from the API and draws one chart a field.

import { broken, gapOf, join, plot } from "./plot.js";

const POINTS_MAX = 3000;
const SERIES_MAX = 12;
const REFRESH_MS = 10000;

class Charts {
  constructor(root) {
    this.root = root;
    this.fields = JSON.parse(root.dataset.fields);
    this.keys = JSON.parse(root.dataset.keys);
    this.plots = new Map();
    // The server's clock counts, not this computer's.
    this.end = Number(root.dataset.to);
    this.started = performance.now();
    this.stop = new AbortController();
  }

  // Milliseconds since 1970 of the range now.
  range() {
    const length = Number(this.root.dataset.length ?? 0);
    if (!length) return [Number(this.root.dataset.from), this.end];
    const end = this.end + Math.round(performance.now() - this.started);
    return [end - length, end];
  }

  async load() {
    const [from, to] = this.range();
    const query = new URLSearchParams({ from, to, max_points: POINTS_MAX, fields: this.fields.map((it) => it.name).join(",") });
    const response = await fetch(`${this.root.dataset.charts}?${query}`, {
      headers: { accept: "application/json" }, signal: this.stop.signal,
    });
    const body = await response.json();
    if (!response.ok) throw new Error(`${body.detail} (${body.code}, request ${body.request_id})`);
    this.draw(body, to - from);
  }

  draw(body, span) {
    const column = new Map(body.columns.map((it, index) => [it.name, index]));
    const keyOf = (row) => this.keys.map((key) => row[column.get(key)]).filter((it) => it).join(" ");
    const groups = new Map();
    for (const row of body.rows) {
      const key = this.keys.length ? keyOf(row) : "";
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(row);
    }
    const shown = [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, SERIES_MAX);
    // A reduced history has four values a slice at most; slices must not look like gaps.
    const least = body.reduced ? Math.max(60, (span / 1000 / Math.max(1, body.rows.length)) * 12) : 60;
    for (const field of this.fields) {
      const tables = shown.map(([, rows]) => {
        const xs = rows.map((row) => Date.parse(row[column.get("time")]) / 1000);
        return broken(xs, rows.map((row) => row[column.get(field.name)]), gapOf(xs, least));
      });
      const joined = tables.length > 1 ? join(tables) : tables[0] ?? [[], []];
      const series = shown.map(([label], index) => ({ label, ys: joined[index + 1], isSparse: joined[0].length < 60 }));
      this.put(field, joined[0], series.length ? series : [{ label: "", ys: [] }]);
    }
    this.say(groups.size > SERIES_MAX ? `The first ${SERIES_MAX} of ${groups.size} series are drawn.` : "");
    if (!body.rows.length) this.say("No row lies in this range.");
  }

  put(field, xs, series) {
    const known = this.plots.get(field.name);
    if (known) { known.update(xs, series); return; }
    const figure = document.createElement("figure");
    figure.className = "plot";
    this.root.append(figure);
    this.plots.set(field.name, plot(figure, { ...field, xs, series, sync: "device" }));
  }

  say(text) {
    this.note ??= Object.assign(document.createElement("p"), { className: "quiet" });
    this.note.textContent = text;
    if (text) this.root.append(this.note); else this.note.remove();
  }

  async run() {
    try {
      await this.load();
    } catch (error) {
      if (error.name !== "AbortError") this.say(`The charts cannot be drawn: ${error.message}`);
    }
    if (!this.root.isConnected) { this.close(); return; }
    const isLive = Number(this.root.dataset.length ?? 0) > 0;
    if (isLive) setTimeout(() => this.next(), REFRESH_MS);
  }

  next() {
    if (!this.root.isConnected) { this.close(); return; }
    if (document.hidden) { setTimeout(() => this.next(), REFRESH_MS); return; }
    this.run();
  }

  close() {
    this.stop.abort();
    this.plots.forEach((it) => it.destroy());
    this.plots.clear();
  }
}

function start(root) {
  for (const element of root.querySelectorAll("[data-charts]")) {
    if (element.charts) continue;
    element.charts = new Charts(element);
    element.charts.run();
  }
}

start(document);
document.addEventListener("htmx:load", (event) => start(event.target.parentElement ?? document));
