//! Looks at a state as a whole: its sums, its write-ahead log, its pages.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::Path;

use axle_domain::{Error, Kind};
use rusqlite::{Connection, OpenFlags};

use super::compare::{Comparison, page_bytes};
use super::survey::{Damage, survey};
use super::{Read, Sums, path_of, read, wal_of};
use crate::failure::unavailable;

/// Damaged pages that are named; the others are counted.
const NAMED_MAX: usize = 10;
/// Looks at what changes meanwhile, until two agree.
const LOOKS_MAX: usize = 20;

/// How the file of sums is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is none.
    Missing,
    /// It is what was written.
    Whole(Sums),
    /// It is damaged itself; that the pages are whole is proven all the same.
    Proven(Sums),
    /// It is damaged, and so may the pages be.
    Unproven,
}

/// What was seen at one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) standing: Standing,
    /// Pages that were compared with their sums.
    pub(crate) checked: u32,
    /// Pages that are not what was written there.
    pub(crate) pages: Vec<u32>,
    /// Bytes that the file has and bytes that it must have, where they differ.
    length: Option<(u64, u64)>,
    wal: Option<Damage>,
    /// Frames behind the last commit of the write-ahead log.
    pub(crate) unfinished: u32,
}

impl Look {
    /// Whether nothing speaks against the state.
    pub(crate) fn is_clean(&self) -> bool {
        self.pages.is_empty()
            && self.length.is_none()
            && self.wal.is_none()
            && self.standing != Standing::Unproven
    }

    /// What is wrong, in words. Asks SQLite which tables the pages belong to.
    pub(crate) fn findings(&self, path: &Path) -> Vec<String> {
        let mut findings: Vec<String> = self.wal.iter().map(ToString::to_string).collect();
        let sums = path_of(path);
        match self.standing {
            Standing::Missing | Standing::Whole(_) => {}
            Standing::Proven(_) => findings.push(format!(
                "{} is damaged itself, and its pages are whole: the server mends it when it starts",
                sums.display()
            )),
            Standing::Unproven => findings
                .push(format!("{} is damaged itself: nothing proves the pages", sums.display())),
        }
        if let Some((found, wanted)) = self.length {
            findings.push(format!("the file has {found} bytes, and must have {wanted}"));
        }
        for page in self.pages.iter().take(NAMED_MAX) {
            let mut words = format!("page {page}");
            if let Some(table) = owner(path, *page) {
                write!(words, " (of `{table}`)").ok();
            }
            words.push_str(" is not what was written there");
            findings.push(words);
        }
        if let Some(more @ 1..) = self.pages.len().checked_sub(NAMED_MAX) {
            findings.push(format!("{more} more pages are not what was written there"));
        }
        findings
    }
}

/// What a state that nobody writes to may be opened with: its sums, or `None` where it has none.
///
/// # Errors
/// `Corrupt` (`state.corrupt`), when anything is damaged: the state must not be used then.
pub(crate) fn approve(path: &Path, file: &File) -> Result<Option<Sums>, Error> {
    let look = look(path, file, None)?;
    if !look.is_clean() {
        return Err(damaged(path, &look));
    }
    if look.unfinished > 0 {
        tracing::info!(
            frames = look.unfinished,
            "the last run ended without warning; an unfinished change of the state was dropped"
        );
    }
    match look.standing {
        Standing::Whole(sums) => Ok(Some(sums)),
        Standing::Proven(sums) => {
            tracing::warn!("the state's page sums were damaged, its pages are whole: written anew");
            let sums = Sums { generation: sums.generation.wrapping_add(1), ..sums };
            if let Err(error) = sums.write(&path_of(path)) {
                // They are written before any page is.
                tracing::warn!(%error, "the state's page sums cannot be written yet");
            }
            Ok(Some(sums))
        }
        Standing::Missing | Standing::Unproven => Ok(None),
    }
}

fn damaged(path: &Path, look: &Look) -> Error {
    let otherwise = if look.wal.is_some() {
        "Where there is none: `sqlite3 state.db 'PRAGMA wal_checkpoint'` keeps what lies before the \
         damage, and gives up the rest; then"
    } else {
        "If something else than axle has replaced or changed it on purpose,"
    };
    let message = format!(
        "the state {} is damaged: {}; keep a copy of it, and restore a backup. {otherwise} remove \
         {}: its pages are then taken as they are",
        path.display(),
        look.findings(path).join("; "),
        path_of(path).display()
    );
    Error::new(Kind::Corrupt, "state.corrupt", message)
}

