// Which places a map shows from which zoom on: the largest of each part of the screen, so that no
// region is empty and none is crowded.

// Cells a tile is divided into, per side, at each zoom: about as many names as fit. Those of zooms
// beyond the last stand in its tiles, with the zoom from which they are drawn.
const CELLS = { 2: 3, 3: 4, 4: 4, 5: 5, 6: 6, 7: 6, 8: 4, 9: 3 };
// Population from which a place has a rank; the rank decides size and weight of its name.
const RANKS = [5e6, 1e6, 3e5, 1e5, 3e4, 1e4, 3e3, 0];

export function choosePlaces(cities, countries, zoomMax) {
  const isCapital = (city) => countries[city.countrycode]?.capital === city.name;
  const sorted = cities
    .filter((city) => Math.abs(city.latitude) < 85 && city.name)
    .map((city) => ({ ...city, capital: isCapital(city) && city.population > 0 }))
    .sort((a, b) => weight(b) - weight(a) || a.geonameid - b.geonameid);
  const from = new Map();
  for (let zoom = 2; zoom <= 9; zoom += 1) {
    const taken = new Set();
    const side = 2 ** zoom * CELLS[zoom];
    for (const city of sorted) {
      const [x, y] = mercator(city);
      const cell = Math.floor(x * side) * side + Math.floor(y * side);
      // What a smaller zoom shows stays, and takes its cell.
      const isThere = from.has(city.geonameid);
      if (!isThere && taken.has(cell)) continue;
      taken.add(cell);
      if (!isThere) from.set(city.geonameid, zoom);
    }
  }
  return sorted.filter((city) => from.has(city.geonameid)).map((city) => ({
    type: "Feature",
    geometry: { type: "Point", coordinates: [city.longitude, city.latitude] },
    properties: {
      name: city.name,
      rank: RANKS.findIndex((least) => city.population >= least),
      min: Math.min(zoomMax, from.get(city.geonameid)),
      ...(from.get(city.geonameid) > zoomMax ? { from: from.get(city.geonameid) } : {}),
      ...(city.capital ? { capital: 1 } : {}),
    },
  }));
}

// A capital goes before a larger city that is none.
const weight = (city) => city.population + (city.capital ? 2e6 : 0);

function mercator({ latitude, longitude }) {
  const sin = Math.sin((latitude * Math.PI) / 180);
  return [longitude / 360 + 0.5, 0.5 - (0.25 * Math.log((1 + sin) / (1 - sin))) / Math.PI];
}
