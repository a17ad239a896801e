//! The header and the frames of SQLite's write-ahead log, as its file format describes them, and
//! how to tell a frame with a wrong bit from one that was never written whole.

/// Bytes before the first frame.
pub(crate) const HEADER_BYTES: usize = 32;
/// Bytes of a frame before its page.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;
const PAGE_BYTES: std::ops::RangeInclusive<u32> = 512..=65_536;

/// The two running sums of the log's checksum: each frame goes on from those of the one before.
pub(crate) type Checksum = [u32; 2];

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) is_big_endian: bool,
    pub(crate) page_bytes: u32,
    pub(crate) salts: [u32; 2],
    pub(crate) checksum: Checksum,
}

/// One frame, its page apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) page: u32,
    /// Pages of the file after this commit; 0 in a frame that ends no transaction.
    pub(crate) commit: u32,
    pub(crate) salts: [u32; 2],
    pub(crate) stored: Checksum,
}

impl Header {
    /// `None`, where SQLite would not take it for one.
    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (magic, page_bytes) = (number(bytes, 0), number(bytes, 8));
        let header = Self {
            is_big_endian: magic & 1 == 1,
            page_bytes,
            salts: [number(bytes, 16), number(bytes, 20)],
            checksum: [number(bytes, 24), number(bytes, 28)],
        };
        let checked = bytes.get(..24)?;
        let is_whole = magic & !1 == MAGIC
            && number(bytes, 4) == VERSION
            && page_bytes.is_power_of_two()
            && PAGE_BYTES.contains(&page_bytes)
            && header.sum([0, 0], checked) == header.checksum;
        is_whole.then_some(header)
    }

    /// Bytes of a frame with its page.
    pub(crate) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.page_bytes as usize
    }

    /// What the checksum of this frame must be behind one with such a checksum.
    pub(crate) fn expected(&self, before: Checksum, frame: &[u8]) -> Checksum {
        let (head, page) = frame.split_at(FRAME_HEADER_BYTES.min(frame.len()));
        self.sum(self.sum(before, head.get(..8).unwrap_or_default()), page)
    }

    fn sum(&self, before: Checksum, bytes: &[u8]) -> Checksum {
        if self.is_big_endian {
            sum(before, bytes, u32::from_be_bytes)
        } else {
            sum(before, bytes, u32::from_le_bytes)
        }
    }

    /// The one wrong bit that explains why a frame of this log does not have its checksum.
    ///
    /// Contents that have nothing to do with it have that difference once in 10^14 times: there
    /// are 2^64 differences, and fewer than 2^17 (with pages of 4 KiB) that one bit makes. An
    /// earlier version of the same page can have it, where one number has changed a little.
    pub(crate) fn wrong_bit(&self, frame: &Frame, expected: Checksum) -> Option<WrongBit> {
        let wrong =
            |a: [u32; 2], b: [u32; 2]| (a[0] ^ b[0]).count_ones() + (a[1] ^ b[1]).count_ones();
        match (wrong(frame.salts, self.salts), wrong(frame.stored, expected)) {
            // Salts are no part of the checksum.
            (1, 0) | (0, 1) => Some(WrongBit::Elsewhere),
            (0, _) => self.wrong_bit_of_contents(frame.stored, expected),
            _ => None,
        }
    }

    /// The checksum is linear: a bit of a word that is wrong changes both sums by plus or minus
    /// that bit's worth times a factor of the word's place, whatever the contents are.
    fn wrong_bit_of_contents(&self, stored: Checksum, expected: Checksum) -> Option<WrongBit> {
        let difference = [0, 1].map(|half: usize| {
            let of = |sums: Checksum| sums.get(half).copied().unwrap_or(0);
            of(expected).wrapping_sub(of(stored))
        });
        let is_multiple = |factor: Checksum| {
            (0..u32::BITS).any(|bit| {
                let changed = factor.map(|factor| factor << bit);
                changed == difference || changed.map(u32::wrapping_neg) == difference
            })
        };
        let (mut even, mut odd) = ([1, 1], [0, 1]);
        // From the last pair of words to the first, which is what the frame is of and whether it
        // commits; the rest of its header has no part in the checksum.
        let pairs = (self.frame_bytes() - FRAME_HEADER_BYTES) / 8;
        for pair in 0..=pairs {
            if is_multiple(odd) && pair == pairs {
                return Some(WrongBit::Commit);
            }
            if is_multiple(even) || is_multiple(odd) {
                return Some(WrongBit::Elsewhere);
            }
            (even, odd) = (behind(even), behind(odd));
        }
        None
    }
}

/// Where the only wrong bit of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrongBit {
    /// Where a frame says that it commits.
    Commit,
    Elsewhere,
}

fn sum(before: Checksum, bytes: &[u8], word: impl Fn([u8; 4]) -> u32) -> Checksum {
    let [mut first, mut second] = before;
    for [a, b, c, d, e, f, g, h] in bytes.as_chunks::<8>().0 {
        first = first.wrapping_add(word([*a, *b, *c, *d])).wrapping_add(second);
        second = second.wrapping_add(word([*e, *f, *g, *h])).wrapping_add(first);
    }
    [first, second]
}

/// What a difference in the sums becomes one pair of words later.
fn behind([first, second]: Checksum) -> Checksum {
    let first = first.wrapping_add(second);
    [first, second.wrapping_add(first)]
}

impl Frame {
    /// Reads a frame's header.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        Self {
            page: number(bytes, 0),
            commit: number(bytes, 4),
            salts: [number(bytes, 8), number(bytes, 12)],
            stored: [number(bytes, 16), number(bytes, 20)],
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
}
