//! Folds SQLite's write-ahead log into the file, with the sums before the pages.

use std::fs::{OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axle_domain::{Error, Kind};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi};

use super::check::approve;
use super::compare::{page_bytes, pieces, sums_of, zeros};
use super::kept::Kept;
use super::survey::{Survey, survey};
use super::{Sums, path_of, wal_of};
use crate::failure::{Failure, is_disk_failure, unavailable};

/// Frames that gather before they are folded, so that a page which many commits touch is folded
/// once: 32 MiB.
pub(crate) const FRAMES: u32 = 8192;
/// Tries to fold what another program commits meanwhile.
const ROUNDS_MAX: usize = 3;

/// Why nothing was folded.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may work later; until then the log grows.
    Later(Error),
    /// Nothing may be written any more.
    Stop(rusqlite::Error),
}

/// The one who folds.
pub(crate) struct Fold {
    path: PathBuf,
    kept: Arc<Kept>,
    /// Frames from which to fold.
    frames: u32,
    /// Frames from which to try next.
    next_at: u32,
    /// Frames that there were last, and how many of them have durable sums.
    last: u32,
    summed: u32,
}

impl Fold {
    /// Takes the file for this process alone and compares every page with its sum, before SQLite
    /// opens it. Creates an empty file where there is none.
    ///
    /// # Errors
    /// `Corrupt`, when anything is damaged, or the state is gone and its sums are there;
    /// `Conflict` (`state.in_use`), when it is open for writing already.
    pub(crate) fn open(path: &Path, frames: u32) -> Result<Self, Error> {
        let sums = path_of(path);
        if !path.exists() && sums.exists() {
            let message = format!(
                "the state {} is missing, though {} is there: restore it from a backup, or remove \
                 the sums to begin anew",
                path.display(),
                sums.display()
            );
            return Err(Error::new(Kind::Corrupt, "state.missing", message));
        }
        let cannot = |error| {
            unavailable(format!("the state {} cannot be opened", path.display())).with_source(error)
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "the state {} is open for writing already: stop who has it open",
                    path.display()
                );
                return Err(Error::new(Kind::Conflict, "state.in_use", message));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        let sums = approve(path, &file)?;
        let kept = Kept::new(file, sums.unwrap_or_default());
        Ok(Self {
            path: path.to_owned(),
            kept: Arc::new(kept),
            frames,
            next_at: frames,
            last: 0,
            summed: 0,
        })
    }

    /// What is shared with who looks after the pages.
    pub(crate) fn kept(&self) -> Arc<Kept> {
        Arc::clone(&self.kept)
    }

    /// Goes on with a connection that has the file open now and may write to it. A state without
    /// sums, new or of an older axle, gets them here.
    pub(crate) fn begin(&mut self, connection: &Connection) -> Result<(), Error> {
        let mut at = self.next_at;
        if self.kept.settled().sums.page_bytes == 0 {
            let sums = self.first().map_err(|error| self.cannot_read(error))?;
            // What stands in the log, and is not in the file yet, is added with the log.
            match sums.write(&path_of(&self.path)) {
                Ok(()) => tracing::info!(pages = sums.pages.len(), "the state gets page sums"),
                // They are written before any page is: a full disk keeps nobody from starting.
                Err(error) => {
                    tracing::warn!(error = %self.cannot_write(error).chain(), "no page sums yet");
                }
            }
            self.kept.settled().sums = sums;
            at = 1;
        }
        self.next_at = at;
        self.after_commit(connection).map_err(|error| Failure::from(error).into())
    }

    /// After each commit: folds, when enough has gathered.
    ///
    /// # Errors
    /// Why nothing may be written any more.
    pub(crate) fn after_commit(&mut self, connection: &Connection) -> Result<(), rusqlite::Error> {
        match self.fold_if_at(connection, self.next_at) {
            Ok(_is_complete) => Ok(()),
            Err(Trouble::Later(error)) => {
                tracing::warn!(error = %error.chain(), "the state's log is not folded just now");
                Ok(())
            }
            Err(Trouble::Stop(error)) => Err(error),
        }
    }

    /// Before the connection closes: folds all, and lets SQLite remove its log if that worked.
    pub(crate) fn close(&mut self, connection: &Connection) {
        let is_complete = match self.fold_if_at(connection, 1) {
            Ok(is_complete) => is_complete,
            Err(Trouble::Later(error)) => {
                tracing::warn!(error = %error.chain(), "the state's log stays beside it");
                false
            }
            Err(Trouble::Stop(error)) => {
                tracing::error!(%error, "the state's log stays beside it");
                false
            }
        };
        let left_alone = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        if let Err(error) = connection.set_db_config(left_alone, !is_complete) {
            tracing::warn!(%error, "the state's log stays beside it");
        }
    }

