//! A driver for crash tests that remembers what was sent, acknowledged and left unknown.

mod app;
mod check;
mod desk;
mod device;
mod person;

use std::time::Duration;

use axle_domain::{DeviceId, Error, Kind};
use futures_util::future::join_all;
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Call};
use crate::content::{Profile, Source};
use crate::{Doors, Enrollment, clock, connect};
use app::App;
use desk::Desk;
use device::Device;
use person::Person;

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
            upload_pause: Duration::from_millis(500),
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

/// How far before now the times of events begin, and how far apart they are: 2 million messages
/// per device fit in.
const PAST_MS: i64 = 6 * 3600 * 1000;
const STEP_MS: i64 = 10;

/// The ledger. It outlives the server: drive it against one server process after another.
pub struct Ledger {
    plan: LedgerPlan,
    devices: Vec<Device>,
    apps: Vec<App>,
    person: Person,
    first_ack_ms: Option<f64>,
    partial: Vec<String>,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(plan: LedgerPlan) -> Self {
        let person = Person::new(plan.seed, plan.command_pause);
        Self { plan, devices: vec![], apps: vec![], person, first_ack_ms: None, partial: vec![] }
    }

    /// Registers devices and apps; needed once, while the server is up.
    ///
    /// # Errors
    /// The first error of the API; `Invalid`, when a listener is off.
    pub async fn enroll(&mut self, doors: &Doors) -> Result<(), Error> {
        let (plan, api) = (&self.plan, Api::new(&doors.http, &doors.token));
        let base_ms = clock::now_ms() - PAST_MS;
        let source = |number: usize| {
            let number = u32::try_from(number).unwrap_or(0);
            Source::new(Profile::Bike, plan.seed, number, base_ms, STEP_MS)
        };
        let devices = names(plan.seed, "d", plan.devices)?;
        let enrollment = |devices, with_certificates| Enrollment {
            devices,
            kind: "bike".to_owned(),
            concurrency: 8,
            with_certificates,
        };
        let identities = enrollment(devices, plan.is_tls).run(doors, &|_| ()).await?;
        let roots = connect::roots(&doors.authority_pem)?;
        for (number, identity) in identities.into_iter().enumerate() {
            let dialer = match plan.is_tls {
                true => connect::Dialer::tls(
                    address(doors, true)?,
                    &roots,
                    &identity.chain,
                    &identity.key,
                )?,
                false => connect::Dialer::plain(address(doors, false)?),
            };
            self.devices.push(Device::new(identity.device, source(number), dialer, plan));
        }
        let apps = names(plan.seed, "a", plan.apps)?;
        for (number, app) in apps.iter().enumerate() {
            enrollment(vec![app.clone()], false).run(doors, &|_| ()).await?;
            let token = upload_token(&api, app).await?;
            let source = source(plan.devices + number);
            self.apps.push(App::new(app.clone(), token, source, plan));
        }
        Ok(())
    }

    /// Keeps everyone busy until `stop`, whatever happens to the server meanwhile: devices
    /// reconnect and send again what was not acknowledged, apps repeat what was not answered.
    pub async fn drive(&mut self, doors: &Doors, stop: CancellationToken) {
        let desk = Desk::new(doors, stop, false);
        let api = Api::new(&doors.http, &doors.token);
        let names: Vec<DeviceId> = self.devices.iter().map(|device| device.name.clone()).collect();
        let devices = join_all(self.devices.iter_mut().map(|device| device.run(&desk)));
        let apps = join_all(self.apps.iter_mut().map(|app| app.run(&desk)));
        let person = self.person.run(&desk, &api, &names);
        Box::pin(async { tokio::join!(devices, apps, person) }).await;
        self.first_ack_ms = desk.first_ack_ms();
    }

    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> DriveReport {
        DriveReport {
            published: self.devices.iter().map(Device::published).sum(),
            acked: self.devices.iter().map(Device::acked).sum(),
            uploads: self.apps.iter().map(App::begun).sum(),
            uploads_answered: self.apps.iter().map(App::answered).sum(),
            commands: self.person.posted(),
            commands_accepted: self.person.accepted(),
            executed: self.devices.iter().map(Device::executed).sum(),
            connects: self.devices.iter().map(|device| device.connects).sum(),
            first_ack_ms: self.first_ack_ms,
        }
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
        let api = Api::new(&doors.http, &doors.token);
        api.settle(time, &|_, _| ()).await?;
        for app in &self.apps {
            self.partial.extend(app.partial(&api).await?);
        }
        let rest = CancellationToken::new();
        let desk = Desk::new(doors, rest.clone(), true);
        let names: Vec<DeviceId> = self.devices.iter().map(|device| device.name.clone()).collect();
        let devices = join_all(self.devices.iter_mut().map(|device| device.run(&desk)));
        let apps = join_all(self.apps.iter_mut().map(|app| app.run(&desk)));
        let person = &mut self.person;
        let quiet = async {
            let quiet = async {
                desk.wait_until_quiet().await;
                person.wait_until_final(&api, &names).await
            };
            let result = tokio::time::timeout(time, quiet).await;
            rest.cancel();
            result
        };
        let (_, _, quiet) = Box::pin(async { tokio::join!(devices, apps, quiet) }).await;
        quiet.map_err(|_late| {
            let message = format!("the ledger did not come to rest: {}", desk.open_text());
            Error::new(Kind::Unavailable, "ledger.not_settled", message)
        })??;
        api.settle(time, &|_, _| ()).await?;
        Box::pin(self.check(&api)).await
    }
}

fn names(seed: u64, letter: &str, count: usize) -> Result<Vec<DeviceId>, Error> {
    (0..count)
        .map(|number| DeviceId::parse(&format!("ledger-{seed}-{letter}{number:03}")))
        .collect()
}

/// The address of the MQTT listener.
fn address(doors: &Doors, is_tls: bool) -> Result<&str, Error> {
    let address = if is_tls { &doors.mqtts } else { &doors.mqtt };
    address
        .as_deref()
        .ok_or_else(|| Error::new(Kind::Invalid, "ledger.door_closed", "the MQTT listener is off"))
}

/// A token that may upload for one device and nothing else.
pub(crate) async fn upload_token(api: &Api, device: &DeviceId) -> Result<String, Error> {
    let body = json!({ "scopes": [format!("upload:{device}")] });
    let call = Call::json(Method::POST, "/api/v1/tokens", &body);
    let answer = api.call(&call).await?.into_json()?;
    let token = answer.get("token").and_then(Value::as_str);
    token.map(str::to_owned).ok_or_else(|| {
        Error::internal("api.answer_invalid", "the answer to a new token has no `token`")
    })
}
