//! How the instance is: rates, latencies, lag, room on disk and when it is full. One sampler for
//! all who look, with a bounded memory of the last hours.

mod growth;
mod window;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{Counters, LogBounds, MachineFigures, StoreFigures};
use axle_domain::{Certificate, Error, LatencyCounts, Offset, Timestamp};

use crate::app::App;
use crate::retention::FollowerSigns;
use growth::Growth;
pub use growth::{FileSystem, PartGrowth};
pub use window::{LatencyWindow, Quantiles};

/// How often to take the vital signs.
pub const TAKE_INTERVAL: Duration = Duration::from_secs(2);
/// Signs between two that are remembered and between two looks at the machine.
const LOOK_EVERY: u64 = 5;
/// Points of the history: an hour, ten seconds each.
const HISTORY_MAX: usize = 360;
/// Signs from which the rates of this moment are computed: ten seconds.
const RECENT_MAX: usize = 6;
/// How often certificates are looked through.
const CERTIFICATES_EVERY: u64 = 300;
/// A certificate that ends sooner is told of.
const ENDS_SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// Days within which devices are counted that are let in no more then.
pub const ENDING_DAYS: [u32; 4] = [1, 7, 30, 90];
/// Certificates that are listed.
const ENDING_MAX: usize = 20;
/// Followers of the log that are listed.
const FOLLOWERS_MAX: usize = 20;

/// Rows and messages per second, by what became of them at the door.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DoorRates {
    /// When.
    pub at: Timestamp,
    /// All.
    pub received: f64,
    /// Rows stored.
    pub stored: f64,
    /// Set aside.
    pub quarantined: f64,
    /// Refused.
    pub rejected: f64,
    /// Turned away.
    pub shed: f64,
}

/// One follower of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionSigns {
    /// Its name: `store` or `state`.
    pub name: &'static str,
    /// One past the last record that it shows.
    pub position: u64,
    /// Durable records that it does not show yet.
    pub lag_records: u64,
    /// How old the newest message is that it shows, while it lags; else 0.
    pub age: Duration,
    /// From arrival until a message is shown, in the last five minutes.
    pub shown_after: Quantiles,
}

impl ProjectionSigns {
    fn new(
        (name, position): (&'static str, Offset),
        (durable, now): (Offset, Timestamp),
        newest: Option<Timestamp>,
        shown_after: Quantiles,
    ) -> Self {
        let lag_records = durable.0.saturating_sub(position.0);
        let behind = newest.filter(|_| lag_records > 0).map_or(0, |it| now.micros_since(it));
        let age = Duration::from_micros(u64::try_from(behind).unwrap_or(0));
        Self { name, position: position.0, lag_records, age, shown_after }
    }
}

/// The vital signs of one moment.
#[derive(Clone, Debug, Default)]
pub struct VitalSigns {
    /// When they were taken; 0 before the first time.
    pub at: Timestamp,
    /// Rates of the last ten seconds.
    pub rates: DoorRates,
    /// Rates of the last hour, oldest first.
    pub history: Arc<[DoorRates]>,
    /// The law of the door since the beginning.
    pub counters: Counters,
    /// What the log holds.
    pub log: LogBounds,
    /// Files of the log.
    pub log_segments: u64,
    /// When the oldest record of the log came.
    pub log_first_at: Option<Timestamp>,
    /// Commits of the log, in the last five minutes.
    pub commits: Quantiles,
    /// The followers of the log.
    pub projections: Vec<ProjectionSigns>,
    /// Whether a projection cannot go on.
    pub is_stuck: bool,
    /// Who else follows the log, the furthest behind first, at most 20.
    pub followers: Vec<FollowerSigns>,
    /// How many there are in all.
    pub follower_count: u64,
    /// The store.
    pub store: StoreFigures,
    /// Registered devices.
    pub devices: u64,
    /// Open connections of devices.
    pub connections: u64,
    /// The machine and the process.
    pub machine: Arc<MachineFigures>,
    /// Processors in use, of [`axle_domain::port::ProcessFigures::processors`].
    pub processors_used: f64,
    /// What each part takes of its disk.
    pub parts: Vec<PartGrowth>,
    /// The disks, and when they are full.
    pub file_systems: Vec<FileSystem>,
    /// The time over which growth was measured; `None` while there is too little history.
    pub grown_over: Option<Duration>,
    /// Device certificates that end within 30 days, the soonest first, at most 20.
    pub ending: Arc<[Certificate]>,
    /// How many there are in all.
    pub ending_count: u64,
    /// Devices whose last certificate ends within so many days, for each of [`ENDING_DAYS`].
    pub ending_devices: [u64; ENDING_DAYS.len()],
}

/// Takes the vital signs; remembers what rates need.
pub struct Vitals {
    taken: u64,
    recent: VecDeque<(Timestamp, Counters)>,
    remembered: Option<(Timestamp, Counters)>,
    history: VecDeque<DoorRates>,
    commits: LatencyWindow,
    shown: (LatencyWindow, LatencyWindow),
    growth: Growth,
    machine: Arc<MachineFigures>,
    processors_used: f64,
    machine_at: Option<Timestamp>,
    ending: Ending,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            taken: 0,
            recent: VecDeque::new(),
            remembered: None,
            history: VecDeque::new(),
            commits: LatencyWindow::default(),
            shown: Default::default(),
            growth: Growth::default(),
            machine: Arc::default(),
            processors_used: 0.0,
            machine_at: None,
            ending: Ending::default(),
        }
    }
}

