//! The sums under crashes and flipped bits.

mod crash;
mod damage;
mod log;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use super::check::{Look, look_beside};
use super::fold::Fold;
use super::*;
use crate::database;

/// Frames that gather in these tests.
const FRAMES: u32 = 24;

/// A state that is open for writing, without the writer's thread.
pub(super) struct Site {
    pub(super) connection: Connection,
    pub(super) fold: Fold,
    pub(super) folder: TempDir,
}

/// The files of a state, by the end of their names.
pub(super) type Files = BTreeMap<&'static str, Vec<u8>>;

const NAMES: [&str; 4] = ["state.db", "state.db-wal", "state.sums", "state.sums-unfinished"];

pub(super) fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("state.db")
}

impl Site {
    pub(super) fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap()).unwrap()
    }

    pub(super) fn open(folder: TempDir) -> Result<Self, Error> {
        let mut fold = Fold::open(&path(&folder), FRAMES)?;
        let connection = database::open(&path(&folder))?;
        fold.begin(&connection)?;
        Ok(Self { connection, fold, folder })
    }

    /// Opens what a crash has left.
    pub(super) fn of(files: &Files) -> Result<Self, Error> {
        Self::open(laid(files))
    }

    pub(super) fn write(&mut self, number: i64, bytes: u32) {
        let sql = "INSERT INTO quarantine (log_offset, item_index, device, topic, stream,
            content_type, code, detail, payload, received_at, state)
            VALUES (?1, 0, '', '', '', '', '', '', randomblob(?2), 0, 'waiting')";
        self.connection.execute(sql, (number, bytes)).unwrap();
        self.fold.after_commit(&self.connection).unwrap();
    }

    pub(super) fn delete(&mut self, number: i64) {
        let sql = "DELETE FROM quarantine WHERE log_offset = ?1";
        self.connection.execute(sql, [number]).unwrap();
        self.fold.after_commit(&self.connection).unwrap();
    }

    /// The rows that are there, each read whole.
    pub(super) fn rows(&self) -> Vec<(i64, usize)> {
        let sql = "SELECT log_offset, payload FROM quarantine ORDER BY log_offset";
        let mut statement = self.connection.prepare(sql).unwrap();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?.len()));
        statement.query_map([], read).unwrap().map(Result::unwrap).collect()
    }

    /// The files as they are now, as a crash of the process would leave them.
    pub(super) fn files(&self) -> Files {
        files(self.folder.path())
    }

    /// Closes cleanly; the folder stays.
    pub(super) fn close(self) -> TempDir {
        let Self { connection, mut fold, folder } = self;
        fold.close(&connection);
        drop(connection);
        folder
    }
}

pub(super) fn files(folder: &Path) -> Files {
    let read = |name| Some((name, fs::read(folder.join(name)).ok()?));
    NAMES.into_iter().filter_map(read).collect()
}

/// A folder with these files.
pub(super) fn laid(files: &Files) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

pub(super) fn seen(folder: &TempDir) -> Look {
    let path = path(folder);
    look_beside(&path, &File::open(&path).unwrap()).unwrap()
}

pub(super) fn flipped(files: &Files, name: &'static str, bit: usize) -> Files {
    let mut files = files.clone();
    files.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
    files
}
