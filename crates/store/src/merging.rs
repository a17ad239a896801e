//! Merges files of one day, or late files of one month, in the background.
//!
//! Files of one size class meet when there are enough of them, so that a row is rewritten once
//! per eightfold growth of its file and not once per flush.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError};

use axle_domain::Error;
use tracing::{debug, error};

use crate::columns::Shape;
use crate::constraint::Constraint;
use crate::data_file::DataFile;
use crate::encode::FileWriter;
use crate::flush::{Place, prepare, sync_parent};
use crate::layout::Layout;
use crate::manifest::Tier;
use crate::merge::{Batches, Merge};
use crate::store::{Shared, State};

/// Rows of a batch on the way from files to a file.
const SLICE_ROWS: usize = 32 * 1024;

/// The merge thread.
pub(crate) fn run(shared: &Shared) {
    // Files of merges that failed are left alone until a restart; the same would happen again.
    let mut failures = HashSet::new();
    loop {
        let job = {
            let mut state = shared.state();
            loop {
                if state.is_closed {
                    return;
                }
                if state.poison.is_none()
                    && let Some(job) = find(shared, &state, &failures)
                {
                    break job;
                }
                let wait = shared.settings.flush_interval;
                let waited = shared.wake.wait_timeout(state, wait);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        if let Err(error) = job.run(shared) {
            error!(error = %error.chain(), "merging telemetry files failed");
            failures.extend(job.paths());
        }
    }
}

/// Files that are to become one.
struct Job {
    layout: Arc<Layout>,
    tier: Tier,
    period: String,
    files: Vec<Arc<DataFile>>,
}

/// The smallest files that are worth merging.
fn find(shared: &Shared, state: &State, failures: &HashSet<String>) -> Option<Job> {
    let settings = &shared.settings;
    for (name, stream) in &state.streams {
        let layout = shared.layouts.get(name)?;
        let mut alike: BTreeMap<(u32, Tier, &str), Vec<&Arc<DataFile>>> = BTreeMap::new();
        for file in &stream.files {
            let entry = &file.entry;
            // Recent and settled files of a day merge with each other.
            let tier = if entry.tier == Tier::Late { Tier::Late } else { Tier::Settled };
            let class = entry.range.rows.max(1).ilog(8);
            if entry.range.rows <= settings.merge_rows_max && !failures.contains(&entry.path) {
                alike.entry((class, tier, &entry.period)).or_default().push(file);
            }
        }
        let enough =
            alike.into_iter().find(|(_, files)| files.len() >= settings.merge_files.max(2));
        if let Some(((_, tier, period), files)) = enough {
            let files = files.into_iter().take(settings.merge_files.max(2)).cloned().collect();
            return Some(Job {
                layout: Arc::clone(layout),
                tier,
                period: period.to_owned(),
                files,
            });
        }
    }
    None
}

impl Job {
    fn paths(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|file| file.entry.path.clone())
    }

    fn run(&self, shared: &Shared) -> Result<(), Error> {
        let number = {
            let mut manifest = shared.commit.lock().unwrap_or_else(PoisonError::into_inner);
            manifest.next_file += 1;
            manifest.next_file - 1
        };
        let tier = self.tier;
        let place = Place { layout: &self.layout, tier, period: self.period.clone() };
        let path = place.path(number);
        let full = prepare(&shared.folder, &path)?;
        let merged = self.write(&full);
        let (written, collapsed) = match merged {
            Ok(merged) => merged,
            Err(error) => {
                std::fs::remove_file(&full).ok();
                return Err(error);
            }
        };
        sync_parent(&full)?;
        let entry = place.entry(path, written);
        debug!(file = %entry.path, files = self.files.len(), collapsed, "merged telemetry files");
        let mut manifest = shared.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = manifest.clone();
        let is_old = |path: &str| self.files.iter().any(|file| file.entry.path == path);
        next.files.retain(|entry| !is_old(&entry.path));
        next.files.push(entry.clone());
        next.collapsed_rows += collapsed;
        next.write(&shared.folder).map_err(|error| shared.give_up_if_open(error))?;
        *manifest = next;
        let mut state = shared.state();
        state.collapsed = manifest.collapsed_rows;
        if let Some(stream) = state.streams.get_mut(&entry.stream) {
            stream.files.retain(|file| !is_old(&file.entry.path));
            stream.files.push(Arc::new(DataFile::new(entry, &shared.folder)));
        }
        drop(state);
        self.files.iter().for_each(|file| file.doom());
        Ok(())
    }

    fn write(&self, path: &std::path::Path) -> Result<(crate::encode::Written, u64), Error> {
        let shape = Shape::full(&self.layout);
        let all = Constraint::visible(&axle_domain::port::Visibility::All);
        let mut runs: Vec<Batches> = Vec::with_capacity(self.files.len());
        for file in &self.files {
            runs.push(Box::new(file.scan(&self.layout, &shape.columns, &all, false)?));
        }
        let mut writer = FileWriter::create(&self.layout, path)?;
        let mut merge = Merge::new(&self.layout, shape, runs).with_batch_rows(SLICE_ROWS);
        for batch in merge.by_ref() {
            writer.write(&batch?)?;
        }
        Ok((writer.finish()?, merge.collapsed()))
    }
}
