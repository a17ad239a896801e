//! Where devices are born: registered, given a life, a past and a connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axle_domain::{DeviceId, Error, Kind};
use rustls::RootCertStore;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bike::Bike;
use super::car::Car;
use super::city::City;
use super::life::{Dice, Habits, Life, Pace};
use super::meter::{Meter, PastDays};
use super::past::History;
use super::plant::{Plant, Swap, Vehicle};
use super::post::Post;
use super::resident::{Resident, Surroundings};
use super::trickle::Trickle;
use super::upload::Phone;
use super::{FleetPlan, FleetStatus, Place};
use crate::api::{Api, Call};
use crate::clock::now_ms;
use crate::connect::{self, Dialer};
use crate::enroll::{Registered, enroll};
use crate::random::Key;
use crate::rival::Rival;
use crate::{Doors, Identity};

/// Bikes whose owners have recorded the past with their phones, and meters that kept theirs.
const PASTS_MAX: (usize, usize) = (100, 20);
/// Pause between two messages of the past, and two uploads, over all devices.
const PAST_PAUSE: Duration = Duration::from_millis(4);
const UPLOAD_PAUSE: Duration = Duration::from_millis(250);
/// A copied configuration: how often it connects, and how long it stays.
const RIVAL_PAUSE: Duration = Duration::from_secs(80);
const RIVAL_STAY: Duration = Duration::from_secs(8);
/// Swaps that may wait for the plant.
const SWAPS_MAX: usize = 1000;

/// What all devices have in common.
pub(super) struct World {
    plan: FleetPlan,
    doors: Doors,
    api: Api,
    roots: Arc<RootCertStore>,
    around: Surroundings,
    uploads: Trickle,
    swaps: Option<mpsc::Receiver<Swap>>,
    begin_ms: i64,
    lives: Mutex<JoinSet<()>>,
}

/// A life, what is left to tell of its past, and whether a phone tells it.
type Born = (Box<dyn Life>, Option<PastDays>, Option<History>);

impl World {
    /// A world without anyone.
    pub(super) fn new(
        plan: &FleetPlan,
        doors: &Doors,
        status: Arc<FleetStatus>,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let (workshop, swaps) = mpsc::channel(SWAPS_MAX);
        let (pace, trickle) = (Pace::new(plan.speed), Trickle::new(PAST_PAUSE));
        Ok(Self {
            plan: plan.clone(),
            doors: doors.clone(),
            api: Api::new(&doors.http, &doors.token),
            roots: connect::roots(&doors.authority_pem)?,
            around: Surroundings { status, pace, workshop, trickle, stop },
            uploads: Trickle::new(UPLOAD_PAUSE),
            swaps: Some(swaps),
            begin_ms: now_ms(),
            lives: Mutex::default(),
        })
    }

    /// Lets the plant tell of the vehicles, and of what is repaired later.
    pub(super) async fn open_plant(&mut self, places: &[Place]) -> Result<(), Error> {
        let vehicles = places.iter().filter(|place| place.kind != "meter").map(|place| {
            let Place { kind, number } = *place;
            let name = name(*place);
            let key = self.key(*place);
            Ok(Vehicle { device: place.device()?, kind, name, key, number: number as u64 })
        });
        let vehicles = vehicles.collect::<Result<Vec<_>, Error>>()?;
        let Some(swaps) = self.swaps.take() else { return Ok(()) };
        let plant = Plant::new(&self.doors, Arc::clone(&self.around.status)).await?;
        self.spawn(plant.run(vehicles, swaps, self.around.stop.clone()));
        Ok(())
    }

