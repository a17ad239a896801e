//! What a household used: energy per socket and stretch of local time, from its meter's readings.
//!
//! The store turns readings into slots of a quarter of an hour ([`Usage`]); every time zone in use
//! is a multiple of that away from UTC, so that any local hour, day and month is made of whole
//! slots. Days that are over are kept in memory ([`KeptDays`]), until a late row changes one.

mod calendar;
mod day;
mod share;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{Clock, History, Reduce, TelemetryStore, USAGE_GAP_MICROS_MAX, Usage};
use axle_domain::{Access, DeviceId, Error, Kind, StreamName, Timestamp, limit};

pub use calendar::{Bucket, Period, Zone};
pub(crate) use day::KeptDays;
use day::{DAY, DayUse, days_of};
pub use share::{BucketUse, Reading, SocketUse};

use crate::principal::Principal;

/// The stream of readings.
const STREAM: &str = "energy";
/// The field: watts, or the watt-hours of a counter.
const FIELD: &str = "watts";
/// The width of a slot.
const SLOT: i64 = 900 * 1_000_000;
/// Readings as near as this have no gap between them.
const GAP: i64 = 300 * 1_000_000;
/// Days that one question to the store asks for.
const DAYS_AT_ONCE: i64 = 7;

/// A question.
#[derive(Clone, Debug)]
pub struct ConsumptionQuestion {
    /// The household: its meter.
    pub device: DeviceId,
    /// From here on; rounded down to a quarter of an hour.
    pub from: Timestamp,
    /// Until before here; rounded up to a quarter of an hour.
    pub to: Timestamp,
    /// What to divide the time into.
    pub bucket: Bucket,
    /// Whose hours, days and months they are.
    pub zone: Zone,
}

/// A stretch of local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its begin.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// How much of it has passed, in seconds.
    pub seconds: i64,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Consumption {
    /// The buckets, in order.
    pub buckets: Vec<Stretch>,
    /// What each socket used, ordered by socket and name; `values` go with `buckets`.
    pub sockets: Vec<SocketUse>,
    /// How much of the time has passed, in seconds.
    pub seconds: i64,
}

impl Consumption {
    /// Kilowatt-hours of all sockets.
    #[must_use]
    pub fn kwh(&self) -> f64 {
        self.sockets.iter().map(|socket| socket.kwh).sum()
    }

    /// The share of the time, from 0 to 1, of which something is known, over all sockets.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        let of = self.seconds as f64 * self.sockets.len() as f64;
        let covered: f64 = self.sockets.iter().map(|socket| socket.covered_s).sum();
        if of > 0.0 { (covered / of).min(1.0) } else { 0.0 }
    }
}

/// The desk for questions of use.
pub struct Consumptions {
    store: Arc<dyn TelemetryStore>,
    clock: Arc<dyn Clock>,
    kept: Arc<KeptDays>,
    /// One computes at a time: who wants the same waits, and finds it kept.
    computing: tokio::sync::Mutex<()>,
}

impl Consumptions {
    pub(crate) fn new(
        store: Arc<dyn TelemetryStore>,
        clock: Arc<dyn Clock>,
        kept: Arc<KeptDays>,
    ) -> Self {
        Self { store, clock, kept, computing: tokio::sync::Mutex::default() }
    }

    /// What a household used.
    ///
    /// # Errors
    /// `NotFound` for a device that the principal may not read; `Invalid` for an empty range, or
    /// one of more than [`limit::CONSUMPTION_DAYS_MAX`] days or
    /// [`limit::CONSUMPTION_BUCKETS_MAX`] buckets; as the store.
    pub async fn get(
        &self,
        principal: &Principal,
        question: &ConsumptionQuestion,
    ) -> Result<Consumption, Error> {
        principal.require(Access::Read(&question.device))?;
        let from = Timestamp(question.from.0.div_euclid(SLOT).saturating_mul(SLOT));
        let to = Timestamp(question.to.0.saturating_add(SLOT - 1).div_euclid(SLOT) * SLOT);
        let now = self.clock.now();
        if from >= to {
            return Err(Error::invalid("consumption.range_empty", "`from` must be before `to`"));
        }
        let days = to.micros_since(from) / DAY;
        if days > limit::CONSUMPTION_DAYS_MAX {
            let most = limit::CONSUMPTION_DAYS_MAX;
            let message = format!("`from` and `to` are {days} days apart: at most {most}");
            return Err(Error::invalid("consumption.range_too_long", message)
                .with_limit(most.unsigned_abs(), days.unsigned_abs()));
        }
        let spans = question.zone.buckets(from, to, question.bucket)?;
        let used = self.days(&question.device, days_of(from, to)).await?;
        let buckets: Vec<_> = spans.into_iter().map(|span| stretch(span, now)).collect();
        let sockets = share::sockets(&used, &buckets);
        let seconds = buckets.iter().map(|bucket| bucket.seconds).sum();
        Ok(Consumption { buckets, sockets, seconds })
    }

