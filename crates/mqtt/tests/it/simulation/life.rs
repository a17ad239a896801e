//! One life of a server after the other, on the same ground.

mod clients;
pub(super) mod exactly_once;
pub(super) mod retained;
pub(super) mod uploads;
pub(super) mod wills;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axle_app::{App, HoldLimits, NewDevice, Ports, ReadFrom};
use axle_domain::port::{
    CertificateAuthority, CertificateSubject, ClientSessionStore, Clock, EventLog, ReportedState,
    SignedCertificate,
};
use axle_domain::{
    ConsumerName, DeviceId, Error, Kind as Fault, Offset, OwnedValue, QuarantineFilter, Timestamp,
};
use axle_log::{EmbeddedLog, LogSettings, Retention};
use axle_mqtt::{Gateway, GatewayParts, Inlet, PlainAccess, Sessions, Settings};
use axle_testkit::clock::ManualClock;
use axle_testkit::memory_state::MemoryState;
use axle_testkit::paper_machine::PaperMachine;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::SubscriptionOptions;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::disk::{End, SimDisk};
use super::ledger::{Claims, Ledger};
use super::planted::Planted;
use super::ports::{SimLog, SimState, Trouble, at_once, waiting};
use super::store::SimStore;
use crate::client::Client;
use clients::{Written, connection, turns};
use exactly_once::TWICE;
use uploads::UnderWay;
use wills::HEIRS;

const DEVICES: [&str; 3] = ["d-0", "d-1", "d-2"];
/// Rounds of a life at most.
const ROUNDS: u64 = 5;
/// Messages of a round at most.
const MESSAGES: u64 = 6;
/// Time in which projections and queues follow what is durable.
const FOLLOW_TIME: Duration = Duration::from_millis(400);
/// Time in which they must have followed, retries included.
const SETTLE_TIME: Duration = Duration::from_secs(8);

struct NoAuthority;

impl CertificateAuthority for NoAuthority {
    fn sign(&self, _: &CertificateSubject, _: &str) -> Result<SignedCertificate, Error> {
        Err(Error::new(Fault::Internal, "sim", "no certificates here"))
    }

    fn read_certificate(&self, _: &str) -> Result<SignedCertificate, Error> {
        Err(Error::new(Fault::Internal, "sim", "no certificates here"))
    }

    fn authority_pem(&self) -> String {
        String::new()
    }
}

/// What outlives a server.
pub(super) struct Ground {
    dir: TempDir,
    disk: SimDisk,
    state: Arc<MemoryState>,
    store: Arc<SimStore>,
    clock: Arc<ManualClock>,
    chance: Chance,
    planted: Option<Planted>,
    pub(super) ledger: Ledger,
}

/// How a life ended.
enum Ended {
    InPeace,
    By(End),
    /// The log has stopped; the process is ended then.
    SyncFailed,
}

impl Ground {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            disk: SimDisk::new(planted),
            state: Arc::new(MemoryState::new()),
            store: Arc::new(SimStore::new(seed, planted)),
            clock: Arc::new(ManualClock::new(Timestamp(1_790_000_600_000_000))),
            chance: Chance::new(seed),
            planted,
            ledger: Ledger::default(),
        }
    }

    /// Lives once; the last life is one without faults, at whose end everything is compared.
    pub(super) fn live(&mut self, number: u64, is_last: bool) -> Result<(), String> {
        // A runtime of its own: what is dropped with it has ended in the middle of anything.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let ended = runtime.block_on(async {
            let mut life = Life::begin(self, number == 0).await?;
            match is_last {
                true => life.finish().await.map(|()| Ended::InPeace),
                false => life.rounds().await,
            }
        });
        let (end, index) = match &ended {
            Ok(Ended::InPeace) | Err(_) => (End::Kill, 0),
            Ok(Ended::By(End::Kill)) => (End::Kill, 1),
            Ok(Ended::By(End::PowerLoss)) => (End::PowerLoss, 2),
            Ok(Ended::SyncFailed) => (End::Kill, 3),
        };
        self.ledger.ends[index] += 1;
        self.ledger.wills.ended(self.clock.now());
        let left = self.disk.end(end, &mut self.chance);
        self.store.end();
        drop(runtime);
        self.ledger.note(format!("{end:?} after {} operations", left.operations()));
        self.disk = left;
        ended.map(drop)
    }
}

/// A server that runs.
struct Life<'a> {
    ground: &'a mut Ground,
    app: Arc<App>,
    log: Arc<SimLog>,
    state: Arc<SimState>,
    devices: Vec<Client>,
    packet_ids: [u16; DEVICES.len()],
    things: Inlet,
    tools: Inlet,
    subscriber: Option<Client>,
    twice: Option<Client>,
    once: Option<Client>,
    teller: Option<Client>,
    /// Topics and numbers of retained messages that have no answer yet.
    told: VecDeque<(String, u64)>,
    heirs: [Option<Client>; HEIRS],
    uploads: Vec<UnderWay>,
    /// What the log held when the server started, at least.
    log_began: Offset,
    /// Whether the sessions' commits all succeed in this life.
    is_quiet: bool,
    stop: CancellationToken,
    stop_projector: watch::Sender<bool>,
    projector: tokio::task::JoinHandle<()>,
}

