//! A gateway with everything behind it, on free ports of the loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axle_app::{App, NewDevice, Ports};
use axle_domain::port::{
    CertificateAuthority, ClientSessionStore, Clock, EventLog, Record, StoredSessions,
};
use axle_domain::{DeviceId, Envelope, Message, Offset, Source, Timestamp, Turned};
use axle_log::MemoryLog;
use axle_mqtt::{
    DeviceAuthority, DeviceTls, Gateway, GatewayParts, PlainAccess, Sessions, Settings,
    new_key_and_request,
};
use axle_testkit::clock::ManualClock;
use axle_testkit::memory_state::MemoryState;
use axle_testkit::memory_store::MemoryStore;
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// A gateway and what is behind it.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) authority: Arc<DeviceAuthority>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) metrics: prometheus::Registry,
    pub(crate) tls: SocketAddr,
    pub(crate) plain: SocketAddr,
    pub(crate) web: SocketAddr,
    pub(crate) stop: CancellationToken,
    running: Option<JoinHandle<()>>,
    ground: Ground,
}

/// What outlives a gateway.
struct Ground {
    dir: TempDir,
    clock: Arc<ManualClock>,
    log: Arc<MemoryLog>,
    state: Arc<MemoryState>,
}

/// The machine's time, since TLS looks at it too.
pub(crate) fn now() -> Timestamp {
    let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap();
    Timestamp(i64::try_from(since_epoch.as_micros()).unwrap())
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn open_to_all() -> Self {
        Self::with(Settings { plain_access: PlainAccess::All, ..Settings::default() }).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let ground = Ground {
            dir: TempDir::new().unwrap(),
            clock: Arc::new(ManualClock::new(now())),
            log: Arc::new(MemoryLog::new()),
            state: Arc::new(MemoryState::new()),
        };
        Self::on(ground, settings).await
    }

    /// Ends the gateway, forgets all that was only in memory, and begins anew on the same log
    /// and state.
    pub(crate) async fn restart(mut self) -> Self {
        self.end().await;
        let settings = Settings { plain_access: PlainAccess::All, ..Settings::default() };
        Self::on(self.ground, settings).await
    }

    /// Begins anew on what a crash at this moment leaves of log and state: what is durable. The
    /// old gateway ends afterwards, on what nobody reads any more.
    pub(crate) async fn crash(mut self) -> Self {
        let state = Arc::new(self.ground.state.snapshot());
        let log = Arc::new(MemoryLog::new());
        for record in self.log.read(Offset(0), usize::MAX).await.unwrap() {
            log.append(&record.message()).unwrap();
        }
        self.log.commit();
        self.end().await;
        let settings = Settings { plain_access: PlainAccess::All, ..Settings::default() };
        let Ground { dir, clock, .. } = self.ground;
        Self::on(Ground { dir, clock, log, state }, settings).await
    }

    async fn on(ground: Ground, settings: Settings) -> Self {
        let Ground { dir, clock, log, state } = &ground;
        let shared_clock: Arc<dyn Clock> = clock.clone();
        let authority =
            Arc::new(DeviceAuthority::open(dir.path(), &[], Arc::clone(&shared_clock)).unwrap());
        let sessions = Sessions::new();
        let app = App::open(Ports {
            clock: shared_clock,
            log: log.clone(),
            store: Arc::new(MemoryStore::new()),
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
            link: sessions.clone(),
            authority: authority.clone(),
            machine: Arc::new(axle_testkit::paper_machine::PaperMachine),
        });
        let app = Arc::new(app.await.unwrap());
        let (metrics, stop) = (prometheus::Registry::new(), CancellationToken::new());
        let alpn: [&[u8]; 3] = [b"mqtt", b"x-amzn-mqtt-ca", b"http/1.1"];
        let tls = DeviceTls::open(&authority, &app.registry, &alpn).unwrap();
        let local = "127.0.0.1:0".to_owned();
        let gateway = Gateway::bind(GatewayParts {
            settings: Settings {
                listen: local.clone(),
                device_https_listen: local.clone(),
                plain_listen: local,
                ..settings
            },
            app: app.clone(),
            sessions: sessions.clone(),
            tls: Some(tls),
            metrics: metrics.clone(),
            stop: stop.clone(),
        });
        let gateway = gateway.await.unwrap();
        let (tls, plain) = (gateway.tls_address().unwrap(), gateway.plain_address().unwrap());
        let web = gateway.https_address().unwrap();
        let running = Some(tokio::spawn(gateway.run()));
        let (log, clock) = (log.clone(), clock.clone());
        Self {
            app,
            log,
            clock,
            authority,
            sessions,
            metrics,
            tls,
            plain,
            web,
            stop,
            running,
            ground,
        }
    }

    /// Where the authority keeps its files.
    pub(crate) fn data_dir(&self) -> &std::path::Path {
        self.ground.dir.path()
    }

    /// Registers a device.
    pub(crate) async fn add(&self, id: &str) -> DeviceId {
        let id = DeviceId::parse(id).unwrap();
        let (name, kind) = (String::new(), String::new());
        self.app.devices.register(NewDevice { id: id.clone(), name, kind }).await.unwrap();
        id
    }

    /// Registers a device and gives it a certificate.
    pub(crate) async fn add_with_certificate(&self, id: &str) -> Credential {
        let id = self.add(id).await;
        let (key, request) = new_key_and_request(&id).unwrap();
        let issued = self.app.devices.issue_certificate(&id, &request).await.unwrap();
        Credential::from_pem(&issued.pem, &key)
    }

    /// A connection without TLS on which nothing was said yet.
    pub(crate) async fn plain_socket(&self) -> TcpStream {
        TcpStream::connect(self.plain).await.unwrap()
    }

    /// The settings of a client that trusts the gateway.
    pub(crate) fn client_config(&self, credential: &Credential) -> ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        let pem = self.authority.authority_pem();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(credential.chain.clone(), credential.key.clone_key())
            .unwrap()
    }

    /// The settings of a client that trusts the gateway and has no certificate.
    pub(crate) fn bare_config(&self) -> ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.root()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// A connection with TLS. The handshake may still be refused when it is read from.
    pub(crate) async fn tls_client(
        &self,
        config: &Arc<ClientConfig>,
        is_v5: bool,
    ) -> std::io::Result<Client> {
        self.tls_client_after(b"", config, is_v5).await
    }

    /// The same, where a load balancer says something first.
    pub(crate) async fn tls_client_after(
        &self,
        first: &[u8],
        config: &Arc<ClientConfig>,
        is_v5: bool,
    ) -> std::io::Result<Client> {
        let mut socket = TcpStream::connect(self.tls).await?;
        socket.write_all(first).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, socket).await?;
        Ok(Client::new(Box::new(stream), is_v5))
    }

    /// All records, once there are so many.
    pub(crate) async fn records(&self, count: u64) -> Vec<Record> {
        if count > 0 {
            let last = self.log.durable(Offset(count - 1));
            tokio::time::timeout(Duration::from_secs(5), last).await.unwrap().unwrap();
        }
        self.log.read(Offset(0), usize::MAX).await.unwrap()
    }

    /// All messages: records without the door's own counts. Waits for so many records.
    pub(crate) async fn messages(&self, count: u64) -> Vec<Record> {
        let mut records = self.records(count).await;
        records.retain(|record| record.source != Source::Door);
        records
    }

    /// How many records were appended, durable or not.
    pub(crate) fn log_length(&self) -> u64 {
        self.log.bounds().appended.0
    }

    /// A message as if somebody had published it.
    pub(crate) fn append(&self, topic: &str, payload: &[u8], qos: u8) {
        self.log
            .append(&Message {
                source: Source::Mqtt,
                device: "local",
                topic,
                content_type: "",
                payload,
                received_at: self.clock.now(),
                connected_at: self.clock.now(),
                sent_at: None,
                replayed_at: None,
                origin: "",
                envelope: Envelope { qos, ..Envelope::default() },
            })
            .unwrap();
    }

    /// How many refusals the log has counted.
    pub(crate) async fn rejected(&self) -> u64 {
        let records = self.records(0).await;
        let turned = records.iter().filter(|record| record.source == Source::Door);
        turned.map(|record| Turned::from_payload(&record.payload).unwrap().rejected).sum()
    }

    /// Waits until so many records were appended, durable or not.
    pub(crate) async fn records_appended(&self, count: u64) {
        let wait = async {
            while self.log.bounds().appended < Offset(count) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), wait).await.expect("records in time");
    }

    /// The value of a metric with a label.
    pub(crate) fn counted(&self, name: &str, label: &str) -> f64 {
        let families = self.metrics.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metric = family.and_then(|family| {
            family
                .get_metric()
                .iter()
                .find(|metric| metric.get_label().iter().any(|pair| pair.value() == label))
        });
        metric.map_or(0.0, |metric| metric.get_counter().get_value())
    }

    /// What is stored of sessions.
    pub(crate) async fn stored_sessions(&self) -> StoredSessions {
        self.ground.state.load_client_sessions().await.unwrap()
    }

    /// Sessions that are stored as connected.
    pub(crate) async fn sessions_left(&self) -> usize {
        let stored = self.stored_sessions().await.sessions;
        stored.iter().filter(|(session, _)| session.left_at.is_none()).count()
    }

    /// Waits until so many messages wait for sessions at rest.
    pub(crate) async fn queued(&self, count: u64) {
        let wait = async {
            loop {
                let stored = self.stored_sessions().await.sessions;
                if stored.iter().map(|(_, queue)| queue.rows).sum::<u64>() == count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), wait).await.expect("queues in time");
    }

    /// Stops the gateway and waits until it has ended.
    pub(crate) async fn end(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            tokio::time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
        }
    }
}

/// A client certificate and its key.
pub(crate) struct Credential {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Credential {
    pub(crate) fn from_pem(certificate: &str, key: &str) -> Self {
        Self {
            chain: vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            key: PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        }
    }
}
