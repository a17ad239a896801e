//! Follows the log and carries each message to where it is shown: telemetry into the store,
//! latest values, answers, receipts and quarantine into the state.
//!
//! Each projection has its own position. The store's rows are visible when its `write` returns;
//! its position on disk follows with the next flush. The state's changes are gathered in memory
//! and committed, with their position, a few times a second. After a crash both are replayed from
//! their positions: rows of one identity are one row, and the state skips what it has.

mod fold;
mod replay;
mod stretch;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axle_domain::port::{Clock, EventLog, ReportedState, TelemetryStore};
use axle_domain::{Error, Kind, Offset, Schemas};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::app::Ports;
use crate::consumption::KeptDays;
use crate::fleet_map::FleetMap;
use crate::lag::{Arrived, Lag, LagFigures};
use crate::metrics::DoorMetrics;
use crate::retention::Floor;
use fold::Fold;
pub use replay::{Reached, Replay};
use stretch::Stretch;

/// Bytes of the log that are understood at once, where so many wait. The more rows share a batch,
/// the more of them share its dictionaries.
const READ_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Pause after a stretch, while the next one gathers: what is done once per stretch is then done
/// a hundred times a second and not a thousand. Less than a person or a query notices.
const STRETCH_PAUSE: Duration = Duration::from_millis(10);
/// A stretch of this many records is worth going on at once.
const STRETCH_RECORDS: u64 = 4096;
/// Least time between two commits of the state.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// Entries that the state's changes may gather before the log must wait for their commit.
const GATHERED_MAX: usize = 500_000;
/// Pause after a projection has failed, before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How far the projections are, as anyone may watch it.
#[derive(Clone)]
pub(crate) struct Applied(watch::Receiver<(Offset, Offset)>);

impl Applied {
    /// One past the last record in the store, and in the state.
    pub(crate) fn get(&self) -> (Offset, Offset) {
        *self.0.borrow()
    }

    /// Waits until the state has all records before an offset.
    pub(crate) async fn wait_state(&self, before: Offset) {
        let mut receiver = self.0.clone();
        // The projector holds the sender as long as the application lives.
        let _ended = receiver.wait_for(|(_, state)| *state >= before).await.is_err();
    }
}

/// What the projector has done since the start, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProjectionFigures {
    /// Messages understood.
    pub messages: u64,
    /// Rows written.
    pub rows: u64,
    /// Samples and messages set aside.
    pub quarantined: u64,
    /// Whether the last attempt failed; the server's log says why.
    pub is_stuck: bool,
}

#[derive(Default)]
struct Counts {
    messages: AtomicU64,
    rows: AtomicU64,
    quarantined: AtomicU64,
    failures_in_a_row: AtomicU64,
}

type Commit<'a> = Pin<Box<dyn Future<Output = (Duration, Result<Offset, Error>)> + Send + 'a>>;

/// The one follower of the log inside axle.
pub struct Projector {
    log: Arc<dyn EventLog>,
    store: Arc<dyn TelemetryStore>,
    reported: Arc<dyn ReportedState>,
    schemas: Arc<Schemas>,
    door: Arc<DoorMetrics>,
    fleet_map: Arc<FleetMap>,
    kept_days: Arc<KeptDays>,
    floor: Arc<Floor>,
    start: (Offset, Offset),
    applied: watch::Sender<(Offset, Offset)>,
    counts: Counts,
    clock: Arc<dyn Clock>,
    /// Of the store, and of the state.
    lag: (Lag, Lag),
}

impl Projector {
    pub(crate) async fn open(
        ports: &Ports,
        schemas: Arc<Schemas>,
        door: Arc<DoorMetrics>,
        (fleet_map, kept_days): (Arc<FleetMap>, Arc<KeptDays>),
        floor: Arc<Floor>,
    ) -> Result<Self, Error> {
        let Ports { log, store, reported, clock, .. } = ports.clone();
        let start = (store.position(), reported.position().await?);
        let end = log.bounds().appended;
        if start.0 > end || start.1 > end {
            let message = format!(
                "the log ends at offset {end}, but store and state are at {} and {}: \
                 part of the log is missing, restore it from a backup",
                start.0, start.1
            );
            return Err(Error::new(Kind::Corrupt, "log.behind_projections", message));
        }
        let applied = watch::Sender::new(start);
        let counts = Counts::default();
        Ok(Self {
            log,
            store,
            reported,
            schemas,
            door,
            fleet_map,
            kept_days,
            floor,
            start,
            applied,
            counts,
            clock,
            lag: Default::default(),
        })
    }

