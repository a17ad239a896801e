//! An application over ports in memory, a clock that obeys, and a scripted link to devices.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axle_app::{App, NewDevice, Ports, Principal, Publisher, Rights};
use axle_domain::port::{
    Acknowledgement, CertificateAuthority, CertificateSubject, DeviceLink, Receipt, SendError,
    SignedCertificate, TelemetryStore,
};
use axle_domain::{ApplicationName, DeviceId, Error, Fingerprint, Kind, Scope, Timestamp};
use axle_log::MemoryLog;
use axle_testkit::clock::ManualClock;
use axle_testkit::memory_state::MemoryState;
use axle_testkit::memory_store::MemoryStore;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

/// A link that a test scripts: devices that are there, and what was sent to them.
#[derive(Default)]
pub(crate) struct ScriptedLink {
    pub(crate) online: Mutex<HashMap<DeviceId, ()>>,
    pub(crate) sent: Mutex<Vec<(DeviceId, String, Vec<u8>)>>,
    pub(crate) acknowledge: Mutex<Vec<oneshot::Sender<Result<Acknowledgement, SendError>>>>,
    pub(crate) disconnected: Mutex<Vec<DeviceId>>,
}

#[async_trait]
impl DeviceLink for ScriptedLink {
    async fn send(
        &self,
        device: &DeviceId,
        topic: String,
        payload: Vec<u8>,
    ) -> Result<Receipt, SendError> {
        if !self.online.lock().unwrap().contains_key(device) {
            return Err(SendError::Away);
        }
        self.sent.lock().unwrap().push((device.clone(), topic, payload));
        let (sender, receiver) = oneshot::channel();
        self.acknowledge.lock().unwrap().push(sender);
        Ok(Receipt {
            is_acknowledged: true,
            evidence: "written".to_owned(),
            delivered: Box::pin(async move { receiver.await.unwrap_or(Err(SendError::Lost)) }),
        })
    }

    fn online_since(&self, device: &DeviceId) -> Option<Timestamp> {
        self.online.lock().unwrap().contains_key(device).then_some(NOW)
    }

    fn online(&self) -> Vec<DeviceId> {
        self.online.lock().unwrap().keys().cloned().collect()
    }

    async fn disconnect(&self, device: &DeviceId) {
        self.disconnected.lock().unwrap().push(device.clone());
    }

    fn disconnect_certificate(&self, _fingerprint: &Fingerprint) {}

    fn disconnect_application(&self, _name: &ApplicationName) {}

    fn connection_count(&self) -> usize {
        self.online.lock().unwrap().len()
    }
}

struct NoAuthority;

impl CertificateAuthority for NoAuthority {
    fn sign(&self, _: &CertificateSubject, _: &str) -> Result<SignedCertificate, Error> {
        Err(Error::new(Kind::Internal, "test", "no certificates here"))
    }

    fn read_certificate(&self, _: &str) -> Result<SignedCertificate, Error> {
        Err(Error::new(Kind::Internal, "test", "no certificates here"))
    }

    fn authority_pem(&self) -> String {
        String::new()
    }
}

/// What outlives a restart of the application.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) state: Arc<MemoryState>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) link: Arc<ScriptedLink>,
}

impl Ground {
    pub(crate) fn log_len(&self) -> u64 {
        use axle_domain::port::EventLog;
        self.log.bounds().appended.0
    }
}

/// A running application.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) ground: Ground,
    pub(crate) store: Arc<MemoryStore>,
    stop: watch::Sender<bool>,
    projector: JoinHandle<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let ground = Ground {
            clock: Arc::new(ManualClock::new(NOW)),
            log: Arc::new(MemoryLog::new()),
            state: Arc::new(MemoryState::new()),
            store: Arc::new(MemoryStore::new()),
            link: Arc::new(ScriptedLink::default()),
        };
        let world = Self::start(ground).await;
        for id in ["b-1", "b-2"] {
            let (name, kind) = (String::new(), "bike".to_owned());
            let new = NewDevice { id: device(id), name, kind };
            world.app.devices.register(new).await.unwrap();
        }
        world
    }

    /// Starts on what an earlier application left behind.
    pub(crate) async fn start(ground: Ground) -> Self {
        let store = Arc::clone(&ground.store);
        let app = App::open(Ports {
            clock: ground.clock.clone(),
            log: ground.log.clone(),
            store: store.clone() as Arc<dyn TelemetryStore>,
            devices: ground.state.clone(),
            components: ground.state.clone(),
            search: ground.state.clone(),
            applications: ground.state.clone(),
            tokens: ground.state.clone(),
            users: ground.state.clone(),
            credentials: ground.state.clone(),
            sessions: ground.state.clone(),
            client_sessions: ground.state.clone(),
            commands: ground.state.clone(),
            reported: ground.state.clone(),
            connections: ground.state.clone(),
            consumers: ground.state.clone(),
            link: ground.link.clone(),
            authority: Arc::new(NoAuthority),
            machine: Arc::new(axle_testkit::paper_machine::PaperMachine),
        });
        let app = Arc::new(app.await.unwrap());
        // No gateway here whose sessions could need the log.
        app.consumers.put_sessions(None);
        let (stop, stopped) = watch::channel(false);
        let running = Arc::clone(&app);
        let projector = tokio::spawn(async move { running.projector.run(stopped).await });
        Self { app, ground, store, stop, projector }
    }

    /// Ends the application as a crash would, between two messages.
    pub(crate) fn crash(self) -> Ground {
        self.projector.abort();
        self.ground
    }

    /// Lets nothing more of the log be shown.
    pub(crate) fn stop_projecting(&self) {
        self.projector.abort();
    }

    pub(crate) async fn stop(self) -> Ground {
        self.stop.send_replace(true);
        self.projector.await.unwrap();
        self.ground
    }

    pub(crate) fn publish(&self, device_id: &str, topic: &str, payload: &str) {
        let publisher =
            Publisher { device: device(device_id), connected_at: NOW, rights: Rights::OwnTree };
        self.app.ingest.publish(&publisher, &content(topic, payload.as_bytes())).unwrap();
    }

    /// Waits until everything that is in the log is shown.
    pub(crate) async fn settle(&self) {
        let end = self.app.ports.log.bounds().appended;
        while self.app.positions().store < end || self.app.positions().state < end {
            tokio::task::yield_now().await;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn principal(&self, scopes: &[&str]) -> Principal {
        let scopes = scopes.iter().map(|scope| Scope::parse(scope).unwrap()).collect();
        let (_token, secret) = self.app.tokens.create(scopes).await.unwrap();
        self.app.tokens.authenticate(&secret).await.unwrap()
    }
}

pub(crate) fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

/// What a device publishes when it says nothing but topic and payload.
pub(crate) fn content<'a>(topic: &'a str, payload: &'a [u8]) -> axle_app::Content<'a> {
    let envelope = axle_domain::Envelope::default();
    axle_app::Content { topic, content_type: "", payload, envelope, origin: "" }
}
