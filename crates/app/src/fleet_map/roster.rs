//! The devices of the map in memory: places in chunks that never move, ids packed behind them.

use std::hash::BuildHasher;

use axle_domain::{DeviceId, limit};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::place::Place;

/// Devices of one chunk. Chunks are filled one after the other, so that the roster grows without
/// ever copying what it has, and is at most one chunk larger than needed.
pub(super) const CHUNK_DEVICES: usize = 4096;

/// Some devices. The id of the `n`th ends at `ends[n]`.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) places: Vec<Place>,
    ids: String,
    ends: Vec<u32>,
}

impl Chunk {
    fn new() -> Self {
        Self {
            places: Vec::with_capacity(CHUNK_DEVICES),
            ids: String::new(),
            ends: Vec::with_capacity(CHUNK_DEVICES),
        }
    }

    /// The id of the `index`th device.
    pub(super) fn id(&self, index: usize) -> &str {
        let end_of = |index: usize| self.ends.get(index).map(|end| *end as usize);
        let start = index.checked_sub(1).and_then(end_of).unwrap_or(0);
        let end = end_of(index).unwrap_or(start);
        self.ids.get(start..end).unwrap_or_default()
    }

    fn push(&mut self, id: &str, place: Place) {
        self.places.push(place);
        self.ids.push_str(id);
        self.ends.push(u32::try_from(self.ids.len()).unwrap_or(u32::MAX));
        if self.places.len() == CHUNK_DEVICES {
            self.ids.shrink_to_fit();
        }
    }
}

/// All devices, numbered in the order in which they came.
#[derive(Default)]
pub(super) struct Roster {
    chunks: Vec<Chunk>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The first is the unknown kind.
    kinds: Vec<Box<str>>,
    /// One bit a device: whether it is connected.
    online: Vec<u64>,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self { kinds: vec![Box::from("")], ..Self::default() }
    }

    /// How many devices there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The chunks from a number on.
    pub(super) fn chunks(&self, from: usize, count: usize) -> &[Chunk] {
        let rest = self.chunks.get(from..).unwrap_or_default();
        rest.get(..count).unwrap_or(rest)
    }

    /// The number of a device.
    pub(super) fn find(&self, id: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        self.index.find(hash, |number| self.id(*number) == id).copied()
    }

    /// The id of a device.
    pub(super) fn id(&self, number: u32) -> &str {
        let (chunk, index) = address(number);
        self.chunks.get(chunk).map_or("", |chunk| chunk.id(index))
    }

    /// What is known of a device.
    pub(super) fn place(&self, number: u32) -> Option<&Place> {
        let (chunk, index) = address(number);
        self.chunks.get(chunk)?.places.get(index)
    }

    /// What is known of a device, to be changed.
    pub(super) fn place_mut(&mut self, number: u32) -> Option<&mut Place> {
        let (chunk, index) = address(number);
        self.chunks.get_mut(chunk)?.places.get_mut(index)
    }

    /// Lets a device in, or changes its kind. Beyond the limit a new one stays outside.
    pub(super) fn put(&mut self, id: &DeviceId, kind: &str) {
        let kind = self.intern(kind);
        if let Some(number) = self.find(id.as_str()) {
            if let Some(place) = self.place_mut(number) {
                place.kind = kind;
            }
            return;
        }
        if self.len() >= limit::FLEET_MAP_DEVICES_MAX {
            return;
        }
        let Ok(number) = u32::try_from(self.len()) else { return };
        if self.chunks.last().is_none_or(|chunk| chunk.places.len() == CHUNK_DEVICES) {
            self.chunks.push(Chunk::new());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(id.as_str(), Place::unknown(kind));
        }
        let Self { index, hasher, chunks, .. } = self;
        let rehash = |number: &u32| {
            let (chunk, index) = address(*number);
            hasher.hash_one(chunks.get(chunk).map_or("", |chunk| chunk.id(index)))
        };
        index.insert_unique(hasher.hash_one(id.as_str()), number, rehash);
    }

    /// The number of a kind. Kinds beyond the 255th count as unknown.
    fn intern(&mut self, kind: &str) -> u8 {
        if let Some(known) = self.find_kind(kind) {
            return known;
        }
        match u8::try_from(self.kinds.len()) {
            Ok(number) => {
                self.kinds.push(Box::from(kind));
                number
            }
            Err(_full) => 0,
        }
    }

    /// The number of a kind that some device has.
    pub(super) fn find_kind(&self, kind: &str) -> Option<u8> {
        let found = self.kinds.iter().position(|known| **known == *kind)?;
        u8::try_from(found).ok()
    }

    /// The word for a kind.
    pub(super) fn kind(&self, number: u8) -> &str {
        self.kinds.get(usize::from(number)).map_or("", |kind| kind)
    }

    /// Whether a device was connected at the last look.
    pub(super) fn is_online(&self, number: u32) -> bool {
        self.online.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Takes over who is connected.
    pub(super) fn set_online(&mut self, numbers: impl Iterator<Item = u32>) {
        self.online.clear();
        self.online.resize(self.len().div_ceil(64), 0);
        for number in numbers {
            if let Some(word) = self.online.get_mut(number as usize / 64) {
                *word |= 1 << (number % 64);
            }
        }
    }

    /// Bytes of memory, without the allocator's own.
    pub(super) fn memory_bytes(&self) -> usize {
        let chunks = self.chunks.iter().map(|chunk| {
            chunk.places.capacity() * size_of::<Place>()
                + chunk.ids.capacity()
                + chunk.ends.capacity() * size_of::<u32>()
        });
        chunks.sum::<usize>() + self.index.allocation_size() + self.online.capacity() * 8
    }
}

fn address(number: u32) -> (usize, usize) {
    (number as usize / CHUNK_DEVICES, number as usize % CHUNK_DEVICES)
}
