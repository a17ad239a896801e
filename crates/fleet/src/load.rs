//! Open-loop load through the real doors.

mod lane;
mod order;
mod probe;
mod run;
mod schedule;
pub(crate) mod sent;
pub(crate) mod verify;

use std::time::Duration;

use axle_domain::Error;
use serde::Serialize;

pub use crate::content::Profile;
use crate::{Doors, Switches};

/// What to send.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// What kind of device.
    pub profile: Profile,
    /// How many devices.
    pub devices: usize,
    /// How many connections, a multiple of the devices; 0 means one per device.
    pub connections: usize,
    /// Whether a connection speaks for several devices; `devices` is then a multiple of
    /// `connections`. Only a plain listener with `mqtt.plain_access = "all"` accepts that.
    pub is_shared: bool,
    /// Messages per second over all connections; `None` sends as fast as the windows allow.
    pub rate: Option<f64>,
    /// Most messages per connection that wait for their acknowledgement, 1 to 1024.
    pub window: usize,
    /// How long is measured.
    pub duration: Duration,
    /// How long is sent before the measurement begins.
    pub warm_up: Duration,
    /// Whether TLS with client certificates is used; else the plain listener.
    pub is_tls: bool,
    /// Where the server is.
    pub doors: Doors,
    /// Whether everything is read back and compared.
    pub is_verified: bool,
    /// Probes per second for the time from publish to queryable; 0 for none.
    pub probes_per_s: f64,
    /// What the contents derive from.
    pub seed: u64,
    /// What goes wrong on purpose.
    pub switches: Switches,
    /// The server's process, to measure its CPU time and memory.
    pub server_pid: Option<u32>,
}

impl LoadPlan {
    /// A plan with the defaults: one connection per device, TLS, window 32, 10 s after 2 s of
    /// warm-up, two probes per second, no verification.
    #[must_use]
    pub fn new(profile: Profile, devices: usize, doors: Doors) -> Self {
        Self {
            profile,
            devices,
            connections: 0,
            is_shared: false,
            rate: None,
            window: 32,
            duration: Duration::from_secs(10),
            warm_up: Duration::from_secs(2),
            is_tls: true,
            doors,
            is_verified: false,
            probes_per_s: 2.0,
            seed: 1,
            switches: Switches::default(),
            server_pid: None,
        }
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        if self.connections == 0 { self.devices } else { self.connections }
    }

    fn check(&self) -> Result<(), Error> {
        self.switches.check()?;
        let connections = self.connections();
        let complaint = if self.devices == 0 || self.devices > DEVICES_MAX {
            Some(format!("`devices` is 1 to {DEVICES_MAX}"))
        } else if connections > DEVICES_MAX {
            Some(format!("`connections` is at most {DEVICES_MAX}"))
        } else if !self.is_shared && !connections.is_multiple_of(self.devices) {
            Some(
                "a connection speaks for one device: `connections` is a multiple of `devices`"
                    .to_owned(),
            )
        } else if self.is_shared && (self.is_tls || !self.devices.is_multiple_of(connections)) {
            Some(
                "connections that speak for several devices need the plain listener, and \
                 `devices` is a multiple of `connections`"
                    .to_owned(),
            )
        } else if !(1..=WINDOW_MAX).contains(&self.window) {
            Some(format!("`window` is 1 to {WINDOW_MAX}"))
        } else if self.rate.is_some_and(|rate| !(0.001..=10_000_000.0).contains(&rate)) {
            Some("`rate` is 0.001 to 10,000,000 messages per second".to_owned())
        } else if !(0.0..=100.0).contains(&self.probes_per_s) {
            Some("`probes_per_s` is 0 to 100".to_owned())
        } else if self.profile == Profile::Meter && self.switches.wrong_clock > 0.0 {
            Some(
                "a container does not say what its sender's clock shows: no `wrong-clock`"
                    .to_owned(),
            )
        } else if self.switches.of_fates() > 1.0 {
            Some(
                "a message goes wrong in one way: the shares of late, future, torn and faults \
                 are at most 1 together"
                    .to_owned(),
            )
        } else if self.switches.double_client_ids > 0.0 && self.is_shared {
            Some("`double-client-ids` needs a connection for each device".to_owned())
        } else if self.duration.is_zero() || self.warm_up + self.duration > TIME_MAX {
            Some(format!(
                "`duration` is above 0, with the warm-up at most {} s",
                TIME_MAX.as_secs()
            ))
        } else {
            None
        };
        complaint.map_or(Ok(()), |message| Err(Error::invalid("load.plan_invalid", message)))
    }
}