/// Looks at a state that a server may be writing to, again where anything changes meanwhile, and
/// accuses only what was seen twice.
pub(crate) fn look_beside(path: &Path, file: &File) -> Result<Look, Error> {
    let mut last = look(path, file, None)?;
    for _again in 0..LOOKS_MAX {
        if last.is_clean() {
            break;
        }
        // The sums become durable before the pages that they are of, and the write-ahead log
        // begins anew only after these: a page that is read between two looks at equal sums, and
        // was not in the log before it was read, can only be what these sums say.
        let pages = (last.standing != Standing::Unproven).then_some(last.pages.as_slice());
        let next = look(path, file, pages)?;
        let is_quiet = next.standing == last.standing
            && read(&path_of(path))?.map(Standing::from_whole) == Some(next.standing.clone());
        let is_same =
            next.pages == last.pages && next.wal == last.wal && next.length == last.length;
        last = Look { checked: last.checked, ..next };
        if is_same && (is_quiet || !matches!(last.standing, Standing::Whole(_))) {
            break;
        }
    }
    Ok(last)
}

impl Standing {
    fn from_whole(read: Read) -> Self {
        match read {
            Read::Whole(sums) => Self::Whole(sums),
            Read::Damaged { .. } | Read::Useless => Self::Unproven,
        }
    }
}

/// One look: at all pages, or at some. Sums first, then the write-ahead log, then the pages.
fn look(path: &Path, file: &File, only: Option<&[u32]>) -> Result<Look, Error> {
    let failed = |error: io::Error| {
        unavailable(format!("the state {} cannot be read", path.display())).with_source(error)
    };
    let found = read(&path_of(path))?;
    let survey = survey(&wal_of(path)).map_err(failed)?;
    let mut look = Look {
        standing: Standing::Missing,
        checked: 0,
        pages: Vec::new(),
        length: None,
        wal: survey.damage,
        unfinished: survey.unfinished,
    };
    let (sums, proof) = match found {
        None => return Ok(look),
        Some(Read::Useless) => {
            look.standing = Standing::Unproven;
            return Ok(look);
        }
        Some(Read::Whole(sums)) => (sums, None),
        Some(Read::Damaged { sums, proof: Some(proof) }) => (sums, Some(Some(proof))),
        // Where its header is not to be trusted, the state's own says how large pages are.
        Some(Read::Damaged { sums, proof: None }) => {
            let page_bytes = page_bytes(file).map_err(failed)?;
            (Sums { page_bytes, ..sums }, Some(None))
        }
    };
    if survey.doubt.is_some_and(|(page, sum)| sums.of(page) == Some(sum)) {
        // What the file has of this page: it was not overwritten yet.
        look.wal = None;
    }
    let comparison = Comparison { file, sums: &sums, survey: &survey };
    let compared = match only {
        Some(pages) => comparison.some(pages).map_err(failed)?,
        None => comparison.all().map_err(failed)?,
    };
    look.checked = compared.checked;
    look.pages = compared.pages;
    look.length = comparison.length().map_err(failed)?;
    look.standing = match proof {
        None => Standing::Whole(sums),
        Some(_) if look.pages.is_empty() => Standing::Proven(sums),
        Some(Some(proof)) if compared.proof == proof => {
            // The sums of these pages are what is damaged.
            look.pages.clear();
            Standing::Proven(Sums { pages: compared.actual, ..sums })
        }
        Some(_) => Standing::Unproven,
    };
    Ok(look)
}

/// Which table or index a page belongs to, where SQLite can still tell. Changes nothing.
fn owner(path: &Path, page: u32) -> Option<String> {
    let escape = |text: &str| text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let uri = format!("file:{}?immutable=1", escape(path.to_str()?));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags).ok()?;
    let sql = "SELECT name FROM dbstat WHERE pageno = ?1 LIMIT 1";
    connection.query_row(sql, [page], |row| row.get(0)).ok()
}