fn settings() -> LogSettings {
    LogSettings {
        segment_bytes: 2048,
        tail_bytes: 1024,
        retention: Retention { age_max: Duration::MAX, bytes_max: 0 },
        segment_id: |base| base.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        ..LogSettings::default()
    }
}

fn follower() -> ConsumerName {
    ConsumerName::parse("follower").unwrap()
}

/// All ports, of which log and state can fail.
fn ports(
    ground: &Ground,
    (log, state): (&Arc<SimLog>, &Arc<SimState>),
    link: &Arc<Sessions>,
) -> Ports {
    let memory = &ground.state;
    Ports {
        clock: ground.clock.clone(),
        log: log.clone(),
        store: ground.store.clone(),
        devices: memory.clone(),
        components: memory.clone(),
        search: memory.clone(),
        applications: memory.clone(),
        tokens: memory.clone(),
        users: memory.clone(),
        credentials: memory.clone(),
        sessions: memory.clone(),
        client_sessions: state.clone(),
        commands: memory.clone(),
        connections: memory.clone(),
        consumers: memory.clone(),
        reported: state.clone(),
        link: link.clone(),
        authority: Arc::new(NoAuthority),
        machine: Arc::new(PaperMachine),
    }
}

fn said(error: &Error) -> String {
    error.chain()
}

impl<'a> Life<'a> {
    async fn begin(ground: &'a mut Ground, is_first: bool) -> Result<Self, String> {
        let dir = ground.dir.path().join("log");
        let opened = EmbeddedLog::open_on(Arc::new(ground.disk.clone()), &dir, settings());
        let (inner, _recovery) = opened.map_err(|error| said(&error))?;
        let log = Arc::new(SimLog::new(inner, ground.disk.clone(), ground.planted));
        let state = Arc::new(SimState::new(Arc::clone(&ground.state), ground.planted));
        let sessions = Sessions::new();
        let app = App::open(ports(ground, (&log, &state), &sessions));
        let app = Arc::new(app.await.map_err(|error| said(&error))?);
        let log_began = log.bounds().appended;
        let stop = CancellationToken::new();
        let off = || "off".to_owned();
        let gateway = Gateway::bind(GatewayParts {
            settings: Settings { listen: off(), plain_listen: off(), ..Settings::default() },
            app: app.clone(),
            sessions,
            tls: None,
            metrics: prometheus::Registry::new(),
            stop: stop.clone(),
        });
        let gateway = gateway.await.map_err(|error| said(&error))?;
        let (things, tools) = (gateway.inlet(PlainAccess::Device), gateway.inlet(PlainAccess::All));
        tokio::spawn(gateway.run());
        let (stop_projector, stopping) = watch::channel(false);
        let projector = Arc::clone(&app.projector);
        let projector = tokio::spawn(async move { projector.run(stopping).await });
        let mut life = Self {
            ground,
            app,
            log,
            state,
            devices: Vec::new(),
            packet_ids: [0; DEVICES.len()],
            things,
            tools,
            subscriber: None,
            twice: None,
            once: None,
            teller: None,
            told: VecDeque::new(),
            heirs: Default::default(),
            uploads: Vec::new(),
            log_began,
            is_quiet: true,
            stop,
            stop_projector,
            projector,
        };
        if is_first {
            life.settle_down().await?;
        }
        life.check_floor().await?;
        for device in DEVICES {
            let mut client = connection(&life.things);
            assert_eq!(client.connect(device).await, 0);
            life.devices.push(client);
        }
        let mut teller = connection(&life.tools);
        assert_eq!(teller.connect("teller").await, 0);
        life.teller = Some(teller);
        life.begin_trouble();
        Ok(life)
    }

    /// Registers who takes part.
    async fn settle_down(&mut self) -> Result<(), String> {
        for id in DEVICES.into_iter().chain([TWICE]) {
            let id = DeviceId::parse(id).unwrap();
            let new = NewDevice { id, name: String::new(), kind: String::new() };
            self.app.devices.register(new).await.map_err(|error| said(&error))?;
        }
        let created = self.app.consumers.create(follower(), ReadFrom::First).await;
        created.map_err(|error| said(&error))?;
        let mut client = self.subscribe_again(false).await?;
        let options =
            SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
        assert_eq!(client.subscribe_with(&["v1/d/+/t/ride"], options, None).await, [1]);
        self.subscriber = Some(client);
        self.begin_exactly_once().await?;
        tokio::time::sleep(FOLLOW_TIME).await;
        Ok(())
    }

    /// Nothing that the follower needs is gone.
    async fn check_floor(&self) -> Result<(), String> {
        let first = self.log.bounds().first;
        let consumer = self.app.consumers.get(&follower()).await.map_err(|error| said(&error))?;
        let is_kept = first <= consumer.position && consumer.holds();
        is_kept.then_some(()).ok_or_else(|| {
            format!("the log begins at {first}, the follower needs {}", consumer.position)
        })
    }

