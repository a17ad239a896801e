//! A whole HTTP server over ports in memory, on free ports of loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axle_app::{App, NewDevice, NewUser, Ports, Publisher, Rights};
use axle_domain::port::{
    Answer, AnswerFormat, Cell, CertificateAuthority, CertificateSubject, ColumnInfo, DeviceLink,
    EventLog, History, IdentityEnd, IdentityPart, IdentityStanding, LogBounds, LogFigures, Query,
    Receipt, Record, Reduce, SendError, SignedCertificate, StoreFigures, Table, TelemetryStore,
};
use axle_domain::{
    ApplicationName, DeviceId, Error, Fingerprint, Kind, Message, Offset, Role, RowBatch, Scope,
    Source, Timestamp, UserName,
};
use axle_http::{ConsoleSettings, DoorSettings, HttpServer, HttpSettings, OpsSettings};
use axle_log::MemoryLog;
use axle_testkit::clock::ManualClock;
use axle_testkit::memory_state::MemoryState;
use bytes::Bytes;
use futures_util::FutureExt;
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Reply, Request};

pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
pub(crate) const NOW_TEXT: &str = "2026-09-21T14:13:20Z";

/// A store that keeps what it gets and answers every question alike.
#[derive(Default)]
pub(crate) struct ParrotStore {
    pub(crate) rows: Mutex<u64>,
    pub(crate) asked: Mutex<Vec<String>>,
    /// Who holds it keeps questions from being answered.
    pub(crate) busy: tokio::sync::Mutex<()>,
    position: Mutex<Offset>,
}

impl ParrotStore {
    /// Two sockets: 800 seconds of 90 W, and a counter that grew by 30 Wh.
    fn usage() -> Table {
        let slot = Cell::Time(Timestamp(NOW.0 - 800_000_000));
        let row = |socket: &str, name: &str, used: f64, grown: f64| {
            let keys = [socket, name].map(|key| Cell::Text(key.to_owned()));
            let last = [Cell::Float(90.0), Cell::Time(NOW.shifted(-10_000_000))];
            let sums = [used, grown, 0.0].map(Cell::Float);
            let covered = Cell::Int(800_000_000);
            [std::slice::from_ref(&slot), &keys[..], &sums, &[covered], &last].concat()
        };
        let rows = vec![
            row("s-1", "power", 72_000.0, 5.0),
            row("s-2", "energy_wh", 0.0, 30.0),
            row("s-2", "power", 99.0, 5.0),
        ];
        Table { columns: Vec::new(), rows, truncated: false }
    }

    fn table() -> Table {
        let column = |name: &str, kind: &str| ColumnInfo { name: name.into(), kind: kind.into() };
        Table {
            columns: vec![column("time", "timestamp"), column("n", "bigint"), column("t", "text")],
            rows: vec![
                vec![Cell::Time(NOW), Cell::Int(-7), Cell::Text("=1+1".to_owned())],
                vec![Cell::Null, Cell::Float(0.5), Cell::Bool(true)],
            ],
            truncated: false,
        }
    }
}

#[async_trait]
impl TelemetryStore for ParrotStore {
    async fn write(&self, batches: Vec<RowBatch>, through: Offset) -> Result<(), Error> {
        *self.rows.lock().unwrap() += batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
        *self.position.lock().unwrap() = through;
        Ok(())
    }

    fn position(&self) -> Offset {
        *self.position.lock().unwrap()
    }

    async fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn query(&self, query: Query) -> Result<Answer, Error> {
        if query.sql.starts_with("DROP") {
            return Err(Error::new(Kind::Denied, "query.not_read_only", "a query only reads"));
        }
        self.asked.lock().unwrap().push(format!("{:?}", query.visibility));
        drop(self.busy.lock().await);
        Ok(match query.format {
            AnswerFormat::Table => Answer::Table(Self::table()),
            AnswerFormat::ArrowStream => Answer::ArrowStream(Bytes::from_static(b"ARROW"), true),
        })
    }

    async fn history(&self, history: History) -> Result<(Table, bool), Error> {
        let asked = (&history.stream, history.from, history.to, &history.fields, history.reduce);
        self.asked.lock().unwrap().push(format!("{asked:?}"));
        match history.reduce {
            Reduce::Usage(_) => Ok((Self::usage(), true)),
            Reduce::None | Reduce::Points(_) | Reduce::Bucket(..) => Ok((Self::table(), false)),
        }
    }