impl Vitals {
    /// Takes the signs. To be called every [`TAKE_INTERVAL`].
    ///
    /// # Errors
    /// As the state.
    pub async fn take(&mut self, app: &App) -> Result<VitalSigns, Error> {
        let now = app.ports.clock.now();
        let is_look = self.taken.is_multiple_of(LOOK_EVERY);
        if self.taken.is_multiple_of(CERTIFICATES_EVERY) {
            self.ending = ending(app, now).await?;
        }
        let counters = app.counters().await?;
        let mut followers = app.consumers.signs().await?;
        let follower_count = followers.len() as u64;
        followers.truncate(FOLLOWERS_MAX);
        let log_figures = app.ports.log.figures();
        let (store_lag, state_lag) = app.projector.lag();
        let (log, store) = (app.ports.log.bounds(), app.ports.store.figures());
        if is_look {
            self.look(app, now, (log.bytes, store.file_bytes)).await;
            self.remember(now, counters);
            self.commits.push(log_figures.commits.clone());
            self.shown.0.push(store_lag.shown_after.clone());
            self.shown.1.push(state_lag.shown_after.clone());
        }
        self.taken += 1;
        self.recent.push_back((now, counters));
        self.recent.drain(..self.recent.len().saturating_sub(RECENT_MAX));
        let positions = app.positions();
        let shown = |window: &LatencyWindow, counts: &LatencyCounts| window.quantiles(counts);
        let projection = |name, position: Offset, newest, shown| {
            ProjectionSigns::new((name, position), (log.durable, now), newest, shown)
        };
        Ok(VitalSigns {
            at: now,
            rates: self
                .recent
                .front()
                .map_or(DoorRates::default(), |first| rates_between(*first, (now, counters))),
            history: self.history.iter().copied().collect(),
            counters,
            log,
            log_segments: log_figures.segments,
            log_first_at: log_figures.first_at,
            commits: shown(&self.commits, &log_figures.commits),
            projections: vec![
                projection(
                    "store",
                    positions.store,
                    store_lag.newest,
                    shown(&self.shown.0, &store_lag.shown_after),
                ),
                projection(
                    "state",
                    positions.state,
                    state_lag.newest,
                    shown(&self.shown.1, &state_lag.shown_after),
                ),
            ],
            is_stuck: app.projector.figures().is_stuck,
            follower_count,
            followers,
            store,
            devices: app.registry.device_count() as u64,
            connections: app.ports.link.connection_count() as u64,
            machine: Arc::clone(&self.machine),
            processors_used: self.processors_used,
            parts: self.growth.parts(&self.machine.disks),
            file_systems: self.growth.file_systems(&self.machine.disks),
            grown_over: self.growth.measured_over(),
            ending: Arc::clone(&self.ending.first),
            ending_count: self.ending.count,
            ending_devices: self.ending.devices,
        })
    }