    /// Folds if so many frames wait; says whether none does any more.
    fn fold_if_at(&mut self, connection: &Connection, frames: u32) -> Result<bool, Trouble> {
        let (mut log, mut done) = checkpoint(connection, "NOOP")?;
        if log < self.last {
            self.begin_anew()?;
        }
        self.last = log;
        if log < frames || log == done && log == self.summed {
            return Ok(log == done);
        }
        // Whether it works or not: who reads what was there before keeps frames from the file, or
        // the log from beginning anew, and a disk may be full. Again after some more commits.
        self.next_at = log.saturating_add(self.frames.div_ceil(8));
        for _round in 0..ROUNDS_MAX {
            let survey = self.survey(log)?;
            self.put_sums(&survey)?;
            self.summed = survey.frames;
            (log, done) = checkpoint(connection, "PASSIVE")?;
            if log == survey.frames {
                break;
            }
        }
        if log == done && log == self.summed {
            self.kept.settled().unsettled.clear();
        }
        self.last = log;
        Ok(log == done)
    }

    /// The log has begun anew.
    fn begin_anew(&mut self) -> Result<(), Trouble> {
        self.next_at = self.frames;
        let is_ours = self.summed >= self.last;
        self.summed = 0;
        if is_ours {
            return Ok(());
        }
        tracing::warn!(
            "something else than axle has written to the state: its pages are summed anew"
        );
        let first = self.first().map_err(|error| Trouble::Later(self.cannot_read(error)))?;
        let mut settled = self.kept.settled();
        settled.sums = Sums { generation: settled.sums.generation.wrapping_add(1), ..first };
        let path = path_of(&self.path);
        settled.sums.write(&path).map_err(|error| Trouble::Later(self.cannot_write(error)))
    }

    /// Reads the log; it must have every frame that SQLite has written.
    fn survey(&self, log: u32) -> Result<Survey, Trouble> {
        let failed = |error| Trouble::Later(self.cannot_read(error));
        let survey = survey(&wal_of(&self.path)).map_err(failed)?;
        if survey.damage.is_none() && survey.frames >= log {
            return Ok(survey);
        }
        let what = match survey.damage {
            Some(damage) => damage.to_string(),
            None => format!(
                "the write-ahead log ends after {} of {log} frames: changes are gone",
                survey.frames
            ),
        };
        tracing::error!(what, "the state is damaged: run `axle verify`");
        self.kept.accuse(what.clone());
        let code = ffi::Error::new(ffi::SQLITE_CORRUPT);
        Err(Trouble::Stop(rusqlite::Error::SqliteFailure(code, Some(what))))
    }

    /// Makes the sums durable that the file will have.
    fn put_sums(&self, survey: &Survey) -> Result<(), Trouble> {
        let mut sums = self.kept.settled().sums.clone();
        sums.fold(survey);
        let path = path_of(&self.path);
        sums.write(&path).map_err(|error| Trouble::Later(self.cannot_write(error)))?;
        let mut settled = self.kept.settled();
        settled.sums = sums;
        settled.unsettled.extend(survey.pages.keys());
        Ok(())
    }

    /// The sums of the pages as they are.
    fn first(&self) -> std::io::Result<Sums> {
        let file = &self.kept.file;
        let page_bytes = page_bytes(file)?;
        let count = file.metadata()?.len().div_ceil(u64::from(page_bytes));
        let mut pages = Vec::new();
        for piece in pieces(page_bytes, u32::try_from(count).unwrap_or(u32::MAX)) {
            pages.extend(sums_of(file, page_bytes, piece)?);
        }
        Ok(Sums { page_bytes, generation: 0, pages })
    }

    fn cannot_write(&self, error: std::io::Error) -> Error {
        unavailable(format!("{} cannot be written", path_of(&self.path).display()))
            .with_source(error)
    }

    fn cannot_read(&self, error: std::io::Error) -> Error {
        unavailable(format!("the state {} cannot be read", self.path.display())).with_source(error)
    }
}

impl Sums {
    /// What the sums will be once the log is in the file.
    fn fold(&mut self, survey: &Survey) {
        self.generation = self.generation.wrapping_add(1);
        self.pages.resize(survey.page_count as usize, zeros(self.page_bytes));
        for (page, sum) in &survey.pages {
            let place = page.checked_sub(1).and_then(|page| self.pages.get_mut(page as usize));
            if let Some(place) = place {
                *place = *sum;
            }
        }
    }
}

/// Frames of the log, and how many of them are in the file, after a checkpoint of this kind.
fn checkpoint(connection: &Connection, kind: &str) -> Result<(u32, u32), Trouble> {
    let sql = format!("PRAGMA wal_checkpoint({kind})");
    let count = |count: i64| u32::try_from(count).unwrap_or(0);
    let read = |row: &rusqlite::Row<'_>| Ok((count(row.get(1)?), count(row.get(2)?)));
    connection.prepare_cached(&sql).and_then(|mut it| it.query_row([], read)).map_err(trouble)
}

fn trouble(error: rusqlite::Error) -> Trouble {
    if is_disk_failure(&error) {
        Trouble::Stop(error)
    } else {
        Trouble::Later(Failure::from(error).into())
    }
}
