// The last ride: hovering over a chart moves a dot on the map.

import { broken, plot } from "./plot.js";

const FIELDS = [
  ["speed_kmh", "speed", "km/h"],
  ["altitude_m", "altitude", "m"],
  ["battery_pct", "battery", "%"],
  ["heart_rate_bpm", "heart rate", "bpm"],
];

async function start(root) {
  const points = JSON.parse(document.getElementById(root.dataset.ride).textContent);
  const seconds = points.map((point) => point.time / 1000);
  let map = null;
  const highlight = (time) => {
    if (!map) return;
    if (time === null) { map.highlight(null); return; }
    map.highlight(nearest(seconds, time));
  };
  for (const [name, label, unit] of FIELDS) {
    const [xs, ys] = broken(seconds, points.map((point) => point[name]), 120);
    if (!xs.length) continue;
    const figure = document.createElement("figure");
    figure.className = "plot";
    root.querySelector(".ride-charts").append(figure);
    plot(figure, {
      label, unit, xs, series: [{ label: "", ys }], height: 120, sync: "ride",
      onCursor: (index) => highlight(index === null ? null : xs[index]),
    });
  }
  const place = root.querySelector(".ride-map");
  try {
    const { showRide } = await import("./ride-map.js");
    map = await showRide(place, points);
  } catch (error) {
    place.textContent = `The map cannot be drawn: ${error.message}`;
  }
}

// The index of the place nearest in time.
function nearest(seconds, time) {
  let [low, high] = [0, seconds.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (seconds[middle] < time) low = middle + 1; else high = middle;
  }
  return low > 0 && time - seconds[low - 1] < seconds[low] - time ? low - 1 : low;
}

document.querySelectorAll("[data-ride]").forEach(start);