    /// Adds up days of a range ahead of [`Consumptions::get`], for as long as `budget` lasts:
    /// how many are added up, of how many. What is added up is kept, so that asking again goes
    /// on from there.
    ///
    /// # Errors
    /// As [`Consumptions::get`].
    pub async fn prepare(
        &self,
        principal: &Principal,
        device: &DeviceId,
        (from, to): (Timestamp, Timestamp),
        budget: Duration,
    ) -> Result<(usize, usize), Error> {
        principal.require(Access::Read(device))?;
        let begin = self.clock.now();
        let days = days_of(from, to);
        let days = days.start..days.end.min(self.kept.over()).max(days.start);
        let mut next = days.start;
        while next < days.end && self.clock.now() < begin.after(budget) {
            let end = (next + DAYS_AT_ONCE).min(days.end);
            self.days(device, next..end).await?;
            next = end;
        }
        let count = |days: i64| usize::try_from(days).unwrap_or(0);
        Ok((count(next - days.start), count(days.end - days.start)))
    }

    /// The newest reading of each socket within the last day, ordered by socket and name.
    ///
    /// # Errors
    /// `NotFound` for a device that the principal may not read; as the store.
    pub async fn now(
        &self,
        principal: &Principal,
        device: &DeviceId,
    ) -> Result<Vec<Reading>, Error> {
        principal.require(Access::Read(device))?;
        let now = self.clock.now();
        let since = now.shifted(-DAY);
        let used = self.days(device, days_of(since, now)).await?;
        Ok(share::newest(&used, since))
    }

    /// The server's time, which ages are counted to.
    #[must_use]
    pub fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What is known of each day, counted from 1970 in UTC.
    async fn days(&self, device: &DeviceId, days: Range<i64>) -> Result<Vec<Arc<DayUse>>, Error> {
        let mut found = self.kept.find(device, days.clone());
        if found.iter().all(Option::is_some) {
            return Ok(found.into_iter().flatten().collect());
        }
        let _alone = self.computing.lock().await;
        let mut at_once = DAYS_AT_ONCE;
        let mut next = days.start;
        let mut all = Vec::new();
        // Meanwhile someone else may have computed them.
        found = self.kept.find(device, days.clone());
        while next < days.end {
            let index = usize::try_from(next - days.start).unwrap_or(usize::MAX);
            if let Some(Some(day)) = found.get(index) {
                all.push(Arc::clone(day));
                next += 1;
                continue;
            }
            let missing = found.iter().skip(index).take_while(|day| day.is_none()).count();
            let missing = i64::try_from(missing).unwrap_or(1).clamp(1, at_once);
            match self.compute(device, next..next + missing).await? {
                Some(computed) => {
                    all.extend(computed);
                    next += missing;
                }
                None if missing == 1 => {
                    let message = "the household has too many sockets to add up";
                    return Err(Error::new(Kind::TooLarge, "consumption.too_many", message));
                }
                None => at_once = missing / 2,
            }
        }
        Ok(all)
    }

    /// Asks the store for some days; `None` where that is too much for one answer.
    async fn compute(
        &self,
        device: &DeviceId,
        days: Range<i64>,
    ) -> Result<Option<Vec<Arc<DayUse>>>, Error> {
        self.kept.begin(device);
        let over = self.kept.over();
        let (from, to) = (days.start.saturating_mul(DAY), days.end.saturating_mul(DAY));
        let history = History {
            device: device.clone(),
            stream: StreamName::parse(STREAM)?,
            // What holds across midnight is known only with what lies on its other side.
            from: Timestamp(from - USAGE_GAP_MICROS_MAX),
            to: Timestamp(to + USAGE_GAP_MICROS_MAX),
            fields: vec![FIELD.to_owned()],
            reduce: Reduce::Usage(Usage { slot_micros: SLOT, gap_micros: GAP }),
        };
        let (table, _) = self.store.history(history).await?;
        if table.truncated {
            return Ok(None);
        }
        let computed: Vec<_> = day::split(&table, days.clone()).into_iter().map(Arc::new).collect();
        self.kept.keep(device, days.start, &computed, over);
        Ok(Some(computed))
    }
}

fn stretch((from, to): (Timestamp, Timestamp), now: Timestamp) -> Stretch {
    let passed = to.min(now).micros_since(from).max(0);
    Stretch { from, to, seconds: passed / 1_000_000 }
}
