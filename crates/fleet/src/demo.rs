//! The life of a demonstration.

mod bike;
mod car;
mod city;
mod life;
mod meter;
mod motion;
mod past;
mod plant;
mod post;
mod resident;
mod street;
mod trickle;
mod upload;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axle_domain::{DeviceId, Error};
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::{Doors, Switches};
use world::World;

/// Who lives.
#[derive(Clone, Debug)]
pub struct FleetPlan {
    /// E-bikes.
    pub bikes: usize,
    /// Cars.
    pub cars: usize,
    /// Households with a meter of ten sockets.
    pub meters: usize,
    /// What everyone's life derives from.
    pub seed: u64,
    /// How much more often than in life devices report, people take vehicles, and batteries are
    /// full, 0.1 to 100. Speeds and distances stay those of life.
    pub speed: f64,
    /// What goes wrong on purpose.
    pub switches: Switches,
}

/// Counters of a running fleet.
#[derive(Debug, Default)]
pub struct FleetStatus {
    /// Devices registered.
    pub enrolled: AtomicU64,
    /// Devices connected now.
    pub connected: AtomicU64,
    /// Messages of telemetry acknowledged.
    pub acked: AtomicU64,
    /// Uploads answered with success.
    pub uploads: AtomicU64,
    /// Commands executed.
    pub commands: AtomicU64,
    /// Components that failed.
    pub faults: AtomicU64,
    /// Records that the plant has sent.
    pub records: AtomicU64,
    /// Records of the plant that wait for a person.
    pub review: AtomicU64,
    /// Attempts that failed and will be repeated.
    pub errors: AtomicU64,
}

impl FleetStatus {
    /// Adds one.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Most devices of one kind.
const DEVICES_MAX: usize = 10_000;
/// Devices that are registered at one time.
const BIRTHS_AT_ONCE: usize = 8;

/// A demonstration fleet.
pub struct Fleet {
    plan: FleetPlan,
    doors: Doors,
    status: Arc<FleetStatus>,
}

/// A device of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    kind: &'static str,
    /// From 0, among its kind.
    number: usize,
}

impl Place {
    fn device(self) -> Result<DeviceId, Error> {
        DeviceId::parse(&format!("{}-{:04}", self.kind, self.number + 1))
    }
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

    /// Registers the devices and lets each live from then on, until `stop`. Devices that lose
    /// their connection come back.
    ///
    /// # Errors
    /// `Invalid` for more than 10,000 devices of a kind or shares that are none; `Unavailable` and
    /// the like, when the devices cannot be registered.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), Error> {
        let plan = &self.plan;
        plan.switches.check()?;
        if [plan.bikes, plan.cars, plan.meters].into_iter().any(|count| count > DEVICES_MAX) {
            let message = format!("a demonstration has at most {DEVICES_MAX} devices of a kind");
            return Err(Error::invalid("demo.too_many", message));
        }
        let mut world = World::new(plan, &self.doors, Arc::clone(&self.status), stop.clone())?;
        world.open_plant(&self.places()).await?;
        let births = stream::iter(self.places()).map(|place| world.birth(place));
        let mut births = births.buffer_unordered(BIRTHS_AT_ONCE);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                born = births.next() => match born {
                    Some(born) => {
                        born?;
                        FleetStatus::count(&self.status.enrolled);
                    }
                    None => break,
                },
            }
        }
        drop(births);
        world.end().await;
        Ok(())
    }

    /// All devices, the kinds mixed, so that each is there from the first second.
    fn places(&self) -> Vec<Place> {
        let kinds =
            [("bike", self.plan.bikes), ("car", self.plan.cars), ("meter", self.plan.meters)];
        let mut places = Vec::new();
        for (kind, count) in kinds {
            for number in 0..count {
                let rank = number as f64 / count as f64;
                places.push((rank, Place { kind, number }));
            }
        }
        places.sort_by(|(left, _), (right, _)| left.total_cmp(right));
        places.into_iter().map(|(_, place)| place).collect()
    }
}