    fn figures(&self) -> StoreFigures {
        StoreFigures { recent_rows: *self.rows.lock().unwrap(), ..StoreFigures::default() }
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A log that keeps what nobody needs any more, as one with room on its disk does; a test says
/// when it has none.
#[derive(Default)]
pub(crate) struct KeepingLog(pub(crate) MemoryLog, pub(crate) AtomicBool);

#[async_trait]
impl EventLog for KeepingLog {
    fn append(&self, message: &Message<'_>) -> Result<Offset, Error> {
        self.0.append(message)
    }

    async fn durable(&self, offset: Offset) -> Result<(), Error> {
        self.0.durable(offset).await
    }

    fn waiting_bytes(&self) -> usize {
        self.0.waiting_bytes()
    }

    fn waiting_age(&self) -> Duration {
        self.0.waiting_age()
    }

    async fn room(&self) {
        self.0.room().await;
    }

    async fn read(&self, from: Offset, bytes_max: usize) -> Result<Vec<Record>, Error> {
        self.0.read(from, bytes_max).await
    }

    fn bounds(&self) -> LogBounds {
        self.0.bounds()
    }

    fn figures(&self) -> LogFigures {
        LogFigures { is_full: self.1.load(Ordering::SeqCst), ..self.0.figures() }
    }

    fn release(&self, _before: Offset) {}

    async fn close(&self) {
        self.0.close().await;
    }
}

/// A link to devices that take no message; a test says which are there.
#[derive(Default)]
pub(crate) struct NoLink(pub(crate) Mutex<HashMap<DeviceId, ()>>);

#[async_trait]
impl DeviceLink for NoLink {
    async fn send(&self, _: &DeviceId, _: String, _: Vec<u8>) -> Result<Receipt, SendError> {
        Err(SendError::Away)
    }

    fn online_since(&self, device: &DeviceId) -> Option<Timestamp> {
        self.0.lock().unwrap().contains_key(device).then_some(NOW)
    }

    fn online(&self) -> Vec<DeviceId> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    async fn disconnect(&self, _device: &DeviceId) {}

    fn disconnect_certificate(&self, _fingerprint: &Fingerprint) {}

    fn disconnect_application(&self, _name: &ApplicationName) {}

    fn connection_count(&self) -> usize {
        0
    }
}

/// Issues paper certificates for requests that say `CSR`.
struct PaperAuthority;

impl CertificateAuthority for PaperAuthority {
    fn sign(
        &self,
        subject: &CertificateSubject,
        request: &str,
    ) -> Result<SignedCertificate, Error> {
        if !request.starts_with("CSR") {
            return Err(Error::invalid("certificate.request_invalid", "the request is unreadable"));
        }
        let pem = match subject {
            CertificateSubject::Device(device) => format!("PEM of {device}"),
            CertificateSubject::Application(name) => format!("PEM of {name}"),
            CertificateSubject::Unbound => "PEM of nobody".to_owned(),
        };
        Ok(SignedCertificate {
            fingerprint: Fingerprint([7; 32]),
            not_before: NOW,
            not_after: NOW.after(Duration::from_secs(3600)),
            pem,
        })
    }

    fn read_certificate(&self, pem: &str) -> Result<SignedCertificate, Error> {
        if !pem.starts_with("PEM") {
            return Err(Error::invalid("certificate.invalid", "it is unreadable"));
        }
        let not_after = NOW.after(Duration::from_secs(3600));
        let (fingerprint, pem) = (Fingerprint([8; 32]), pem.to_owned());
        Ok(SignedCertificate { fingerprint, not_before: NOW, not_after, pem })
    }

    fn authority_pem(&self) -> String {
        "PEM of the authority".to_owned()
    }

    fn standing(&self) -> IdentityStanding {
        let end = |part, name: &str, days: u64| IdentityEnd {
            part,
            name: name.to_owned(),
            ends: NOW.after(Duration::from_secs(days * 86_400)),
        };
        IdentityStanding {
            ends: vec![
                end(IdentityPart::Listener, "device listeners", 300),
                end(IdentityPart::Authority, "authority acme", 12),
            ],
            fault: Some("trust/acme.crl: it is no revocation list".to_owned()),
        }
    }
}

/// A running server.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) log: Arc<KeepingLog>,
    pub(crate) state: Arc<MemoryState>,
    pub(crate) store: Arc<ParrotStore>,
    pub(crate) link: Arc<NoLink>,
    pub(crate) http: SocketAddr,
    pub(crate) ops: SocketAddr,
    pub(crate) admin: String,
    pub(crate) login: String,
    stop: CancellationToken,
    server: JoinHandle<()>,
    _projector: (watch::Sender<bool>, JoinHandle<()>),
}

impl World {
    /// A server with the devices `b-1` and `b-2`.
    pub(crate) async fn new() -> Self {
        Self::with(HttpSettings::default()).await
    }

    pub(crate) async fn with(settings: HttpSettings) -> Self {
        Self::with_basemap(settings, "").await
    }

