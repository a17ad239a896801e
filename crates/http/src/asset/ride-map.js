// A ride on a map: a line that is colored by speed, its start, its end, and a dot that follows
// what a chart beside it points at.

import { colors, createMap, maplibre } from "./basemap.js";

// Slow to fast; told apart by lightness too.
const SPEEDS = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];
// Further apart in time than this, two points say nothing about the way between them.
const GAP_MS = 10 * 60 * 1000;

const isPlace = (point) => Number.isFinite(point?.lat) && Number.isFinite(point?.lon);
const at = (point) => [point.lon, point.lat];
const millis = (time) => (typeof time === "number" ? time : Date.parse(time));
const speedOf = (point) => point.speed_kmh ?? point.speed;

/** The pieces of the ride as features, each between two neighbors, with the speed of the second. */
function pieces(points) {
  const features = [];
  for (let index = 1; index < points.length; index += 1) {
    const [from, to] = [points[index - 1], points[index]];
    if (!isPlace(from) || !isPlace(to)) continue;
    const apart = millis(to.time) - millis(from.time);
    const isGap = Number.isFinite(apart) && Math.abs(apart) > GAP_MS;
    const speed = speedOf(to);
    const properties = { gap: isGap, ...(Number.isFinite(speed) ? { speed } : {}) };
    features.push({ type: "Feature", properties, geometry: { type: "LineString", coordinates: [at(from), at(to)] } });
  }
  return { type: "FeatureCollection", features };
}

function marks(points) {
  const mark = (point, name) => ({ type: "Feature", properties: { name }, geometry: { type: "Point", coordinates: at(point) } });
  return { type: "FeatureCollection", features: [mark(points.at(-1), "end"), mark(points[0], "start")] };
}

const NOTHING = { type: "FeatureCollection", features: [] };

function decorate(map, points, most) {
  const c = colors();
  const ramp = SPEEDS.flatMap((color, index) => [(most * index) / (SPEEDS.length - 1), color]);
  const color = most > 0
    ? ["case", ["has", "speed"], ["interpolate", ["linear"], ["max", 0, ["get", "speed"]], ...ramp], c.trail] : c.trail;
  map.addSource("ride", { type: "geojson", data: pieces(points), tolerance: 0.2 });
  map.addSource("marks", { type: "geojson", data: marks(points.filter(isPlace)) });
  map.addSource("here", { type: "geojson", data: NOTHING });
  const layout = { "line-join": "round", "line-cap": "round" };
  map.addLayer({ id: "ride-edge", type: "line", source: "ride", layout, filter: ["!", ["get", "gap"]], paint: { "line-color": c.stroke, "line-width": 6, "line-opacity": 0.7 } });
  map.addLayer({ id: "ride-gap", type: "line", source: "ride", filter: ["get", "gap"], paint: { "line-color": c.soft, "line-width": 1.5, "line-dasharray": [2, 3] } });
  map.addLayer({ id: "ride", type: "line", source: "ride", layout, filter: ["!", ["get", "gap"]], paint: { "line-color": color, "line-width": 3.5 } });
  map.addLayer({ id: "marks", type: "circle", source: "marks", paint: { "circle-radius": 6, "circle-color": ["match", ["get", "name"], "start", c.moving, c.accent], "circle-stroke-color": c.stroke, "circle-stroke-width": 2 } });
  map.addLayer({ id: "here", type: "circle", source: "here", paint: { "circle-radius": 7, "circle-color": c.cluster, "circle-stroke-color": c.stroke, "circle-stroke-width": 2.5 } });
}

function legend(most) {
  const box = document.createElement("p");
  box.className = "ride-legend";
  const part = (className, text) => {
    const span = document.createElement("span");
    span.className = className;
    span.textContent = text;
    return span;
  };
  box.append(part("is-start", "start"), part("is-end", "end"));
  if (most > 0) box.append(part("is-slow", "0"), part("is-ramp", ""), part("is-fast", `${Math.round(most)} km/h`));
  return box;
}

function failure(element, text) {
  const note = document.createElement("p");
  note.className = "map-note";
  note.setAttribute("role", "status");
  note.textContent = text;
  element.replaceChildren(note);
}

/**
 * Shows a ride. `points` are `{lat, lon, time, speed_kmh?}` in the order of time; those without a
 * place are kept for the indexes and not drawn. Returns `highlight(index)`, which puts the dot at
 * a point and takes it away without one, and `destroy()`.
 */
export function showRide(element, points) {
  const places = points.filter(isPlace);
  if (places.length === 0) {
    failure(element, "No point of this ride has a place.");
    return { highlight() {}, destroy() { element.replaceChildren(); } };
  }
  // The fastest of a thousand may be a jump of the receiver: the ramp ends at the 98th percentile.
  const speeds = places.map(speedOf).filter(Number.isFinite).sort((a, b) => a - b);
  const most = speeds.length ? speeds[Math.floor((speeds.length - 1) * 0.98)] : 0;
  const bounds = new maplibre.LngLatBounds();
  places.forEach((point) => bounds.extend(at(point)));
  const options = { bounds, fitBoundsOptions: { padding: 36, maxZoom: 15 }, cooperativeGestures: false };
  let map = null;
  let isGone = false;
  let index = null;
  const show = () => {
    const point = points[index];
    const feature = { type: "Feature", properties: {}, geometry: { type: "Point", coordinates: isPlace(point) ? at(point) : [0, 0] } };
    map?.getSource("here")?.setData(isPlace(point) ? feature : NOTHING);
  };
  element.classList.add("map-canvas");
  createMap(element, options, (made) => {
    decorate(made, points, most);
    map = made;
    show();
  }).then((made) => {
    if (isGone) return made.remove();
    map = made;
    element.append(legend(most));
  }).catch((error) => failure(element, `The map cannot be drawn: ${error.message}`));
  return {
    highlight(wanted) {
      index = wanted;
      // Which point the dot stands at, for whoever cannot see it.
      if (wanted === null) delete element.dataset.highlighted;
      else element.dataset.highlighted = String(wanted);
      show();
    },
    destroy() {
      isGone = true;
      map?.remove();
      map = null;
    },
  };
}
