// A chart of values over time (or over any number) in the console's colors.

import uPlot from "./vendor/uplot.js";

const COLORS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];
const live = new Set();

// At most six digits, as the server writes numbers.
export function written(number) {
  if (number === null || number === undefined) return "–";
  return String(Number(number.toPrecision(6)));
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Moments of an axis in UTC: the day where it changes, the time else.
function moments(_, ticks) {
  let before = "";
  const isDaily = ticks.length > 1 && ticks[1] - ticks[0] >= 86400;
  return ticks.map((seconds) => {
    const text = new Date(seconds * 1000).toISOString();
    const [day, time] = [text.slice(0, 10), text.slice(11, ticks.length > 1 && ticks[1] - ticks[0] < 60 ? 19 : 16)];
    const isNew = day !== before;
    before = day;
    if (isDaily) return day;
    return isNew ? `${time}\n${day}` : time;
  });
}

// Draws into `figure`: `{label, unit, xs, series: [{label, ys}], isTime, sync, onCursor}`. `ys`
// has `null` where a line must break and `undefined` where a series has nothing to say. Returns
// `{update(xs, series), destroy()}`.
export function plot(figure, chart) {
  const caption = document.createElement("figcaption");
  const title = document.createElement("strong");
  title.textContent = chart.label;
  const unit = document.createElement("span");
  unit.textContent = chart.unit ?? "";
  const value = document.createElement("output");
  caption.append(title, " ", unit, value);
  const area = document.createElement("div");
  area.className = "area";
  area.setAttribute("role", "img");
  figure.replaceChildren(caption, area);
  let drawn = null;
  let data = [chart.xs, ...chart.series.map((it) => it.ys)];

  function summary() {
    const numbers = data.slice(1).flat().filter((it) => typeof it === "number");
    if (!numbers.length) return "no values";
    let [least, most] = [Infinity, -Infinity];
    for (const number of numbers) {
      if (number < least) least = number;
      if (number > most) most = number;
    }
    return `${written(least)} to ${written(most)}`;
  }

  function tell(index) {
    const shown = chart.series.map((it, series) => {
      const number = index === null ? undefined : data[series + 1][index];
      return number === null || number === undefined ? null : `${it.label ? `${it.label} ` : ""}${written(number)}`;
    }).filter((it) => it !== null);
    value.textContent = shown.length ? shown.join(" · ") : summary();
    area.setAttribute("aria-label", `${chart.label}${chart.unit ? `, ${chart.unit}` : ""}: ${summary()}`);
  }

  function draw() {
    drawn?.destroy();
    const [ink, line] = [color("--soft"), color("--line")];
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui, sans-serif" };
    drawn = new uPlot({
      width: Math.max(area.clientWidth, 160),
      height: chart.height ?? 150,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: { x: { time: chart.isTime ?? true, range: (_, least, most) => (least === most && least !== null ? [least - 30, most + 30] : [least, most]) } },
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: chart.sync ? { key: chart.sync } : undefined },
      axes: [{ ...axis, space: 70, values: chart.isTime === false ? (_, ticks) => ticks.map(written) : moments }, { ...axis, size: 52, values: (_, ticks) => ticks.map(written) }],
      series: [{}, ...chart.series.map((it, index) => ({
        label: it.label || chart.label,
        stroke: color(COLORS[index % COLORS.length]),
        width: 1.5,
        dash: index < COLORS.length ? undefined : [4, 3],
        points: { show: it.isSparse ?? data[0].length === 1, size: 4 },
      }))],
      hooks: {
        setCursor: [(self) => {
          const index = self.cursor.idx ?? null;
          tell(index);
          chart.onCursor?.(index);
        }],
      },
    }, data, area);
    tell(null);
  }

  const resized = new ResizeObserver(() => {
    if (drawn && area.clientWidth > 0) drawn.setSize({ width: area.clientWidth, height: chart.height ?? 150 });
  });
  draw();
  resized.observe(area);
  live.add(draw);
  return {
    update(xs, series) {
      data = [xs, ...series.map((it) => it.ys)];
      if (series.length !== chart.series.length) { chart.series = series; draw(); return; }
      chart.series = series;
      drawn.setData(data);
      tell(null);
    },
    destroy() {
      live.delete(draw);
      resized.disconnect();
      drawn?.destroy();
      drawn = null;
    },
  };
}

// Breaks lines where nothing was reported for a while: `[xs, ys]` with `null` in each gap.
export function broken(xs, ys, gap) {
  const [outX, outY] = [[], []];
  let last = null;
  xs.forEach((x, index) => {
    const y = ys[index];
    if (y === null || y === undefined) return;
    if (last !== null && x - last > gap) { outX.push((x + last) / 2); outY.push(null); }
    outX.push(x);
    outY.push(y);
    last = x;
  });
  return [outX, outY];
}

// The silence that breaks a line: well above the usual distance of values.
export function gapOf(xs, least) {
  const steps = [];
  for (let index = 1; index < xs.length; index += 1) {
    if (xs[index] > xs[index - 1]) steps.push(xs[index] - xs[index - 1]);
  }
  steps.sort((a, b) => a - b);
  const median = steps[Math.floor(steps.length / 2)] ?? 0;
  const high = steps[Math.floor(steps.length * 0.9)] ?? 0;
  return Math.max(least, median * 10, high * 3);
}

export const join = uPlot.join;

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => live.forEach((draw) => draw()));
