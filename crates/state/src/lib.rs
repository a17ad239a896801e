//! The state of an instance in one SQLite file: what people intend (devices, certificates, tokens,
//! people, commands) and what devices reported last.
//!
//! What this crate is not: it keeps no telemetry and no messages, and it knows no HTTP and no MQTT.
//! Reading order: [`SqliteState`], `writer` (one thread, grouped commits), `readers`, then one file
//! a port. The layout of the file is in `docs/formats/state.md`.

mod application;
mod audit;
mod client_session;
mod command;
mod component;
mod connection;
mod consumer;
mod credential;
mod database;
mod device;
mod failure;
mod feed;
mod keys;
mod readers;
mod reported;
mod search;
mod session;
mod sums;
mod token;
mod user;
mod verify;
mod writer;

use std::path::Path;

use axle_domain::{Error, Kind};
use rusqlite::Connection;

use crate::connection::Journal;
use crate::failure::Failure;
use crate::readers::Readers;
use crate::sums::fold::{self, Fold};
use crate::sums::scrub::Scrub;
use crate::writer::{Writer, Writing};

pub use crate::audit::StateAudit;
pub use crate::verify::{Verification, verify};

/// The version of the file's layout that this program writes.
pub const STATE_VERSION: u32 = database::VERSION;

/// The state in one SQLite file. It implements the ports `DeviceRegistry`, `ComponentRegistry`,
/// `TokenStore`, `UserStore`, `CredentialStore`, `SessionStore`, `CommandStore`, `ReportedState`,
/// `ConnectionJournal`, `ClientSessionStore`, `ConsumerRegistry` and `SearchIndex`.
///
/// Changes go through one thread that commits all that wait with one sync; a change is durable
/// when its method returns, and a change whose future was dropped may still happen. Reads run on
/// a few connections of their own and see every change that was answered. Dropping the state
/// finishes the changes that wait and closes the file.
pub struct SqliteState {
    // Before the writer, so that the last connection to close is one that may tidy up the file.
    readers: Readers,
    writer: Option<Writer>,
    /// None where the state is open for reading alone.
    journal: Option<Journal>,
    // Behind the writer: it has the file open, and that closes after SQLite.
    scrub: Option<Scrub>,
}

impl SqliteState {
    /// Opens the state, creates it where there is none, and brings an older one up to date.
    ///
    /// # Errors
    /// `Conflict` (`state.version_newer`), when a newer axle wrote the file, which is not touched
    /// then; `Corrupt` (`state.corrupt`, `state.missing`), when it is damaged, gone or not ours;
    /// `Conflict` (`state.in_use`), when it is open for writing already; `Unavailable`
    /// (`state.unavailable`), when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        database::check_header(path)?;
        let mut fold = Fold::open(path, fold::FRAMES)?;
        let connection = database::open(path)?;
        fold.begin(&connection)?;
        let journal = Some(Journal::open(&connection)?);
        let scrub = Some(Scrub::start(fold.kept())?);
        let writer = Some(Writer::start(connection, fold)?);
        Ok(Self { readers: Readers::new(path), writer, journal, scrub })
    }

    /// Opens the state for reading alone; every change is refused with `state.read_only`.
    ///
    /// # Errors
    /// As [`SqliteState::open`]; also `Unavailable`, when there is no state, and `Conflict`
    /// (`state.version_older`), when it was not brought up to date yet.
    pub fn open_read_only(path: &Path) -> Result<Self, Error> {
        let connection = database::open_reader(path)?;
        database::check_version_is_current(&connection)?;
        Ok(Self { readers: Readers::new(path), writer: None, journal: None, scrub: None })
    }

    async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.readers.read(work).await
    }

    async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, Failure> + Send + 'static,
    {
        match &self.writer {
            Some(writer) => writer.write(work).await,
            None => Err(Error::new(
                Kind::Unavailable,
                "state.read_only",
                "the state is open for reading alone: stop the reader and start the server",
            )),
        }
    }
}
