//! How far the log may forget: never past one who follows it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axle_domain::port::EventLog;
use axle_domain::{ConsumerName, Offset, Timestamp};

/// Who follows the log and needs it kept: two inside axle, and the registered consumers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Follower {
    /// Store and state.
    Projections,
    /// Messages that wait for MQTT sessions.
    Sessions,
    /// A program.
    Consumer(ConsumerName),
}

impl Follower {
    /// Its name, where it is a program.
    #[must_use]
    pub fn consumer(&self) -> Option<&ConsumerName> {
        match self {
            Self::Consumer(name) => Some(name),
            Self::Projections | Self::Sessions => None,
        }
    }
}

impl fmt::Display for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Projections => f.write_str("projections"),
            Self::Sessions => f.write_str("sessions"),
            Self::Consumer(name) => f.write_str(name.as_str()),
        }
    }
}

/// Who keeps the log from forgetting, and where that one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The one that is furthest behind.
    pub follower: Follower,
    /// The oldest record that is needed.
    pub position: Offset,
    /// Bytes of the log from there on, as far as offsets tell.
    pub bytes: u64,
}

/// How one who follows the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerSigns {
    /// Who.
    pub follower: Follower,
    /// The next record that it needs.
    pub position: Offset,
    /// Durable records from there on.
    pub lag_records: u64,
    /// Bytes of the log from there on, as far as offsets tell.
    pub bytes: u64,
    /// Whether retention waits for it.
    pub is_holding: bool,
    /// When it last committed a position; `None` inside axle.
    pub moved_at: Option<Timestamp>,
}

/// The oldest offset that anyone needs, kept in the log up to date.
pub(crate) struct Floor {
    log: Arc<dyn EventLog>,
    needs: Mutex<BTreeMap<Follower, Offset>>,
}

impl Floor {
    /// Holds everything until the projections say how far they are.
    pub(crate) fn new(log: Arc<dyn EventLog>, needs: BTreeMap<Follower, Offset>) -> Self {
        let mut needs = needs;
        needs.insert(Follower::Projections, Offset(0));
        Self { log, needs: Mutex::new(needs) }
    }

    fn needs(&self) -> MutexGuard<'_, BTreeMap<Follower, Offset>> {
        self.needs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The projections have everything before an offset on disk.
    pub(crate) fn project(&self, durable: Offset) {
        self.change(|needs| {
            let projected = needs.entry(Follower::Projections).or_default();
            *projected = durable.max(*projected);
        });
    }

    /// Keeps everything from an offset on for a follower, as far as it is still there; says where
    /// that begins.
    pub(crate) fn hold(&self, follower: Follower, position: Offset) -> Offset {
        self.change(|needs| {
            needs.insert(follower, position);
        });
        position.max(self.log.bounds().first)
    }

    /// Keeps nothing for a follower any more.
    pub(crate) fn let_go(&self, follower: &Follower) {
        self.change(|needs| {
            needs.remove(follower);
        });
    }

    /// The oldest record that axle itself needs: nobody else could make room before it.
    pub(crate) fn needed_inside(&self) -> Offset {
        let needs = self.needs();
        let inside = needs.iter().filter(|(follower, _)| follower.consumer().is_none());
        inside.map(|(_, position)| *position).min().unwrap_or_default()
    }

    /// From where on a follower needs the log; `None` when it needs nothing.
    pub(crate) fn find(&self, follower: &Follower) -> Option<Offset> {
        self.needs().get(follower).copied()
    }

    /// Who is furthest behind.
    pub(crate) fn holder(&self) -> Holder {
        let (follower, position) = oldest(&self.needs());
        Holder { bytes: bytes_from(&*self.log, position), follower, position }
    }

    /// Under the lock from the change to the log, so that no older answer comes last.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<Follower, Offset>)) {
        let mut needs = self.needs();
        change(&mut needs);
        self.log.release(oldest(&needs).1);
    }
}

/// The first of those that are furthest behind.
fn oldest(needs: &BTreeMap<Follower, Offset>) -> (Follower, Offset) {
    let oldest = needs.iter().min_by_key(|(_, position)| **position);
    oldest.map_or((Follower::Projections, Offset(0)), |(who, at)| (who.clone(), *at))
}

/// Bytes of the log from an offset on, as if all records were of one size.
pub(crate) fn bytes_from(log: &dyn EventLog, position: Offset) -> u64 {
    let bounds = log.bounds();
    let all = u128::from(bounds.durable.0.saturating_sub(bounds.first.0)).max(1);
    let behind = u128::from(bounds.durable.0.saturating_sub(position.max(bounds.first).0));
    u64::try_from(u128::from(bounds.bytes) * behind / all).unwrap_or(u64::MAX)
}