    /// How far the projections are: store, state.
    #[must_use]
    pub fn applied(&self) -> (Offset, Offset) {
        *self.applied.borrow()
    }

    pub(crate) fn watch(&self) -> Applied {
        Applied(self.applied.subscribe())
    }

    /// How long after their arrival messages are shown: by the store, by the state.
    #[must_use]
    pub fn lag(&self) -> (LagFigures, LagFigures) {
        (self.lag.0.figures(), self.lag.1.figures())
    }

    /// Figures since the start.
    #[must_use]
    pub fn figures(&self) -> ProjectionFigures {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProjectionFigures {
            messages: get(&self.counts.messages),
            rows: get(&self.counts.rows),
            quarantined: get(&self.counts.quarantined),
            is_stuck: get(&self.counts.failures_in_a_row) > 0,
        }
    }

    /// Follows the log until `stop` turns true, then commits what is gathered. Decoding is work
    /// for a processor: give this a thread of its own. The live map is filled meanwhile.
    pub async fn run(&self, stop: watch::Receiver<bool>) {
        tokio::join!(self.fill_map(stop.clone()), self.run_following(stop));
    }

    /// Fills the live map from the state.
    async fn fill_map(&self, mut stop: watch::Receiver<bool>) {
        loop {
            let failure = tokio::select! {
                filled = self.fleet_map.fill(&*self.reported, &self.schemas) => match filled {
                    Ok(()) => return,
                    Err(failure) => failure,
                },
                () = stopped(&mut stop) => return,
            };
            warn!(error = %failure.chain(), "the live map cannot be filled, trying again");
            tokio::select! {
                () = tokio::time::sleep(RETRY_PAUSE) => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    async fn run_following(&self, mut stop: watch::Receiver<bool>) {
        let mut gathered = Gathered::new(self.start.1);
        loop {
            let result = self.follow(&mut gathered, &mut stop).await;
            match result {
                Ok(()) => break,
                Err(failure) => {
                    let failures = self.counts.failures_in_a_row.fetch_add(1, Ordering::Relaxed);
                    if failures == 0 {
                        error!(error = %failure.chain(), "projection failed, trying again");
                    }
                    // What was gathered but not committed is read again from the log.
                    gathered = Gathered::new(self.applied().1);
                    tokio::select! {
                        () = tokio::time::sleep(RETRY_PAUSE) => {}
                        () = stopped(&mut stop) => break,
                    }
                }
            }
        }
    }

    async fn follow(
        &self,
        gathered: &mut Gathered,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let (store_from, state_from) = self.applied();
        let mut next = store_from.min(state_from);
        let mut commit: Option<Commit<'_>> = None;
        let (mut commit_after, mut read_after) = (Instant::now(), Instant::now());
        let mut is_stopping = false;
        loop {
            if commit.is_none()
                && (is_stopping || Instant::now() >= commit_after)
                && self.has_changes(gathered)
            {
                commit = Some(self.commit(gathered));
            }
            if is_stopping && commit.is_none() {
                return Ok(());
            }
            let may_read = !is_stopping && gathered.fold.len() < GATHERED_MAX;
            let is_time = Instant::now() >= read_after;
            let wake_for_commit = commit.is_none() && self.has_changes(gathered);
            tokio::select! {
                biased;
                () = stopped(stop), if !is_stopping => is_stopping = true,
                (took, result) = poll_commit(&mut commit), if commit.is_some() => {
                    commit = None;
                    self.committed(result?);
                    // Leave the processor to others for a while in proportion to the work.
                    commit_after = Instant::now() + COMMIT_INTERVAL.max(took * 3);
                }
                () = tokio::time::sleep_until(read_after), if may_read && !is_time => {}
                durable = self.log.durable(next), if may_read && is_time => {
                    durable?;
                    let through = self.apply(next, (store_from, state_from), gathered).await?;
                    let is_short = through.0 - next.0 < STRETCH_RECORDS;
                    next = through;
                    read_after = Instant::now() + if is_short { STRETCH_PAUSE } else { Duration::ZERO };
                }
                () = tokio::time::sleep_until(commit_after), if wake_for_commit => {}
            }
        }
    }

    fn has_changes(&self, gathered: &Gathered) -> bool {
        gathered.through > self.applied().1
    }

    /// Reads a stretch of the log and carries it to the store; gathers what the state needs.
    async fn apply(
        &self,
        next: Offset,
        (store_from, state_from): (Offset, Offset),
        gathered: &mut Gathered,
    ) -> Result<Offset, Error> {
        let records = match self.log.read(next, READ_BYTES_MAX).await {
            Ok(records) => records,
            Err(damage) if damage.kind == Kind::Corrupt || damage.kind == Kind::NotFound => {
                return self.skip(next, damage);
            }
            Err(other) => return Err(other),
        };
        let mut stretch = Stretch::new(&self.schemas, store_from, state_from);
        for record in &records {
            stretch.take(record, &mut gathered.fold);
        }
        let Some(last) = records.last() else { return Ok(next) };
        let through = last.offset.next();
        let rows = stretch.row_count();
        let batches = stretch.take_batches(&mut gathered.fold);
        let changed = self.kept_days.changed_by(&batches);
        self.store.write(batches, through).await?;
        self.kept_days.forget(changed);
        self.applied.send_modify(|applied| applied.0 = applied.0.max(through));
        if let Some(arrived) = Arrived::of(&records) {
            self.lag.0.shown(arrived, &self.clock);
            gathered.arrived = Some(match gathered.arrived {
                Some(earlier) => earlier.and(arrived),
                None => arrived,
            });
        }
        let set_aside = gathered.take(stretch, through);
        self.counts.messages.fetch_add(records.len() as u64, Ordering::Relaxed);
        self.counts.rows.fetch_add(rows, Ordering::Relaxed);
        self.counts.quarantined.fetch_add(set_aside, Ordering::Relaxed);
        self.counts.failures_in_a_row.store(0, Ordering::Relaxed);
        Ok(through)
    }

    /// Goes on behind a damaged stretch: the good must not wait for the bad. The damage stays on
    /// disk and is reported by the log.
    fn skip(&self, next: Offset, damage: Error) -> Result<Offset, Error> {
        match damage.limit {
            Some((next_good, _)) if Offset(next_good) > next => {
                error!(error = %damage.chain(), "skipping damaged records");
                Ok(Offset(next_good))
            }
            _ => Err(damage),
        }
    }

    fn commit(&self, gathered: &mut Gathered) -> Commit<'_> {
        let arrived = gathered.arrived.take();
        let mut projected = gathered.drain();
        self.fleet_map.take(&projected.latest);
        let at_door = self.door.take();
        projected.counted.add(at_door);
        let through = projected.through;
        Box::pin(async move {
            let started = Instant::now();
            let result = self.reported.commit(projected).await.map(|()| through);
            if result.is_err() {
                // What the log holds is counted again when it is read again; this is not in it.
                self.door.put_back(at_door);
            } else if let Some(arrived) = arrived {
                self.lag.1.shown(arrived, &self.clock);
            }
            (started.elapsed(), result)
        })
    }

    fn committed(&self, through: Offset) {
        self.applied.send_modify(|applied| applied.1 = applied.1.max(through));
        let durable = self.store.position().min(through);
        self.floor.project(durable);
    }
}

/// Waits until the application wants to stop, or has gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _gone = stop.wait_for(|stop| *stop).await.is_err();
}

async fn poll_commit(commit: &mut Option<Commit<'_>>) -> (Duration, Result<Offset, Error>) {
    match commit {
        Some(commit) => commit.await,
        None => {
            warn!("no commit to wait for");
            std::future::pending().await
        }
    }
}

/// What the state is to learn with the next commit.
struct Gathered {
    through: Offset,
    fold: Fold,
    rest: axle_domain::port::Projected,
    arrived: Option<Arrived>,
}

impl Gathered {
    fn new(through: Offset) -> Self {
        let rest = axle_domain::port::Projected::default();
        Self { through, fold: Fold::default(), rest, arrived: None }
    }

    /// Adds a stretch that the store has; returns how many items it sets aside.
    fn take(&mut self, stretch: Stretch<'_>, through: Offset) -> u64 {
        let set_aside = stretch.changes.quarantined.len() as u64;
        self.through = self.through.max(through);
        self.rest.quarantined.extend(stretch.changes.quarantined);
        self.rest.replayed.extend(stretch.changes.replayed);
        self.rest.receipts.extend(stretch.changes.receipts);
        self.rest.replies.extend(stretch.changes.replies);
        self.rest.counted.add(stretch.changes.counted);
        set_aside
    }

    fn drain(&mut self) -> axle_domain::port::Projected {
        let mut projected = std::mem::take(&mut self.rest);
        projected.through = self.through;
        (projected.latest, projected.last_seen) = std::mem::take(&mut self.fold).finish();
        projected
    }
}
