//! Compares pages of the state's file with their sums.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::Sums;
use super::survey::Survey;

/// Bytes that are read at one time.
pub(crate) const PIECE_BYTES: u32 = 1 << 20;

/// A file, its sums, and what stands in the write-ahead log instead.
pub(crate) struct Comparison<'a> {
    pub(crate) file: &'a File,
    pub(crate) sums: &'a Sums,
    pub(crate) survey: &'a Survey,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Compared {
    /// Pages that were compared.
    pub(crate) checked: u32,
    /// Those that are not what was written there.
    pub(crate) pages: Vec<u32>,
    /// The sums as they are, and the checksum over them.
    pub(crate) actual: Vec<u32>,
    pub(crate) proof: u32,
}

impl Comparison<'_> {
    /// Pages that the file has for SQLite.
    fn live(&self) -> u32 {
        let summed = u32::try_from(self.sums.pages.len()).unwrap_or(u32::MAX);
        if self.survey.frames > 0 { self.survey.page_count } else { summed }
    }

    /// Compares all pages.
    pub(crate) fn all(&self) -> io::Result<Compared> {
        let summed = u32::try_from(self.sums.pages.len()).unwrap_or(u32::MAX);
        let mut compared = Compared::default();
        for pages in pieces(self.sums.page_bytes, summed.max(self.live())) {
            let actual = sums_of(self.file, self.sums.page_bytes, pages.clone())?;
            for (page, actual) in pages.zip(actual) {
                let actual = self.compare(page, actual, &mut compared);
                if page <= summed {
                    compared.actual.push(actual);
                    compared.proof = crc32c::crc32c_append(compared.proof, &actual.to_le_bytes());
                }
            }
        }
        Ok(compared)
    }

    /// Compares some pages.
    pub(crate) fn some(&self, pages: &[u32]) -> io::Result<Compared> {
        let mut compared = Compared::default();
        for page in pages {
            for actual in sums_of(self.file, self.sums.page_bytes, *page..page.saturating_add(1))? {
                self.compare(*page, actual, &mut compared);
            }
        }
        Ok(compared)
    }

    /// Compares one page; gives its sum back, or the stored one where it is not to be compared.
    fn compare(&self, page: u32, actual: u32, compared: &mut Compared) -> u32 {
        // A page that no transaction has ever written, such as the one at 1 GiB that SQLite
        // leaves out, is zeros.
        let wanted = self.sums.of(page).unwrap_or_else(|| zeros(self.sums.page_bytes));
        if page > self.live() || self.survey.pages.contains_key(&page) {
            return wanted;
        }
        compared.checked += 1;
        if actual != wanted {
            compared.pages.push(page);
        }
        actual
    }

    /// Bytes of the file and the bytes that it must have, where both are known and differ.
    pub(crate) fn length(&self) -> io::Result<Option<(u64, u64)>> {
        let found = self.file.metadata()?.len();
        let wanted = self.sums.pages.len() as u64 * u64::from(self.sums.page_bytes);
        Ok((self.survey.frames == 0 && found != wanted).then_some((found, wanted)))
    }
}

/// All pages, numbered from 1, a piece at a time.
pub(crate) fn pieces(page_bytes: u32, pages: u32) -> impl Iterator<Item = Range<u32>> {
    let step = (PIECE_BYTES / page_bytes.max(1)).max(1);
    let end = pages.saturating_add(1);
    (1..end).step_by(step as usize).map(move |first| first..first.saturating_add(step).min(end))
}

/// CRC-32C of each of some pages. What lies beyond the end of the file is zeros.
pub(crate) fn sums_of(file: &File, page_bytes: u32, pages: Range<u32>) -> io::Result<Vec<u32>> {
    let size = page_bytes as usize;
    let mut bytes = vec![0; pages.len() * size];
    let mut at = u64::from(pages.start.saturating_sub(1)) * u64::from(page_bytes);
    let mut rest = bytes.as_mut_slice();
    while !rest.is_empty() {
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(count) => {
                at += count as u64;
                rest = rest.split_at_mut(count).1;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes.chunks_exact(size.max(1)).map(crc32c::crc32c).collect())
}

/// The sum of a page of zeros.
pub(crate) fn zeros(page_bytes: u32) -> u32 {
    crc32c::crc32c(&vec![0; page_bytes as usize])
}

/// Bytes of a page, as the file itself says; 4096 where it says nothing sensible.
pub(crate) fn page_bytes(file: &File) -> io::Result<u32> {
    let mut bytes = [0; 2];
    let count = file.read_at(&mut bytes, 16)?;
    let said = match u16::from_be_bytes(bytes) {
        1 => 65_536,
        said => u32::from(said),
    };
    Ok(if count == 2 && said >= 512 && said.is_power_of_two() { said } else { 4096 })
}
