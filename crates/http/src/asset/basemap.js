// A map of the world without the world: MapLibre over one PMTiles file of this server. Labels are
// drawn with the fonts of the computer, so that no glyphs are loaded.

import * as maplibre from "./vendor/maplibre-gl.js";

maplibre.setWorkerUrl(new URL("./vendor/maplibre-gl-worker.js", import.meta.url).href);

// The workers load while the archive is being opened.
maplibre.prewarm();

export { maplibre };

const dark = matchMedia("(prefers-color-scheme: dark)");
const FONT = ["system-ui", "sans-serif"];

// The archive's reader is a classic script; it is there when this promise resolves.
let reader = null;
function loadReader() {
  reader ??= new Promise((resolve, reject) => {
    if (globalThis.pmtiles) return resolve(globalThis.pmtiles);
    const script = document.createElement("script");
    script.src = new URL("./vendor/pmtiles.js", import.meta.url).href;
    script.onload = () => resolve(globalThis.pmtiles);
    script.onerror = () => reject(new Error("the reader of the map's tiles cannot be loaded"));
    document.head.append(script);
  }).then(({ Protocol, PMTiles }) => {
    const protocol = new Protocol({ metadata: true });
    maplibre.addProtocol("pmtiles", protocol.tile);
    return { protocol, PMTiles };
  });
  return reader;
}

// The style sheets of a map, where the page has not brought them itself.
function loadStyle(name) {
  const href = new URL(name, import.meta.url).href;
  if ([...document.styleSheets].some((sheet) => sheet.href === href)) return null;
  return new Promise((resolve) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
    // A map without its style is better than none.
    link.onload = link.onerror = resolve;
    document.head.append(link);
  });
}

// Opens the archive; says its address, zooms and layers.
async function openArchive(address) {
  const { protocol, PMTiles } = await loadReader();
  const url = new URL(address, location.href).href;
  let archive = protocol.get(url);
  if (!archive) {
    archive = new PMTiles(url);
    protocol.add(archive);
  }
  const [header, metadata] = await Promise.all([archive.getHeader(), archive.getMetadata()]);
  const layers = new Set((metadata?.vector_layers ?? []).map((layer) => layer.id));
  const attribution = metadata?.attribution || "";
  return { url, layers, attribution, maxzoom: header.maxZoom, minzoom: header.minZoom };
}

export function colors() {
  return dark.matches
    ? {
        water: "#10202e", land: "#1c242c", park: "#1b2b24", urban: "#232c35", line: "#3b4855",
        state: "#2b3641", river: "#183247", road: "#33404c", motorway: "#46535f", ink: "#b9c4cf",
        soft: "#8594a3", halo: "#141b22", building: "#27313b",
        moving: "#4ade80", online: "#7db3ff", offline: "#8b98a5", stroke: "#0f1419",
        cluster: "#7db3ff", clusterInk: "#0b1420", trail: "#7db3ff", accent: "#f0c070",
      }
    : {
        water: "#c9dfec", land: "#f6f4ef", park: "#dfeadb", urban: "#ece8e0", line: "#a9a3b4",
        state: "#d5d0da", river: "#b3d0e2", road: "#ffffff", motorway: "#f1d9a8", ink: "#36414d",
        soft: "#66727f", halo: "#ffffff", building: "#e2ddd3",
        moving: "#15803d", online: "#1d5fbf", offline: "#6b7785", stroke: "#ffffff",
        cluster: "#1d5fbf", clusterInk: "#ffffff", trail: "#1d5fbf", accent: "#b45309",
      };
}

const NAME = ["coalesce", ["get", "name:en"], ["get", "name"]];

const area = (id, source, color, more = {}) =>
  ({ id, type: "fill", source: "base", "source-layer": source, paint: { "fill-color": color }, ...more });
