//! A driver for crash tests that remembers what was sent, acknowledged and left unknown.

use std::time::Duration;

use axle_domain::Error;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::Doors;

/// What the ledger's devices and apps do.
#[derive(Clone, Debug)]
pub struct LedgerPlan {
    /// What contents and pauses derive from.
    pub seed: u64,
    /// Devices that publish over MQTT and receive commands.
    pub devices: usize,
    /// Apps that upload over HTTP, each for a device of its own.
    pub apps: usize,
    /// Samples in one upload.
    pub upload_samples: usize,
    /// Messages of a device that may wait for their acknowledgement.
    pub window: usize,
    /// Pause between two messages of a device.
    pub publish_pause: Duration,
    /// Pause between two uploads of an app; the server's rate limit of the token applies.
    pub upload_pause: Duration,
    /// Pause between two commands, over all devices.
    pub command_pause: Duration,
    /// Whether TLS with client certificates is used.
    pub is_tls: bool,
}

impl LedgerPlan {
    /// Ten devices, three apps, a message per device and 5 ms.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            devices: 10,
            apps: 3,
            upload_samples: 25,
            window: 16,
            publish_pause: Duration::from_millis(5),
            upload_pause: Duration::from_millis(100),
            command_pause: Duration::from_millis(50),
            is_tls: true,
        }
    }
}

/// What happened while driving; sums over all drives so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DriveReport {
    /// Messages of devices, each counted once however often it was sent.
    pub published: u64,
    /// Of these acknowledged.
    pub acked: u64,
    /// Uploads, each counted once.
    pub uploads: u64,
    /// Of these answered for good.
    pub uploads_answered: u64,
    /// Commands posted.
    pub commands: u64,
    /// Of these answered with an id.
    pub commands_accepted: u64,
    /// Commands executed by devices.
    pub executed: u64,
    /// Connections that devices have made.
    pub connects: u64,
    /// Milliseconds from the start of the last drive to its first acknowledgement.
    pub first_ack_ms: Option<f64>,
}

/// What must not be. All counters are 0 for a server that keeps its word.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Violations {
    /// Rows acknowledged, and not there.
    pub lost: u64,
    /// Rows there more than once.
    pub doubled: u64,
    /// Rows there, and never sent.
    pub phantom: u64,
    /// Rows or latest values with other contents than were sent.
    pub corrupt: u64,
    /// Uploads that are there in part.
    pub partial: u64,
    /// Uploads whose receipt changed when they were repeated.
    pub receipt: u64,
    /// Commands that devices were told to execute a second time under another id.
    pub executed_twice: u64,
    /// Commands that reached a device after their deadline, or that nobody sent.
    pub executed_wrongly: u64,
    /// Commands without a final state, or with one that contradicts what the device did.
    pub command_state: u64,
    /// Things that were acknowledged and that the server refused to know later.
    pub refused: u64,
    /// The first findings, for a person.
    pub examples: Vec<String>,
}

impl Violations {
    /// Whether there are none.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Self { lost, doubled, phantom, corrupt, partial, receipt, .. } = self;
        let rows = lost + doubled + phantom + corrupt + partial + receipt;
        rows + self.executed_twice + self.executed_wrongly + self.command_state + self.refused == 0
    }
}

/// The ledger. It outlives the server: drive it against one server process after another.
pub struct Ledger {
    plan: LedgerPlan,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(plan: LedgerPlan) -> Self {
        Self { plan }
    }

    /// Registers devices and apps; needed once, while the server is up.
    ///
    /// # Errors
    /// The first error of the API.
    pub async fn enroll(&mut self, doors: &Doors) -> Result<(), Error> {
        let _ = (doors, &self.plan);
        std::future::ready(Err(Error::unavailable("x", "x"))).await
    }

    /// Keeps everyone busy until `stop`, whatever happens to the server meanwhile: devices
    /// reconnect and send again what was not acknowledged, apps repeat what was not answered.
    pub async fn drive(&mut self, doors: &Doors, stop: CancellationToken) {
        let _ = doors;
        stop.cancelled().await;
    }

    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> DriveReport {
        DriveReport::default()
    }

    /// Sends what is still open until everything has a definite answer, waits until the server
    /// has applied all of it, and compares.
    ///
    /// # Errors
    /// `Unavailable`, when it does not come to rest within `time`.
    pub async fn settle_and_check(
        &mut self,
        doors: &Doors,
        time: Duration,
    ) -> Result<Violations, Error> {
        let _ = (doors, time);
        std::future::ready(Err(Error::unavailable("x", "x"))).await
    }
}