    /// Looks at the machine, on a thread that may block.
    async fn look(&mut self, app: &App, now: Timestamp, (log, store): (u64, u64)) {
        let machine = Arc::clone(&app.ports.machine);
        let Ok(figures) = tokio::task::spawn_blocking(move || machine.figures()).await else {
            return;
        };
        if let Some(before) = self.machine_at {
            let micros = now.micros_since(before).max(1);
            let used = figures.process.cpu.saturating_sub(self.machine.process.cpu);
            self.processors_used = used.as_micros() as f64 / micros as f64;
        }
        self.growth.push(now, [log, store, figures.state_bytes]);
        self.machine_at = Some(now);
        self.machine = Arc::new(figures);
    }

    fn remember(&mut self, now: Timestamp, counters: Counters) {
        if let Some(before) = self.remembered {
            self.history.push_back(rates_between(before, (now, counters)));
        }
        self.remembered = Some((now, counters));
        while self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
    }
}

fn rates_between(
    (from, before): (Timestamp, Counters),
    (to, after): (Timestamp, Counters),
) -> DoorRates {
    let seconds = to.micros_since(from) as f64 / 1e6;
    let rate = |now: u64, then: u64| match seconds > 0.0 {
        true => now.saturating_sub(then) as f64 / seconds,
        false => 0.0,
    };
    DoorRates {
        at: to,
        received: rate(after.received(), before.received()),
        stored: rate(after.stored, before.stored),
        quarantined: rate(after.quarantined, before.quarantined),
        rejected: rate(after.rejected, before.rejected),
        shed: rate(after.shed, before.shed),
    }
}

/// What ends soon of the devices' certificates.
#[derive(Default)]
struct Ending {
    first: Arc<[Certificate]>,
    count: u64,
    devices: [u64; ENDING_DAYS.len()],
}

/// The certificates that end soon and still let somebody in.
async fn ending(app: &App, now: Timestamp) -> Result<Ending, Error> {
    let mut ending = app.ports.devices.list_certificates(None).await?;
    ending.retain(|it| it.revoked_at.is_none() && it.not_after > now);
    let devices = devices_ending(&ending, now);
    let soon = now.after(ENDS_SOON);
    ending.retain(|it| it.not_after < soon);
    let count = ending.len() as u64;
    ending.sort_by_key(|it| it.not_after);
    ending.truncate(ENDING_MAX);
    Ok(Ending { first: ending.into(), count, devices })
}

/// One that has a newer certificate already needs nobody's care.
fn devices_ending(good: &[Certificate], now: Timestamp) -> [u64; ENDING_DAYS.len()] {
    let mut last = HashMap::new();
    for it in good {
        let end = last.entry(&it.device).or_insert(it.not_after);
        *end = it.not_after.max(*end);
    }
    ENDING_DAYS.map(|days| {
        let soon = now.after(Duration::from_secs(u64::from(days) * 24 * 3600));
        last.values().filter(|end| **end < soon).count() as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_with_a_newer_certificate_is_not_counted() {
        let certificate = |id: &str, days: i64| Certificate {
            fingerprint: axle_domain::Fingerprint([0; 32]),
            device: axle_domain::DeviceId::parse(id).unwrap(),
            not_before: Timestamp(0),
            not_after: Timestamp(days * 86_400_000_000),
            revoked_at: None,
        };
        let good = [
            certificate("a", 5),
            certificate("a", 400),
            certificate("b", 5),
            certificate("c", 60),
            certificate("d", 400),
        ];
        assert_eq!(devices_ending(&good, Timestamp(0)), [0, 1, 1, 2]);
    }

    #[test]
    fn rates_are_what_came_by_the_time_it_took() {
        let counters = |stored, rejected| Counters { stored, rejected, ..Counters::default() };
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        let rates = rates_between((at(0), counters(10, 1)), (at(10), counters(60, 2)));
        assert_eq!((rates.received, rates.stored, rates.rejected), (5.1, 5.0, 0.1));
        let still = rates_between((at(5), counters(10, 1)), (at(5), counters(60, 2)));
        assert_eq!(still.received, 0.0, "a clock that stands still makes no rate");
    }
}