    /// Decides what goes wrong in this life beside its end.
    fn begin_trouble(&mut self) {
        let chance = &mut self.ground.chance;
        let mut trouble = || Trouble {
            fails_in: chance.one_in(3).then(|| chance.below(4)),
            ends_in: chance.one_in(4).then(|| (chance.below(5), chance.one_in(2))),
        };
        let (projected, sessions) = (trouble(), trouble());
        self.is_quiet = sessions.is_none();
        (*self.state.projected.lock().unwrap(), *self.state.sessions.lock().unwrap()) =
            (projected, sessions);
        if chance.one_in(4) {
            self.ground.disk.fail_sync(chance.below(12));
        }
    }

    async fn rounds(&mut self) -> Result<Ended, String> {
        for _ in 0..=self.ground.chance.below(ROUNDS) {
            self.ground.clock.advance(Duration::from_secs(1));
            match self.publish().await? {
                Written::All => {}
                Written::Blocked => return Ok(Ended::By(self.violent_end())),
                Written::Failed => return Ok(Ended::SyncFailed),
            }
            tokio::time::sleep(FOLLOW_TIME).await;
            if self.state.has_ended() {
                return Ok(Ended::By(self.violent_end()));
            }
            if self.is_quiet {
                self.ground.ledger.wills.settled(self.ground.clock.now());
            }
            if self.ground.chance.one_in(2) {
                self.follow().await?;
            }
            self.subscribe().await?;
            self.come_and_go().await?;
            let sweep = HoldLimits { idle_max: Duration::MAX, bytes_max: u64::MAX };
            self.app.consumers.sweep(sweep).await.map_err(|error| said(&error))?;
        }
        if self.ground.chance.one_in(3) {
            return self.stop().await;
        }
        Ok(Ended::By(self.violent_end()))
    }

    /// What those do who take part in more than single messages.
    async fn come_and_go(&mut self) -> Result<(), String> {
        self.come_and_go_heirs().await;
        self.come_and_go_twice().await?;
        self.take_once(true).await?;
        if self.ground.chance.one_in(3) && !self.state.has_ended() {
            self.look().await?;
        }
        Ok(())
    }

    fn violent_end(&mut self) -> End {
        if self.ground.chance.one_in(3) { End::Kill } else { End::PowerLoss }
    }

    /// Stops as it does when somebody asks it to.
    async fn stop(&mut self) -> Result<Ended, String> {
        self.stop.cancel();
        self.stop_projector.send_replace(true);
        let done = tokio::time::timeout(SETTLE_TIME, &mut self.projector).await;
        if done.is_err() && !self.state.has_ended() {
            return Err("the projector does not stop".to_owned());
        }
        self.ground.disk.allow(None);
        at_once(self.log.close());
        Ok(Ended::InPeace)
    }

    /// The last life: nothing goes wrong any more, and everything that was promised is there.
    async fn finish(&mut self) -> Result<(), String> {
        (*self.state.projected.lock().unwrap(), *self.state.sessions.lock().unwrap()) =
            Default::default();
        self.ground.disk.fail_sync(u64::MAX);
        self.is_quiet = true;
        // Whatever was due after a while is due now.
        self.ground.clock.advance(Duration::from_secs(60));
        self.publish().await?;
        self.ground.disk.allow(None);
        self.wait_written();
        tokio::time::sleep(SETTLE_TIME).await;
        self.finish_exactly_once().await?;
        self.look().await?;
        self.follow().await?;
        self.subscriber = None;
        turns().await;
        self.subscriber = Some(self.subscribe_again(true).await?);
        self.take_deliveries(Duration::from_secs(5), false).await?;
        let claims = self.claims().await.map_err(|error| said(&error))?;
        self.ground.ledger.check(&claims)?;
        tokio::time::sleep(SETTLE_TIME).await;
        let stored = self.state.load_client_sessions().await.map_err(|error| said(&error))?;
        match waiting(&stored) {
            0 => Ok(()),
            left => Err(format!("{left} messages wait though all were acknowledged")),
        }
    }

    async fn claims(&self) -> Result<Claims, Error> {
        let filter = QuarantineFilter { limit: 1000, ..QuarantineFilter::default() };
        let quarantined = self.state.list_quarantined(filter).await?;
        let mut claims = Claims {
            rows: self.ground.store.visible(),
            counters: self.state.counters().await?,
            quarantined: quarantined.into_iter().map(|item| item.payload).collect(),
            latest: Default::default(),
        };
        for device in DEVICES.into_iter().chain([TWICE]) {
            let (latest, _) = self.state.latest(&DeviceId::parse(device).unwrap()).await?;
            for value in latest {
                if let OwnedValue::Float(number) = value.value {
                    claims.latest.insert(device.to_owned(), number.to_string());
                }
            }
        }
        Ok(claims)
    }
}
