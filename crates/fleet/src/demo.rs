//! The life of a demonstration.

mod bike;
mod car;
mod life;
mod meter;
mod resident;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axle_domain::{DeviceId, Error, Kind};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::connect::{self, Dialer};
use crate::random::Key;
use crate::{Doors, Enrollment, Identity};
use life::{Life, Pace};
use resident::Resident;

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
    /// How much faster than in life messages follow each other, 0.1 to 100.
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

impl FleetStatus {
    /// Adds one.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Most devices of one kind.
const DEVICES_MAX: usize = 10_000;
/// Every so many bikes one has an app that uploads past rides.
const UPLOADING_EVERY: usize = 5;
/// Most bikes with such an app.
const UPLOADING_MAX: usize = 20;

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
    /// `Invalid` for more than 10,000 devices of a kind; `Unavailable` and the like, when the
    /// devices cannot be registered.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), Error> {
        let plan = &self.plan;
        if [plan.bikes, plan.cars, plan.meters].into_iter().any(|count| count > DEVICES_MAX) {
            let message = format!("a demonstration has at most {DEVICES_MAX} devices of a kind");
            return Err(Error::invalid("demo.too_many", message));
        }
        let mut lives = JoinSet::new();
        let pace = Pace::new(plan.speed);
        for (kind, count) in [("bike", plan.bikes), ("car", plan.cars), ("meter", plan.meters)] {
            let identities = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                identities = self.enroll(kind, count) => identities?,
            };
            for (number, identity) in identities.into_iter().enumerate() {
                let key = Key::new(plan.seed).named(kind).child(number as u64);
                let life = self.life(kind, number, key);
                if kind == "bike" && self.uploads(number) {
                    let token = upload::Uploader::new(&self.doors, &identity.device, key).await?;
                    lives.spawn(token.run(Arc::clone(&self.status), stop.clone(), pace));
                }
                let dialer = self.dialer(&identity)?;
                let resident = Resident::new(identity.device, dialer, life, (key, pace));
                lives.spawn(resident.run(Arc::clone(&self.status), stop.clone()));
            }
        }
        while lives.join_next().await.is_some() {}
        Ok(())
    }

    fn life(&self, kind: &str, number: usize, key: Key) -> Box<dyn Life> {
        match kind {
            "bike" => Box::new(bike::Bike::new(key)),
            "car" => Box::new(car::Car::new(key)),
            _ => Box::new(meter::Meter::new(self.plan.seed, number)),
        }
    }

    fn uploads(&self, number: usize) -> bool {
        number.is_multiple_of(UPLOADING_EVERY) && number / UPLOADING_EVERY < UPLOADING_MAX
    }

    async fn enroll(&self, kind: &str, count: usize) -> Result<Vec<Identity>, Error> {
        let name = |number| DeviceId::parse(&format!("{kind}-{number:04}"));
        let enrollment = Enrollment {
            devices: (1..=count).map(name).collect::<Result<_, _>>()?,
            kind: kind.to_owned(),
            concurrency: 8,
            with_certificates: self.doors.mqtts.is_some(),
        };
        enrollment.run(&self.doors, &|_| ()).await
    }

    fn dialer(&self, identity: &Identity) -> Result<Dialer, Error> {
        match (&self.doors.mqtts, &self.doors.mqtt) {
            (Some(address), _) => Dialer::tls(
                address,
                &connect::roots(&self.doors.authority_pem)?,
                &identity.chain,
                &identity.key,
            ),
            (None, Some(address)) => Ok(Dialer::plain(address)),
            (None, None) => {
                let message = "no MQTT listener is on: set `mqtt.listen`";
                Err(Error::new(Kind::Invalid, "demo.door_closed", message))
            }
        }
    }
}
