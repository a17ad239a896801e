//! How fast our files grow, and so when a disk is full. A guess from what was seen, and none where
//! too little was seen.

use std::collections::VecDeque;
use std::time::Duration;

use axle_domain::Timestamp;
use axle_domain::port::DiskFigures;

/// Less history says nothing: a flush or a merge is all there would be.
const HISTORY_MIN: Duration = Duration::from_secs(10 * 60);
/// Time between two sizes that are kept.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// Sizes that are kept: a day.
const KEPT_MAX: usize = 1440;
const DAY: f64 = 24.0 * 3600.0;
/// What is further away than this is not worth a number.
const FULL_IN_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The parts, in the order of the sizes.
const PARTS: [&str; 3] = ["log", "store", "state"];

/// What one part takes of its disk.
#[derive(Clone, Debug, PartialEq)]
pub struct PartGrowth {
    /// `log`, `store` or `state`.
    pub part: &'static str,
    /// Where it is.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// By how much it grows a day; `None` where too little was seen.
    pub bytes_per_day: Option<f64>,
}

/// A disk, or a part of one, that some of our parts share.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSystem {
    /// Our parts on it.
    pub parts: Vec<&'static str>,
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// By how much our parts grow a day; `None` where too little was seen.
    pub bytes_per_day: Option<f64>,
    /// When it is full at this rate; `None` where it is not known, or not foreseeable.
    pub full_in: Option<Duration>,
}

/// Sizes of the parts over the last day.
#[derive(Debug, Default)]
pub(super) struct Growth {
    kept: VecDeque<(Timestamp, [u64; 3])>,
    newest: Option<(Timestamp, [u64; 3])>,
}

impl Growth {
    pub(super) fn push(&mut self, at: Timestamp, bytes: [u64; 3]) {
        self.newest = Some((at, bytes));
        if self.kept.back().is_none_or(|(last, _)| last.after(KEEP_EVERY) <= at) {
            self.kept.push_back((at, bytes));
        }
        while self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
    }

    /// The time over which growth is known.
    pub(super) fn measured_over(&self) -> Option<Duration> {
        let (first, newest) = (self.kept.front()?.0, self.newest?.0);
        let over = Duration::from_micros(u64::try_from(newest.micros_since(first)).ok()?);
        (over >= HISTORY_MIN).then_some(over)
    }

    fn per_day(&self, part: &str) -> Option<f64> {
        let over = self.measured_over()?.as_secs_f64();
        let place = PARTS.iter().position(|known| *known == part)?;
        let (from, to) = (self.kept.front()?.1.get(place)?, self.newest?.1);
        Some((*to.get(place)? as f64 - *from as f64) * DAY / over)
    }

    pub(super) fn parts(&self, disks: &[DiskFigures]) -> Vec<PartGrowth> {
        let bytes = |part: &str| {
            let place = PARTS.iter().position(|known| *known == part)?;
            self.newest?.1.get(place).copied()
        };
        let part = |disk: &DiskFigures| PartGrowth {
            part: disk.part,
            path: disk.path.clone(),
            bytes: bytes(disk.part).unwrap_or(0),
            bytes_per_day: self.per_day(disk.part),
        };
        disks.iter().map(part).collect()
    }

    pub(super) fn file_systems(&self, disks: &[DiskFigures]) -> Vec<FileSystem> {
        let mut found: Vec<(u64, FileSystem)> = Vec::new();
        for disk in disks {
            let grows = self.per_day(disk.part);
            match found.iter_mut().find(|(id, _)| *id == disk.file_system) {
                Some((_, known)) => {
                    known.parts.push(disk.part);
                    known.bytes_per_day = known.bytes_per_day.zip(grows).map(|(a, b)| a + b);
                }
                None => {
                    let new = FileSystem {
                        parts: vec![disk.part],
                        free_bytes: disk.free_bytes,
                        total_bytes: disk.total_bytes,
                        bytes_per_day: grows,
                        full_in: None,
                    };
                    found.push((disk.file_system, new));
                }
            }
        }
        let full_in = |it: &FileSystem| {
            let days = it.free_bytes as f64 / it.bytes_per_day.filter(|rate| *rate > 0.0)?;
            let wait = Duration::try_from_secs_f64(days * DAY).ok()?;
            (wait < FULL_IN_MAX).then_some(wait)
        };
        found.into_iter().map(|(_, it)| FileSystem { full_in: full_in(&it), ..it }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disks() -> Vec<DiskFigures> {
        let disk = |part, file_system| DiskFigures {
            part,
            path: format!("/data/{part}"),
            file_system,
            free_bytes: 108 * GIB,
            total_bytes: 400 * GIB,
        };
        vec![disk("log", 1), disk("store", 1), disk("state", 2)]
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp(minutes * 60_000_000)
    }

    #[test]
    fn a_disk_is_full_when_the_growth_of_all_its_parts_has_filled_it() {
        let mut growth = Growth::default();
        growth.push(at(0), [GIB, GIB, GIB]);
        growth.push(at(60), [2 * GIB, GIB + GIB / 8, GIB]);
        assert_eq!(growth.measured_over(), Some(Duration::from_secs(3600)));
        let seen = growth.file_systems(&disks());
        assert_eq!(seen[0].parts, ["log", "store"]);
        assert_eq!(seen[0].bytes_per_day, Some((27 * GIB) as f64));
        assert_eq!(seen[0].full_in, Some(Duration::from_secs(4 * 24 * 3600)));
        assert_eq!((seen[1].bytes_per_day, seen[1].full_in), (Some(0.0), None), "it does not grow");
        assert_eq!(growth.parts(&disks())[1].bytes, GIB + GIB / 8);
    }

    #[test]
    fn too_little_history_says_nothing() {
        let mut growth = Growth::default();
        assert_eq!(growth.measured_over(), None);
        growth.push(at(0), [0, 0, 0]);
        growth.push(at(9), [GIB, 0, 0]);
        assert_eq!(growth.measured_over(), None);
        assert!(growth.file_systems(&disks()).iter().all(|it| it.bytes_per_day.is_none()));
        growth.push(at(10), [GIB, 0, 0]);
        assert!(growth.measured_over().is_some());
    }

    #[test]
    fn a_day_is_remembered_and_no_more() {
        let mut growth = Growth::default();
        (0..3000).for_each(|minute| growth.push(at(minute), [0, 0, 0]));
        assert_eq!(growth.kept.len(), KEPT_MAX);
        assert_eq!(growth.measured_over(), Some(KEEP_EVERY * 1439));
    }
}