const line = (id, source, color, width, more = {}) => ({
  id, type: "line", source: "base", "source-layer": source,
  layout: { "line-join": "round", "line-cap": "round" },
  paint: { "line-color": color, "line-width": width }, ...more,
});
const label = (id, source, c, size, layout = {}, more = {}) => ({
  id, type: "symbol", source: "base", "source-layer": source,
  layout: { "text-field": NAME, "text-font": FONT, "text-size": size, "text-max-width": 8, "text-padding": 6, ...layout },
  paint: { "text-color": c.ink, "text-halo-color": c.halo, "text-halo-width": 1.2 }, ...more,
});
const byZoom = (...stops) => ["interpolate", ["linear"], ["zoom"], ...stops];

// Small places say from which zoom on they are drawn.
const SHOWN = [">=", ["zoom"], ["coalesce", ["get", "from"], 0]];

// The embedded map: see tools/basemap.
function ownLayers(c) {
  return [
    { id: "ground", type: "background", paint: { "background-color": c.water } },
    area("land", "land", c.land),
    area("lakes", "lakes", c.water),
    line("rivers", "rivers", c.river, byZoom(4, 0.4, 8, 1.4, 14, 3)),
    line("states", "states", c.state, byZoom(4, 0.4, 8, 1), { paint: { "line-color": c.state, "line-width": 0.8, "line-dasharray": [3, 2] } }),
    line("borders", "borders", c.line, byZoom(1, 0.4, 6, 1.1, 12, 2)),
    {
      ...label("places", "places", c, byZoom(3, ["match", ["get", "rank"], 0, 12, 1, 11, 10], 7, ["match", ["get", "rank"], 0, 16, 1, 14, 2, 13, 3, 12, 11], 12, ["match", ["get", "rank"], 0, 22, 1, 20, 2, 18, 3, 16, 4, 14, 13]),
        { "symbol-sort-key": ["-", ["get", "rank"], ["*", 2, ["coalesce", ["get", "capital"], 0]]], "text-variable-anchor": ["top", "bottom", "left", "right"], "text-radial-offset": 0.5 }, { filter: SHOWN }),
    },
    {
      id: "places-dots", type: "circle", source: "base", "source-layer": "places",
      filter: ["all", [">=", ["zoom"], 5], SHOWN],
      paint: { "circle-radius": byZoom(5, 1.4, 10, 2.4), "circle-color": c.soft, "circle-stroke-color": c.halo, "circle-stroke-width": 0.8 },
    },
    {
      ...label("countries", "countries", c, byZoom(1, 9, 4, 13, 7, 16), { "symbol-sort-key": ["get", "rank"], "text-letter-spacing": 0.08, "text-transform": "uppercase" }),
      maxzoom: 7,
      paint: { "text-color": c.soft, "text-halo-color": c.halo, "text-halo-width": 1.2 },
    },
  ];
}

// An archive of Protomaps.
function protomapsLayers(c) {
  const kind = (...kinds) => ["in", ["get", "kind"], ["literal", kinds]];
  return [
    { id: "ground", type: "background", paint: { "background-color": c.land } },
    area("earth", "earth", c.land),
    area("park", "landuse", c.park, { filter: kind("park", "forest", "wood", "nature_reserve", "grass", "cemetery", "golf_course") }),
    area("urban", "landuse", c.urban, { filter: kind("residential", "industrial", "commercial", "school", "hospital", "university") }),
    area("water", "water", c.water, { filter: ["==", ["geometry-type"], "Polygon"] }),
    line("river", "water", c.river, byZoom(8, 0.8, 14, 2.5), { filter: ["==", ["geometry-type"], "LineString"] }),
    area("building", "buildings", c.building, { minzoom: 14 }),
    line("minor", "roads", c.road, byZoom(12, 0.6, 16, 5), { minzoom: 12, filter: kind("minor_road", "path", "other") }),
    line("major", "roads", c.road, byZoom(8, 0.6, 16, 8), { filter: kind("major_road", "medium_road") }),
    line("motorway", "roads", c.motorway, byZoom(5, 0.6, 16, 10), { filter: kind("highway") }),
    line("rail", "roads", c.line, byZoom(10, 0.5, 16, 1.5), { filter: kind("rail") }),
    line("borders", "boundaries", c.line, byZoom(1, 0.4, 6, 1.1)),
    label("streets", "roads", c, 11, { "symbol-placement": "line" }, { minzoom: 14, filter: ["has", "name"] }),
    label("places", "places", c, byZoom(3, 10, 12, 15), { "symbol-sort-key": ["coalesce", ["get", "sort_key"], ["get", "min_zoom"], 0] }),
  ];
}

