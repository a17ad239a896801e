//! How far a file was read.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Queue, failed};
use axle_domain::Error;

/// Where reading goes on, and how to know the file again: numbers of files are used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) path: String,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) offset: u64,
    /// The first bytes of the file, as many of those as were read.
    pub(crate) head: Vec<u8>,
}

impl Position {
    pub(super) fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO position (path, device, inode, byte_offset, head)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                self.path,
                self.device.cast_signed(),
                self.inode.cast_signed(),
                self.offset.cast_signed(),
                self.head
            ])?;
        Ok(())
    }
}

impl Queue {
    /// How far a file was read.
    pub(crate) fn find_position(&self, path: &str) -> Result<Option<Position>, Error> {
        let unsigned = |row: &rusqlite::Row<'_>, index| row.get(index).map(i64::cast_unsigned);
        self.connection
            .query_row(
                "SELECT path, device, inode, byte_offset, head FROM position WHERE path = ?1",
                [path],
                |row| {
                    Ok(Position {
                        path: row.get(0)?,
                        device: unsigned(row, 1)?,
                        inode: unsigned(row, 2)?,
                        offset: unsigned(row, 3)?,
                        head: row.get(4)?,
                    })
                },
            )
            .optional()
            .map_err(failed)
    }
}
