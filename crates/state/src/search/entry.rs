//! What stands in the index, and keeping it true within the transaction that changes the rest.

use axle_domain::search::{compact, terms};
use axle_domain::{SearchEntry, SearchKind};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::failure::{Failure, corrupt};

/// The form of the index that this program writes; counts up when texts are cut otherwise.
const INDEX_VERSION: i64 = 1;
const ENTRY: &str = "SELECT kind, id, name, model, what, number FROM search_entry";
/// Everything that can be found, each as kind, id, name, model and what it is.
const SOURCES: [&str; 3] = [
    "SELECT 'device', id, name, model, kind, 0 FROM device",
    "SELECT 'component', serial, '', model, kind, 0 FROM component",
    "SELECT 'user', name, display_name, '', role, 0 FROM user",
];

/// Lets an entry be found as it is now.
pub(crate) fn put(connection: &Connection, entry: &SearchEntry) -> Result<(), Failure> {
    let sql = format!("{ENTRY} WHERE kind = ?1 AND id = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![entry.kind.as_str(), entry.id])?;
    let stored = match rows.next()? {
        Some(row) => Some((read(row)?, row.get(5)?)),
        None => None,
    };
    drop(rows);
    let number = match stored {
        Some((stored, _)) if stored == *entry => return Ok(()),
        Some((stored, number)) => {
            forget(connection, &stored, number)?;
            Some(number)
        }
        None => None,
    };
    let mut statement = connection.prepare_cached(
        "INSERT INTO search_entry (number, kind, id, name, model, what)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let number = statement.insert(params![
        number,
        entry.kind.as_str(),
        entry.id,
        entry.name,
        entry.model,
        entry.what,
    ])?;
    let mut statement =
        connection.prepare_cached("INSERT INTO search_term (term, number) VALUES (?1, ?2)")?;
    for term in all_terms(entry) {
        statement.execute(params![term, number])?;
    }
    let texts: Vec<String> = entry.fields().map(|(_, text)| compact(text)).collect();
    let mut statement =
        connection.prepare_cached("INSERT INTO search_text (rowid, text) VALUES (?1, ?2)")?;
    statement.execute(params![number, texts.join(" ")])?;
    Ok(())
}

/// Lets an entry be found no more.
pub(crate) fn delete(connection: &Connection, kind: SearchKind, id: &str) -> Result<(), Failure> {
    let sql = format!("{ENTRY} WHERE kind = ?1 AND id = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let stored = statement
        .query_row(params![kind.as_str(), id], |row| {
            let number: i64 = row.get(5)?;
            Ok(number)
        })
        .optional()?;
    let Some(number) = stored else { return Ok(()) };
    let Some(stored) = find(connection, number)? else { return Ok(()) };
    forget(connection, &stored, number)
}

/// The entry of a number.
pub(super) fn find(connection: &Connection, number: i64) -> Result<Option<SearchEntry>, Failure> {
    let mut statement = connection.prepare_cached(&format!("{ENTRY} WHERE number = ?1"))?;
    let mut rows = statement.query([number])?;
    rows.next()?.map(read).transpose()
}

/// Makes the index anew where it was written in another form, within the transaction that brings
/// the file up to date.
pub(crate) fn rebuild_if_old(connection: &Connection) -> Result<(), Failure> {
    let version: i64 =
        connection.query_row("SELECT version FROM search_version", [], |row| row.get(0))?;
    if version == INDEX_VERSION {
        return Ok(());
    }
    connection.execute_batch(
        "DELETE FROM search_entry; DELETE FROM search_term;
         INSERT INTO search_text (search_text) VALUES ('delete-all');",
    )?;
    for source in SOURCES {
        let mut statement = connection.prepare(source)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            put(connection, &read(row)?)?;
        }
    }
    connection.execute("UPDATE search_version SET version = ?1", [INDEX_VERSION])?;
    Ok(())
}

fn forget(connection: &Connection, stored: &SearchEntry, number: i64) -> Result<(), Failure> {
    let mut statement =
        connection.prepare_cached("DELETE FROM search_term WHERE term = ?1 AND number = ?2")?;
    for term in all_terms(stored) {
        statement.execute(params![term, number])?;
    }
    connection.prepare_cached("DELETE FROM search_text WHERE rowid = ?1")?.execute([number])?;
    connection.prepare_cached("DELETE FROM search_entry WHERE number = ?1")?.execute([number])?;
    Ok(())
}

fn all_terms(entry: &SearchEntry) -> Vec<String> {
    let mut all: Vec<String> = entry.fields().flat_map(|(_, text)| terms(text)).collect();
    all.sort();
    all.dedup();
    all
}

fn read(row: &Row<'_>) -> Result<SearchEntry, Failure> {
    let kind: String = row.get(0)?;
    Ok(SearchEntry {
        kind: SearchKind::parse(&kind)
            .ok_or_else(|| corrupt(format!("`{kind}` is no kind of a search entry")))?,
        id: row.get(1)?,
        name: row.get(2)?,
        model: row.get(3)?,
        what: row.get(4)?,
    })
}