/// Most devices and most connections of a run.
const DEVICES_MAX: usize = 100_000;
/// Most messages of a connection that wait for their acknowledgement.
const WINDOW_MAX: usize = 1024;
/// Longest run.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// Devices registered, of how many.
    Enrolled(usize, usize),
    /// Connections accepted, of how many.
    Connected(usize, usize),
    /// Messages sent and acknowledged so far.
    Sending {
        /// Sent.
        sent: u64,
        /// Acknowledged.
        acked: u64,
    },
    /// Sending is over; waiting until this many of that many log records are in the store.
    Settling(u64, u64),
    /// Devices read back, of how many.
    Verified(usize, usize),
}

/// Percentiles of a latency in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Half were faster.
    pub p50_ms: f64,
    /// One in a hundred was slower.
    pub p99_ms: f64,
    /// One in a thousand was slower.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// CPU time and memory of a process during the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProcessUse {
    /// CPU seconds during the measured time.
    pub cpu_s: f64,
    /// Resident memory at the end, KiB.
    pub rss_kib: u64,
    /// Most resident memory so far, KiB.
    pub rss_peak_kib: u64,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadReport {
    /// The profile's name.
    pub profile: String,
    /// Devices.
    pub devices: usize,
    /// Connections.
    pub connections: usize,
    /// Whether TLS was used.
    pub tls: bool,
    /// What the contents derive from.
    pub seed: u64,
    /// What went wrong on purpose.
    pub switches: Switches,
    /// Length of the measured time in seconds.
    pub seconds: f64,
    /// Messages per second that were asked for; absent at saturation.
    pub rate: Option<f64>,
    /// Values per message.
    pub values_per_message: usize,
    /// Messages sent in all, with warm-up.
    pub sent: u64,
    /// Messages acknowledged in all.
    pub acked: u64,
    /// Messages acknowledged per second of the measured time.
    pub acked_per_s: f64,
    /// Values acknowledged per second of the measured time.
    pub values_per_s: f64,
    /// Messages per second, counted until the last one was queryable, from the first send.
    pub queryable_per_s: Option<f64>,
    /// Seconds from the last acknowledgement until everything was queryable.
    pub catch_up_s: Option<f64>,
    /// From the scheduled moment of sending (at saturation: from sending) to the acknowledgement.
    pub ack: Latency,
    /// From writing a PUBLISH to the first answer of the query API that shows it.
    pub queryable: Latency,
    /// Messages that were due but not sent when the time was over.
    pub unsent: u64,
    /// Messages without acknowledgement in the end.
    pub unacked: u64,
    /// Connections that broke.
    pub disconnects: u64,
    /// Errors by reason.
    pub errors: std::collections::BTreeMap<String, u64>,
    /// The server's process.
    pub server: Option<ProcessUse>,
    /// The load generator's own process.
    pub generator: ProcessUse,
    /// What reading back has shown.
    pub verify: Option<VerifyReport>,
}

/// What reading everything back has shown, in rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Rows that were acknowledged.
    pub acked: u64,
    /// Rows that are there.
    pub visible: u64,
    /// Acknowledged, and not there.
    pub lost: u64,
    /// There more than once.
    pub doubled: u64,
    /// There with other contents.
    pub corrupt: u64,
    /// There, and never sent.
    pub phantom: u64,
    /// Rows sent and never acknowledged: they may be there or not.
    pub unknown: u64,
    /// Rows whose time was not marked, or not corrected, as it should.
    pub misjudged: u64,
    /// In quarantine, as it should be: torn messages, rows beyond belief.
    pub quarantined: u64,
    /// Acknowledged, should be in quarantine, and is not.
    pub not_quarantined: u64,
    /// In quarantine for no reason.
    pub quarantined_wrongly: u64,
    /// The first findings, for a person.
    pub examples: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing is lost, doubled, corrupt, invented or misjudged, and the quarantine holds
    /// exactly what belongs into it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        [
            self.lost,
            self.doubled,
            self.corrupt,
            self.phantom,
            self.misjudged,
            self.not_quarantined,
            self.quarantined_wrongly,
        ] == [0; 7]
    }
}

/// Hears where the run is, a few times per second.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Enrolls the devices, sends the load, measures, and verifies if the plan says so.
///
/// # Errors
/// `Invalid` for a plan that cannot be; `Unavailable` when the server cannot be reached; else
/// what the API answered. Errors of single connections are counted in the report instead.
pub async fn run(plan: &LoadPlan, progress: OnProgress<'_>) -> Result<LoadReport, Error> {
    plan.check()?;
    Box::pin(run::run(plan, progress)).await
}
