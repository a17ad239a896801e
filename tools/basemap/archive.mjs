// Writes a PMTiles archive, version 3: header, root directory, metadata, leaf directories, tiles
// in the order of the Hilbert curve, equal tiles once.
// https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md

import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";

const HEADER_BYTES = 127;
// Header and root directory are read at once, in the first 16 KiB.
const ROOT_BYTES_MAX = 16_384 - HEADER_BYTES;
const LEAF_ENTRIES = 2048;

const gzip = (bytes) => gzipSync(bytes, { level: 9 });

export function archive(tiles, metadata, zoomMax) {
  const sorted = tiles
    .map((tile) => ({ id: tileId(tile.z, tile.x, tile.y), data: tile.data }))
    .sort((a, b) => a.id - b.id);
  const { entries, bodies, contents } = pack(sorted);
  const { root, leaves } = directories(entries);
  const meta = gzip(Buffer.from(JSON.stringify(metadata)));
  const body = Buffer.concat(bodies);
  const parts = [root, meta, leaves, body];
  const header = Buffer.alloc(HEADER_BYTES);
  header.write("PMTiles", 0, "latin1");
  header.writeUInt8(3, 7);
  let offset = HEADER_BYTES;
  parts.forEach((part, index) => {
    header.writeBigUInt64LE(BigInt(offset), 8 + index * 16);
    header.writeBigUInt64LE(BigInt(part.length), 16 + index * 16);
    offset += part.length;
  });
  header.writeBigUInt64LE(BigInt(sorted.length), 72);
  header.writeBigUInt64LE(BigInt(entries.length), 80);
  header.writeBigUInt64LE(BigInt(contents), 88);
  header.writeUInt8(1, 96); // clustered
  header.writeUInt8(2, 97); // directories: gzip
  header.writeUInt8(2, 98); // tiles: gzip
  header.writeUInt8(1, 99); // vector tiles
  header.writeUInt8(0, 100);
  header.writeUInt8(zoomMax, 101);
  const e7 = [-180, -85.05113, 180, 85.05113].map((degrees) => Math.round(degrees * 1e7));
  e7.forEach((value, index) => header.writeInt32LE(value, 102 + index * 4));
  header.writeUInt8(1, 118);
  return Buffer.concat([header, ...parts]);
}

function pack(sorted) {
  const known = new Map();
  const bodies = [];
  const entries = [];
  let end = 0;
  for (const { id, data } of sorted) {
    const zipped = gzip(data);
    const hash = createHash("sha256").update(zipped).digest("hex");
    let place = known.get(hash);
    if (!place) {
      place = { offset: end, length: zipped.length };
      known.set(hash, place);
      bodies.push(zipped);
      end += zipped.length;
    }
    const last = entries.at(-1);
    if (last && last.offset === place.offset && last.id + last.run === id) last.run += 1;
    else entries.push({ id, run: 1, ...place });
  }
  return { entries, bodies, contents: bodies.length };
}

function directories(entries) {
  const whole = gzip(directory(entries));
  if (whole.length <= ROOT_BYTES_MAX) return { root: whole, leaves: Buffer.alloc(0) };
  const leaves = [];
  const top = [];
  let offset = 0;
  for (let start = 0; start < entries.length; start += LEAF_ENTRIES) {
    const leaf = gzip(directory(entries.slice(start, start + LEAF_ENTRIES)));
    top.push({ id: entries[start].id, run: 0, offset, length: leaf.length });
    leaves.push(leaf);
    offset += leaf.length;
  }
  return { root: gzip(directory(top)), leaves: Buffer.concat(leaves) };
}

function directory(entries) {
  const bytes = [];
  const put = (value) => {
    while (value >= 0x80) {
      bytes.push((value % 0x80) | 0x80);
      value = Math.floor(value / 0x80);
    }
    bytes.push(value);
  };
  put(entries.length);
  entries.forEach((entry, index) => put(entry.id - (index > 0 ? entries[index - 1].id : 0)));
  entries.forEach((entry) => put(entry.run));
  entries.forEach((entry) => put(entry.length));
  entries.forEach((entry, index) => {
    const before = entries[index - 1];
    put(before && entry.offset === before.offset + before.length ? 0 : entry.offset + 1);
  });
  return Buffer.from(bytes);
}

// The number of a tile: those of smaller zooms first, then along the Hilbert curve.
function tileId(z, x, y) {
  let id = (4 ** z - 1) / 3;
  for (let side = 2 ** z / 2; side >= 1; side /= 2) {
    const right = (x & side) > 0 ? 1 : 0;
    const down = (y & side) > 0 ? 1 : 0;
    id += side * side * ((3 * right) ^ down);
    if (down === 0) {
      if (right === 1) [x, y] = [side - 1 - x, side - 1 - y];
      [x, y] = [y, x];
    }
  }
  return id;
}
