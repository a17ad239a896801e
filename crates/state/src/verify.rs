//! Checks every page of the state against its checksum, SQLite's structures and every reference between its rows.

use std::fs::File;
use std::path::Path;

use axle_domain::{Error, Kind, Offset};
use rusqlite::Connection;

use crate::failure::{Failure, unavailable};
use crate::sums::check::look_beside;
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
    /// Pages that have the checksum they must have; 0 where there are no checksums yet. What stands
    /// in SQLite's write-ahead log has others, and is not counted.
    pub pages: u64,
    /// Frames of SQLite's write-ahead log behind its last commit: of a change that a crash has cut
    /// short, or that is being made.
    pub unfinished_frames: u64,
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
    database::check_header(path)?;
    let look = {
        let cannot = |error| {
            unavailable(format!("the state {} cannot be read", path.display())).with_source(error)
        };
        let file = File::open(path).map_err(cannot)?;
        // The file is closed again before SQLite opens it: to close it would take SQLite's locks.
        look_beside(path, &file)?
    };
    let findings = look.findings(path);
    let inspected = database::open_reader(path).and_then(|connection| {
        database::check_version_is_current(&connection)?;
        inspect(&connection).map_err(Error::from)
    });
    let mut verification = match inspected {
        Ok(verification) => verification,
        Err(error) if findings.is_empty() => return Err(error),
        Err(error) => {
            let message = format!("{}: {}", findings.join("; "), error.chain());
            return Err(Error::new(Kind::Corrupt, "state.corrupt", message));
        }
    };
    verification.pages = u64::from(look.checked) - look.pages.len() as u64;
    verification.unfinished_frames = u64::from(look.unfinished);
    verification.findings.splice(0..0, findings);
    Ok(verification)
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
    let position = reported::position(connection)?;
    Ok(Verification { version, position, pages: 0, unfinished_frames: 0, findings })
}