    /// Brings a device to life.
    pub(super) async fn birth(&self, place: Place) -> Result<(), Error> {
        let (device, key) = (place.device()?, self.key(place));
        let name = name(place);
        let registered = Registered { device: &device, kind: place.kind, name: &name };
        let with_certificate = self.doors.mqtts.is_some();
        let identity = enroll(&self.api, &registered, with_certificate).await?;
        let before = self.state(&device).await?;
        let (life, past, history) = self.life(place, key, before).await?;
        if let Some(history) = history {
            for (component, time_ms) in &history.swaps {
                let swap = Swap { device: device.clone(), component, time_ms: *time_ms };
                if let Err(error) = self.around.workshop.try_send(swap) {
                    tracing::debug!(%device, %error, "the workshop has too much to do");
                }
            }
            let share = self.plan.switches.wrong_clock;
            let around = self.around.clone();
            let phone = Phone::new(&self.doors, (&device, key), share, around).await?;
            self.spawn(phone.run(history, self.uploads.clone()));
        }
        let dialer = self.dialer(&identity)?;
        if Dice::new(key.named("double")).chance(self.plan.switches.double_client_ids) {
            let rival = Rival {
                client_id: device.to_string(),
                dialer: dialer.clone(),
                key: key.named("rival"),
                pause: self.around.pace.of(RIVAL_PAUSE),
                stay: RIVAL_STAY,
            };
            self.spawn(rival.run(self.around.stop.clone()));
        }
        let post = Post::new(device.clone(), key, self.plan.switches);
        let around = self.around.clone();
        self.spawn(Resident::new((device, key), dialer, (life, past), post, around).run());
        Ok(())
    }

    /// Waits for the end of all lives.
    pub(super) async fn end(self) {
        let mut lives = self.lives.into_inner().unwrap_or_else(PoisonError::into_inner);
        while lives.join_next().await.is_some() {}
    }

    fn spawn(&self, life: impl Future<Output = ()> + Send + 'static) {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).spawn(life);
    }

    fn key(&self, place: Place) -> Key {
        Key::new(self.plan.seed).named(place.kind).child(place.number as u64)
    }

    /// What the server knows of a device that has said something before.
    async fn state(&self, device: &DeviceId) -> Result<Option<Value>, Error> {
        let path = format!("/api/v1/devices/{device}/state");
        let state = self.api.call(&Call::get(&path)).await?.into_json()?;
        let fields = state.get("fields").and_then(Value::as_object);
        let has_said = fields.is_some_and(|fields| !fields.is_empty());
        Ok(Some(state).filter(|_| has_said))
    }

    async fn life(&self, place: Place, key: Key, before: Option<Value>) -> Result<Born, Error> {
        let Place { kind, number } = place;
        let city = City::of(number);
        let habits = Habits { faults: self.plan.switches.faults, tempo: self.around.pace.factor() };
        let begin_ms = self.begin_ms;
        let is_told = before.is_none();
        let born = move || -> Born {
            match kind {
                "bike" => {
                    let mut bike = Bike::new(key, city, habits);
                    let has_past = is_told && number < PASTS_MAX.0;
                    let history = has_past.then(|| History::of(&mut bike, begin_ms));
                    if let Some(before) = &before {
                        bike.resume(before);
                    }
                    bike.begin(begin_ms);
                    (Box::new(bike), None, history)
                }
                "car" => {
                    let mut car = Car::new(key, city, habits);
                    if let Some(before) = &before {
                        car.resume(before);
                    }
                    car.begin(begin_ms);
                    (Box::new(car), None, None)
                }
                _ => {
                    let mut meter = Meter::new(key, city);
                    let has_past = is_told && number < PASTS_MAX.1;
                    let past = has_past.then(|| meter.live_past(begin_ms));
                    (Box::new(meter), past, None)
                }
            }
        };
        // Weeks are lived in some milliseconds of computing: off the threads that serve sockets.
        tokio::task::spawn_blocking(born).await.map_err(|error| {
            Error::internal("demo.past", "a simulated past broke off").with_source(error)
        })
    }

    fn dialer(&self, identity: &Identity) -> Result<Dialer, Error> {
        match (&self.doors.mqtts, &self.doors.mqtt) {
            (Some(address), _) => Dialer::tls(address, &self.roots, &identity.chain, &identity.key),
            (None, Some(address)) => Ok(Dialer::plain(address)),
            (None, None) => {
                let message = "no MQTT listener is on: set `mqtt.listen`";
                Err(Error::new(Kind::Invalid, "demo.door_closed", message))
            }
        }
    }
}

/// What people call a device.
fn name(place: Place) -> String {
    let what = match place.kind {
        "bike" => "Bike",
        "car" => "Car",
        _ => "Household",
    };
    format!("{what} {}, {}", place.number + 1, City::of(place.number).name)
}
