//! Compares the rows in files with the rows that a replay of the log gives.
//!
//! Rows are compared by a hash of their identity. So many hashes may be more than memory should
//! hold; then a pass compares one part of them, chosen by the hash itself, and others follow.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use arrow::array::Array;
use axle_domain::{Error, Offset, RowBatch, Schemas};

use crate::chunk::Chunk;
use crate::columns::{Columns, Shape, View};
use crate::constraint::Constraint;
use crate::data_file::DataFile;
use crate::layout::Layout;
use crate::manifest::Manifest;

/// Hashes that are in memory at once: about 400 MiB.
const HASHES_MAX: usize = 16 * 1024 * 1024;

/// A store that is being compared, as its manifest was when it was opened.
pub struct StoreAudit {
    layouts: BTreeMap<String, Arc<Layout>>,
    files: Vec<DataFile>,
    position: Offset,
}

impl StoreAudit {
    /// Reads the manifest. Changes nothing.
    ///
    /// # Errors
    /// `Corrupt` where it cannot be read.
    pub fn open(folder: &Path, schemas: &Schemas) -> Result<Self, Error> {
        let manifest = Manifest::find(folder)?.unwrap_or_default();
        let named = |stream: &Arc<_>| {
            let layout = Layout::new(Arc::clone(stream));
            (layout.name().to_owned(), Arc::new(layout))
        };
        Ok(Self {
            layouts: schemas.iter().map(named).collect(),
            position: Offset(manifest.position),
            files: manifest.files.into_iter().map(|entry| DataFile::new(entry, folder)).collect(),
        })
    }

    /// One past the last record of the log whose rows are in files.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Begins the first pass, which takes as large a part as memory allows.
    #[must_use]
    pub fn begin(&self) -> StorePass<'_> {
        self.pass(0, 1)
    }

    /// Begins the pass over one of so many parts.
    #[must_use]
    pub fn pass(&self, part: u64, parts: u64) -> StorePass<'_> {
        StorePass { audit: self, part, parts, hashes: HashMap::new(), hashes_max: HASHES_MAX }
    }
}

/// A comparison of one part of the rows. All rows of the replay go through each pass.
pub struct StorePass<'a> {
    audit: &'a StoreAudit,
    part: u64,
    parts: u64,
    /// Of each row of the replay, and whether a file has it.
    hashes: HashMap<u64, bool>,
    hashes_max: usize,
}

impl StorePass<'_> {
    /// Into how many parts the rows fall. Passes 1 to that number are still to be made.
    #[must_use]
    pub fn parts(&self) -> u64 {
        self.parts
    }

    /// Takes rows of the replay.
    ///
    /// # Errors
    /// `Internal`, for a stream that the schemas do not have.
    pub fn take(&mut self, batch: RowBatch) -> Result<(), Error> {
        let name = batch.schema.name.as_str();
        let Some(layout) = self.audit.layouts.get(name) else {
            return Err(Error::internal("store.audit", format!("no stream is called `{name}`")));
        };
        let shape = Shape::full(layout);
        let chunk = Chunk::new(layout, batch)?;
        for row in 0..chunk.rows() {
            let hash = identity(layout, &shape, &chunk.columns, row);
            if hash % self.parts == self.part {
                self.hashes.insert(hash, false);
            }
        }
        // Only the first pass grows; those after it know how many parts there are.
        while self.hashes.len() > self.hashes_max && self.part == 0 {
            self.parts *= 2;
            let parts = self.parts;
            self.hashes.retain(|hash, _| hash % parts == 0);
        }
        Ok(())
    }

    /// Looks for all rows of this part in the files. `is_whole` says that the replay had every
    /// record since the beginning: then the files may hold nothing else. Says what differs.
    ///
    /// # Errors
    /// `Corrupt` for a file that cannot be read.
    pub fn finish(mut self, is_whole: bool) -> Result<Vec<String>, Error> {
        let mut findings = Vec::new();
        for file in &self.audit.files {
            let Some(layout) = self.audit.layouts.get(&file.entry.stream) else { continue };
            let shape = Shape::full(layout);
            let (mut unknown, mut example) = (0_u64, String::new());
            for batch in file.scan(layout, &shape.columns, &ALL, false)? {
                let columns = Columns::of(&batch?)?;
                for row in 0..columns.rows {
                    let hash = identity(layout, &shape, &columns, row);
                    if hash % self.parts != self.part {
                        continue;
                    }
                    if let Some(is_found) = self.hashes.get_mut(&hash) {
                        *is_found = true;
                    } else if is_whole {
                        unknown += 1;
                        if unknown == 1 {
                            let device = columns.text(Layout::DEVICE).and_then(|it| it.get(row));
                            example = device.unwrap_or("").to_owned();
                        }
                    }
                }
            }
            if unknown > 0 {
                findings.push(format!(
                    "telemetry file `{}` has {unknown} rows that the log does not have, one of \
                     `{example}`",
                    file.entry.path
                ));
            }
        }
        let missing = self.hashes.values().filter(|is_found| !**is_found).count();
        if missing > 0 {
            findings.push(format!(
                "{missing} rows that the log has before offset {} are in no telemetry file",
                self.audit.position
            ));
        }
        Ok(findings)
    }
}

/// All rows.
const ALL: Constraint =
    Constraint { devices: None, time: Constraint::ALWAYS, claimed: Constraint::ALWAYS };

/// A hash of what makes a row this row: stream, device, keys, claimed time, values, `extra`.
fn identity(layout: &Layout, shape: &Shape, columns: &Columns, row: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    layout.name().hash(&mut hasher);
    columns.time(shape.claimed, row).hash(&mut hasher);
    for place in shape.series.iter().chain(&shape.values) {
        match columns.views.get(*place) {
            Some(View::Time(times)) => times.get(row).hash(&mut hasher),
            Some(View::Float(values, nulls)) => {
                let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                let value = values.get(row).filter(|_| !is_null);
                value.map(|value| value.to_bits()).hash(&mut hasher);
            }
            Some(View::Bool(values)) => {
                values.is_valid(row).then(|| values.value(row)).hash(&mut hasher);
            }
            Some(View::Text(texts)) => texts.get(row).hash(&mut hasher),
            None => {}
        }
    }
    hasher.finish()
}