// An archive of the OpenMapTiles schema.
function openMapTilesLayers(c) {
  const kind = (...kinds) => ["in", ["get", "class"], ["literal", kinds]];
  return [
    { id: "ground", type: "background", paint: { "background-color": c.land } },
    area("park", "landcover", c.park, { filter: kind("wood", "grass", "farmland") }),
    area("urban", "landuse", c.urban, { filter: kind("residential", "industrial", "commercial") }),
    area("water", "water", c.water),
    line("river", "waterway", c.river, byZoom(8, 0.8, 14, 2.5)),
    area("building", "building", c.building, { minzoom: 14 }),
    line("minor", "transportation", c.road, byZoom(12, 0.6, 16, 5), { minzoom: 12, filter: kind("minor", "service", "path", "track") }),
    line("major", "transportation", c.road, byZoom(8, 0.6, 16, 8), { filter: kind("primary", "secondary", "tertiary", "trunk") }),
    line("motorway", "transportation", c.motorway, byZoom(5, 0.6, 16, 10), { filter: kind("motorway") }),
    line("rail", "transportation", c.line, byZoom(10, 0.5, 16, 1.5), { filter: kind("rail") }),
    line("borders", "boundary", c.line, byZoom(1, 0.4, 6, 1.1), { filter: ["<=", ["get", "admin_level"], 4] }),
    label("streets", "transportation_name", c, 11, { "symbol-placement": "line" }, { minzoom: 14 }),
    label("places", "place", c, byZoom(3, 10, 12, 15), { "symbol-sort-key": ["coalesce", ["get", "rank"], 0] }),
  ];
}

function styleOf(archive) {
  const c = colors();
  const layers = archive.layers.has("earth") ? protomapsLayers(c)
    : archive.layers.has("transportation") ? openMapTilesLayers(c) : ownLayers(c);
  const { minzoom, maxzoom, attribution } = archive;
  const base = { type: "vector", tiles: [`pmtiles://${archive.url}/{z}/{x}/{y}`], minzoom, maxzoom, attribution };
  return {
    version: 8,
    sources: { base },
    // What an archive has no layer for would be told as an error with every tile.
    layers: layers.filter((layer) => !layer["source-layer"] || archive.layers.has(layer["source-layer"])),
  };
}

/**
 * Makes a map in an element.
 *
 * `decorate(map)` is called whenever a style is ready to take sources and layers: once, and again
 * when the page turns dark or light. Throws where the browser has no WebGL.
 */
export async function createMap(element, options, decorate) {
  const styles = ["./vendor/maplibre-gl.css", "./map.css"].map(loadStyle);
  const [archive] = await Promise.all([openArchive(element.dataset.basemap || "/basemap/current"), ...styles]);
  const map = new maplibre.Map({
    container: element, style: styleOf(archive), attributionControl: false,
    dragRotate: false, pitchWithRotate: false, touchPitch: false, maxPitch: 0, minZoom: 0, maxZoom: 18,
    fadeDuration: 150, ...options,
  });
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  map.addControl(new maplibre.AttributionControl({ compact: false }), "bottom-right");
  map.addControl(new maplibre.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibre.ScaleControl({ maxWidth: 120 }), "bottom-left");
  // Sources and layers may be added as soon as the style is read, before its tiles are there.
  map.on("style.load", () => decorate(map));
  const restyle = () => map.setStyle(styleOf(archive), { diff: false });
  dark.addEventListener("change", restyle);
  map.on("remove", () => dark.removeEventListener("change", restyle));
  return map;
}

export { FONT };
