//! What the thread that writes and the one that looks after the pages share.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Sums;

/// The file, its sums, and what is known to be wrong.
pub(crate) struct Kept {
    /// Open for as long as SQLite has the file open, and closed after it: to close a file takes
    /// away every lock that this process has on it, SQLite's too.
    pub(crate) file: File,
    settled: Mutex<Settled>,
    damage: Mutex<Option<String>>,
}

/// The sums, and which pages a checkpoint may not have written yet.
#[derive(Default)]
pub(crate) struct Settled {
    pub(crate) sums: Sums,
    pub(crate) unsettled: BTreeSet<u32>,
}

impl Kept {
    pub(crate) fn new(file: File, sums: Sums) -> Self {
        let settled = Settled { sums, unsettled: BTreeSet::new() };
        Self { file, settled: Mutex::new(settled), damage: Mutex::default() }
    }

    /// While it is held no page is written that is settled.
    pub(crate) fn settled(&self) -> MutexGuard<'_, Settled> {
        // Sums are replaced whole, so that a panic leaves nothing half done.
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known to be damaged.
    pub(crate) fn damage(&self) -> Option<String> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers what was found damaged first.
    pub(crate) fn accuse(&self, what: String) {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }
}
