//! The file itself: how a connection is set up, and how a file of an older version comes up to
//! date.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use axle_domain::{Error, Kind};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::failure::{Failure, corrupt, unavailable};

/// Every step of the layout, in order; the count is the version. A step is never edited.
const MIGRATIONS: [&str; 11] = [
    include_str!("../migrations/0001_begin.sql"),
    include_str!("../migrations/0002_people.sql"),
    include_str!("../migrations/0003_connections.sql"),
    include_str!("../migrations/0004_components.sql"),
    include_str!("../migrations/0005_search.sql"),
    include_str!("../migrations/0006_quarantine_codes.sql"),
    include_str!("../migrations/0007_applications.sql"),
    include_str!("../migrations/0008_client_sessions.sql"),
    include_str!("../migrations/0009_consumers.sql"),
    include_str!("../migrations/0010_retained.sql"),
    include_str!("../migrations/0011_claims.sql"),
];

/// The version of the layout that this program writes.
pub(crate) const VERSION: u32 = 11;
const _: () = assert!(VERSION as usize == MIGRATIONS.len());

/// `AXLE`: tells our file from any other SQLite file.
const APPLICATION_ID: u32 = 0x4158_4c45;

/// How long to wait for another process that writes (`axle device add` beside the server).
const BUSY_TIME_MAX: Duration = Duration::from_secs(5);
const STATEMENTS_MAX: usize = 64;

/// Opens the file for writing, creates it or brings it up to date.
pub(crate) fn open(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = || -> Result<Connection, Failure> {
        let mut connection = Connection::open_with_flags(path, flags)?;
        // Nobody but `sums::fold` may write to the file.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        set_up(&connection)?;
        check_owner(&connection)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
             PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -65536;",
        )?;
        migrate(&mut connection)?;
        Ok(connection)
    };
    opened().map_err(|failure| named(failure, path))
}

/// Opens the file for reading.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = || -> Result<Connection, Failure> {
        let connection = Connection::open_with_flags(path, flags)?;
        set_up(&connection)?;
        check_owner(&connection)?;
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -4096;")?;
        Ok(connection)
    };
    opened().map_err(|failure| named(failure, path))
}

/// Refuses a file that a writer has not brought up to date yet.
pub(crate) fn check_version_is_current(connection: &Connection) -> Result<(), Error> {
    let version = version(connection).map_err(Error::from)?;
    if version == VERSION {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        "state.version_older",
        format!(
            "the state has version {version} and this axle reads {VERSION}: start the server once"
        ),
    ))
}

/// The version of the layout that the file has; 0 for a new file.
pub(crate) fn version(connection: &Connection) -> Result<u32, Failure> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn set_up(connection: &Connection) -> Result<(), Failure> {
    connection.busy_timeout(BUSY_TIME_MAX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;")?;
    Ok(())
}

/// Reads the header before SQLite does: even to open a file of a newer axle and to close it again
/// would change it.
pub(crate) fn check_header(path: &Path) -> Result<(), Error> {
    let cannot_read = |error| {
        unavailable(format!("the state {} cannot be read", path.display())).with_source(error)
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot_read(error)),
    };
    let mut header = Vec::new();
    file.take(100).read_to_end(&mut header).map_err(cannot_read)?;
    let number = |at: usize| {
        let bytes = header.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let (Some(version), Some(application)) = (number(60), number(68)) else {
        return Ok(());
    };
    if application == APPLICATION_ID { check_not_newer(version) } else { Ok(()) }
        .map_err(|failure| named(failure, path))
}

fn check_not_newer(version: u32) -> Result<(), Failure> {
    if version <= VERSION {
        return Ok(());
    }
    let message = format!(
        "was written by a newer axle: it has version {version}, this one knows {VERSION}; use the newer axle"
    );
    Err(Error::new(Kind::Conflict, "state.version_newer", message).into())
}

fn check_owner(connection: &Connection) -> Result<(), Failure> {
    let application: u32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(corrupt("is a database, but not one of axle: give another path"));
    }
    check_not_newer(version(connection)?)
}

fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    // Within the transaction, since two processes may open a new file at one time.
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let from = version(&transaction)?;
    check_not_newer(from)?;
    if from < VERSION {
        for step in MIGRATIONS.into_iter().skip(usize::try_from(from).unwrap_or(usize::MAX)) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    crate::search::rebuild_if_old(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// The error with the file's path in front.
fn named(failure: Failure, path: &Path) -> Error {
    let mut error = Error::from(failure);
    error.message = format!("the state {}: {}", path.display(), error.message);
    error
}
