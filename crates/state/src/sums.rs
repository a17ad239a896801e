//! A checksum of every page of the state's file, in a file beside it: SQLite's pages have none.
//!
//! The file changes only when SQLite's write-ahead log is folded into it, and only [`fold`] does
//! that. The new sums are computed from the log and made durable *before* the pages are written:
//!
//! ```text
//!   commits ──▶ -wal ──▶ survey ──▶ state.sums (durable) ──▶ checkpoint ──▶ -wal may begin anew
//! ```
//!
//! A page that stands in the committed part of the log is read from there, and proven by the log's
//! own checksums; every other page must have its sum. So a crash between any two steps leaves a
//! state that opens. The layout of the file is in `docs/formats/state.md`.

pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod fold;
pub(crate) mod frame;
pub(crate) mod kept;
pub(crate) mod scrub;
pub(crate) mod survey;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use axle_domain::{Error, Kind};

use crate::failure::unavailable;

const MAGIC: [u8; 8] = *b"AXLESUM1";
/// The version of the layout of `state.sums` that this program writes.
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 40;

/// The sums of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Bytes of a page.
    pub(crate) page_bytes: u32,
    /// Grows by one with each file of sums.
    pub(crate) generation: u64,
    /// CRC-32C of each page; the first is that of page 1.
    pub(crate) pages: Vec<u32>,
}

/// What a file of sums says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// It is what was written.
    Whole(Sums),
    /// It is not. The sums in it may be right all the same; `proof` is the checksum over all of
    /// them, where that can be trusted.
    Damaged { sums: Sums, proof: Option<u32> },
    /// Nothing in it can be used.
    Useless,
}

impl Sums {
    /// The sum of a page, numbered from 1.
    pub(crate) fn of(&self, page: u32) -> Option<u32> {
        self.pages.get(usize::try_from(page).ok()?.checked_sub(1)?).copied()
    }

    /// Writes the file anew; it is durable when this returns, or the old one stays.
    pub(crate) fn write(&self, path: &Path) -> std::io::Result<()> {
        let unfinished = path.with_extension("sums-unfinished");
        let mut file = File::create(&unfinished)?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let body: Vec<u8> = self.pages.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.page_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.pages.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        let header = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&header.to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }
}

/// Reads the file of sums; `None` where there is none.
///
/// # Errors
/// `Unavailable`, when it cannot be read; `Conflict`, when a newer axle wrote it.
pub(crate) fn read(path: &Path) -> Result<Option<Read>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => decode(&bytes, path).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(unavailable(format!("{} cannot be read", path.display())).with_source(error))
        }
    }
}

fn decode(bytes: &[u8], path: &Path) -> Result<Read, Error> {
    let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Ok(Read::Useless);
    };
    let number = |at: usize| {
        let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    let is_header_whole = header.starts_with(&MAGIC)
        && header.get(..36).is_some_and(|checked| crc32c::crc32c(checked) == number(36));
    if is_header_whole && number(8) > VERSION {
        let message = format!(
            "{} was written by a newer axle: it has version {}, this one knows {VERSION}; use the \
             newer axle",
            path.display(),
            number(8)
        );
        return Err(Error::new(Kind::Conflict, "state.version_newer", message));
    }
    let (sums, rest) = body.as_chunks::<4>();
    let sums = Sums {
        page_bytes: number(12),
        generation: u64::from(number(16)) | u64::from(number(20)) << 32,
        pages: sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect(),
    };
    let is_length_right = rest.is_empty() && sums.pages.len() == number(24) as usize;
    let proof = number(32);
    Ok(match (is_header_whole, is_length_right, crc32c::crc32c(body) == proof) {
        (true, true, true) => Read::Whole(sums),
        (true, true, false) => Read::Damaged { sums, proof: Some(proof) },
        (false, ..) if rest.is_empty() && !sums.pages.is_empty() => {
            Read::Damaged { sums, proof: None }
        }
        _ => Read::Useless,
    })
}

/// Where the sums of a state are.
pub(crate) fn path_of(state: &Path) -> PathBuf {
    state.with_extension("sums")
}

/// Where SQLite's write-ahead log of a state is.
pub(crate) fn wal_of(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
