//! Checks every page of the state and every reference between its rows.

use std::path::Path;

use axle_domain::{Error, Offset};
use rusqlite::Connection;

use crate::failure::Failure;
use crate::{database, reported};

/// Findings that are listed; a file with more is lost anyway.
const FINDINGS_MAX: usize = 100;

/// What a check of the state saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The version of the file's layout.
    pub version: u32,
    /// One past the last record of the log that the state knows.
    pub position: Offset,
    /// What is wrong, in words; empty where all is well.
    pub findings: Vec<String>,
}

/// Reads the whole state and reports what is wrong with it. Changes nothing; works beside a
/// running server. Blocks for as long as it takes to read the file.
///
/// # Errors
/// `Unavailable`, when there is no state or it cannot be read; `Corrupt`, when it is damaged
/// beyond opening or not ours; `Conflict`, when its version is not the one of this program.
pub fn verify(path: &Path) -> Result<Verification, Error> {
    let connection = database::open_reader(path)?;
    database::check_version_is_current(&connection)?;
    inspect(&connection).map_err(Error::from)
}

fn inspect(connection: &Connection) -> Result<Verification, Failure> {
    let mut findings = Vec::new();
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({FINDINGS_MAX})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let finding: String = row.get(0)?;
        if finding != "ok" {
            findings.push(finding);
        }
    }
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if findings.len() >= FINDINGS_MAX {
            break;
        }
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        findings.push(format!("a row of {table} refers to a row of {parent} that is missing"));
    }
    let version = database::version(connection)?;
    Ok(Verification { version, position: reported::position(connection)?, findings })
}