    /// With a map of an operator's own.
    pub(crate) async fn with_basemap(settings: HttpSettings, basemap: &str) -> Self {
        let (log, state) = (Arc::new(KeepingLog::default()), Arc::new(MemoryState::new()));
        let store = Arc::new(ParrotStore::default());
        let clock = Arc::new(ManualClock::new(NOW));
        let link = Arc::new(NoLink::default());
        let app = App::open(Ports {
            clock: clock.clone(),
            log: log.clone(),
            store: store.clone(),
            devices: state.clone(),
            components: state.clone(),
            search: state.clone(),
            applications: state.clone(),
            tokens: state.clone(),
            users: state.clone(),
            credentials: state.clone(),
            sessions: state.clone(),
            client_sessions: state.clone(),
            commands: state.clone(),
            connections: state.clone(),
            consumers: state.clone(),
            reported: state.clone(),
            link: link.clone(),
            authority: Arc::new(PaperAuthority),
            machine: Arc::new(axle_testkit::paper_machine::PaperMachine),
        });
        let app = Arc::new(app.await.unwrap());
        // No gateway here whose sessions could need the log.
        app.consumers.put_sessions(None);
        for id in ["b-1", "b-2"] {
            let new = NewDevice { id: device(id), name: String::new(), kind: "bike".to_owned() };
            app.devices.register(new).await.unwrap();
        }
        let (_, admin) = app.tokens.create(vec![Scope::Admin]).await.unwrap();
        let (stop_projector, stopped) = watch::channel(false);
        let running = Arc::clone(&app);
        let projector = tokio::spawn(async move { running.projector.run(stopped).await });
        let stop = CancellationToken::new();
        let listen = "127.0.0.1:0".to_owned();
        let http = HttpSettings { listen: listen.clone(), ..settings };
        let ops = OpsSettings { listen, ..OpsSettings::default() };
        let console = ConsoleSettings { basemap: basemap.to_owned() };
        let settings = DoorSettings { http, ops, console };
        let server = HttpServer::bind(&settings, Arc::clone(&app), Registry::new(), stop.clone());
        let server = server.await.unwrap();
        let (http, ops) = (server.http_address().unwrap(), server.ops_address().unwrap());
        let login = server.create_login_link().unwrap();
        let server = tokio::spawn(server.run());
        let _projector = (stop_projector, projector);
        Self {
            app,
            clock,
            log,
            state,
            store,
            link,
            http,
            ops,
            admin,
            login,
            stop,
            server,
            _projector,
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.http, method, path)
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.request("GET", path).token(&self.admin)
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request("POST", path).token(&self.admin)
    }

    /// The cookie of a new session of the console.
    pub(crate) async fn session(&self) -> String {
        let link = self.post("/api/v1/login-links").send().await.json();
        let opened = self.request("GET", link["path"].as_str().unwrap()).send().await;
        opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    /// A page of the console, as a browser asks for it.
    pub(crate) async fn page(&self, path: &str, session: &str) -> Reply {
        let request = self.request("GET", path).header("Cookie", session);
        request.header("Accept", "text/html,*/*;q=0.8").send().await
    }

    pub(crate) async fn token(&self, scope: &str) -> String {
        self.app.tokens.create(vec![Scope::parse(scope).unwrap()]).await.unwrap().1
    }

    /// Adds a person who has signed in; returns the cookie.
    pub(crate) async fn user(&self, name: &str, role: Role, devices: &[&str]) -> String {
        let name = UserName::parse(name).unwrap();
        let devices = devices.iter().map(|id| device(id)).collect();
        let new = NewUser { name: name.clone(), display_name: String::new(), role, devices };
        self.app.users.create(new).await.unwrap();
        format!("axle_session={}", self.app.sessions.open(Some(name)).await.unwrap())
    }

    pub(crate) fn publish(&self, device_id: &str, stream: &str, payload: &str) {
        let device = device(device_id);
        let topic = format!("v1/d/{device}/t/{stream}");
        let rights = Rights::OwnTree;
        let publisher = Publisher { device, connected_at: NOW, rights };
        let content = axle_app::Content {
            topic: &topic,
            content_type: "",
            payload: payload.as_bytes(),
            envelope: axle_domain::Envelope::default(),
            origin: "",
        };
        self.app.ingest.publish(&publisher, &content).unwrap();
    }

    /// Messages in the log; what the door counts there is none.
    pub(crate) fn log_len(&self) -> u64 {
        let read = self.log.read(Offset(0), usize::MAX).now_or_never().unwrap().unwrap();
        read.iter().filter(|record| record.source != Source::Door).count() as u64
    }

    /// Waits until everything that is in the log is shown.
    pub(crate) async fn settle(&self) {
        let end = self.log.bounds().appended;
        while self.app.positions().store < end || self.app.positions().state < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.server.await.unwrap();
    }
}

pub(crate) fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}
