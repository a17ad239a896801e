//! Measures the gateway over its real log: throughput, CPU per message, memory per connection.
//!
//! ```text
//! cargo run --release -p axle-mqtt --example gateway_load -- plain window 100 50 5
//! cargo run --release -p axle-mqtt --example gateway_load -- tls paced 2000 33000 10
//! cargo run --release -p axle-mqtt --example gateway_load -- plain idle 5000
//! ```
//!
//! The gateway runs in a child process of its own, so that its CPU time and memory stand alone; the
//! figures of the load generator beside it are not counted.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a tool that measures: it prints, and stops where something is wrong"
)]

#[path = "broker_load/lane.rs"]
mod lane;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axle_app::{App, NewDevice, Ports};
use axle_domain::port::{Clock, ConnectionFilter, ConnectionJournal};
use axle_domain::{ConnectionEvent, DeviceId, Error, Timestamp};
use axle_log::{EmbeddedLog, LogSettings};
use axle_mqtt::{
    DeviceAuthority, DeviceTls, Gateway, GatewayParts, PlainAccess, Sessions, Settings,
    new_key_and_request,
};
use axle_testkit::memory_state::MemoryState;
use axle_testkit::memory_store::MemoryStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::lane::{Schedule, Socket, keep_in_flight, send_on_time};

/// What connections cost is measured without anything that keeps their events.
struct NoJournal;

#[async_trait::async_trait]
impl ConnectionJournal for NoJournal {
    fn record(&self, _event: ConnectionEvent) {}

    async fn list_connections(
        &self,
        _filter: ConnectionFilter,
    ) -> Result<Vec<ConnectionEvent>, Error> {
        Ok(Vec::new())
    }

    async fn flush_connections(&self) -> Result<(), Error> {
        Ok(())
    }

    fn dropped_connections(&self) -> u64 {
        0
    }
}

const TOPIC: &str = "v1/d/load/t/ride";
const PACKET_BYTES: usize = 470;

struct MachineClock;

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if arguments.first().is_some_and(|first| first == "serve") {
        runtime.block_on(serve(&arguments[1]));
    } else {
        runtime.block_on(drive(&arguments));
    }
}

/// The child: a gateway over the real log in a folder. Ends with its standard input.
async fn serve(dir: &str) {
    let dir = std::path::Path::new(dir);
    let clock: Arc<dyn Clock> = Arc::new(MachineClock);
    let authority = Arc::new(DeviceAuthority::open(dir, &[], Arc::clone(&clock)).unwrap());
    let (log, _) = EmbeddedLog::open(&dir.join("log"), LogSettings::default()).unwrap();
    let (sessions, state) = (Sessions::new(), Arc::new(MemoryState::new()));
    let app = App::open(Ports {
        clock,
        log: Arc::new(log),
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
        connections: Arc::new(NoJournal),
        consumers: state.clone(),
        reported: state,
        link: sessions.clone(),
        authority: authority.clone(),
        machine: Arc::new(axle_testkit::paper_machine::PaperMachine),
    });
    let app = Arc::new(app.await.unwrap());
    let id = DeviceId::parse("load").unwrap();
    let (name, kind) = (String::new(), String::new());
    app.devices.register(NewDevice { id: id.clone(), name, kind }).await.unwrap();
    let (key, request) = new_key_and_request(&id).unwrap();
    let issued = app.devices.issue_certificate(&id, &request).await.unwrap();
    std::fs::write(dir.join("load.crt"), issued.pem).unwrap();
    std::fs::write(dir.join("load.key"), key).unwrap();
    let local = "127.0.0.1:0".to_owned();
    let gateway = Gateway::bind(GatewayParts {
        settings: Settings {
            listen: local.clone(),
            plain_listen: local,
            plain_access: PlainAccess::Device,
            ..Settings::default()
        },
        tls: Some(DeviceTls::open(&authority, &app.registry, &[b"mqtt"]).unwrap()),
        app,
        sessions,
        metrics: prometheus::Registry::new(),
        stop: CancellationToken::new(),
    });
    let gateway = gateway.await.unwrap();
    println!("{} {}", gateway.plain_address().unwrap(), gateway.tls_address().unwrap());
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        () = gateway.run() => {}
        _ = end => {}
    }
}

struct Server {
    child: Child,
    plain: SocketAddr,
    tls: SocketAddr,
    dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut addresses = line.split_whitespace().map(|text| text.parse().unwrap());
        let (plain, tls) = (addresses.next().unwrap(), addresses.next().unwrap());
        Self { child, plain, tls, dir }
    }

    /// CPU time of the child so far, all threads.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory of the child, KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn tls_config(&self) -> Arc<rustls::ClientConfig> {
        let read = |name: &str| std::fs::read(self.dir.path().join(name)).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&read("ca.crt")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = vec![CertificateDer::from_pem_slice(&read("load.crt")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&read("load.key")).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

async fn connect(
    server: &Server,
    tls: Option<&Arc<rustls::ClientConfig>>,
    number: usize,
) -> Box<dyn Socket> {
    let address = if tls.is_some() { server.tls } else { server.plain };
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut socket: Box<dyn Socket> = match tls {
        Some(config) => {
            let name = ServerName::try_from("localhost").unwrap();
            let connector = TlsConnector::from(Arc::clone(config));
            Box::new(connector.connect(name, socket).await.unwrap())
        }
        None => Box::new(socket),
    };
    let id = format!("load/{number}");
    let mut packet = vec![0x10, 12 + id.len() as u8];
    packet.extend_from_slice(b"\x00\x04MQTT\x04\x02\x00\x00\x00");
    packet.push(id.len() as u8);
    packet.extend_from_slice(id.as_bytes());
    socket.write_all(&packet).await.unwrap();
    socket.flush().await.unwrap();
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    socket
}

/// A PUBLISH of 470 bytes at QoS 1; the packet id stands at the returned place.
fn publish() -> (Vec<u8>, usize) {
    let body = PACKET_BYTES - 3;
    let mut packet = vec![0x32, (body & 0x7f) as u8 | 0x80, (body >> 7) as u8];
    packet.extend_from_slice(&(TOPIC.len() as u16).to_be_bytes());
    packet.extend_from_slice(TOPIC.as_bytes());
    let id_at = packet.len();
    packet.resize(PACKET_BYTES, b'x');
    (packet, id_at)
}

async fn drive(arguments: &[String]) {
    let number = |index: usize| arguments[index].parse::<usize>().unwrap();
    let server = Server::start();
    let tls = (arguments[0] == "tls").then(|| server.tls_config());
    let count = number(2);
    let before = server.memory();
    let mut sockets = Vec::new();
    let began = Instant::now();
    for index in 0..count {
        sockets.push(connect(&server, tls.as_ref(), index).await);
    }
    println!("{count} connections in {:.1} s", began.elapsed().as_secs_f64());
    match &*arguments[1] {
        "idle" => {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let each = (server.memory() - before) as f64 / count as f64;
            println!("{each:.2} KiB per idle connection ({before} KiB before)");
        }
        "window" => window(&server, sockets, number(3), number(4)).await,
        "paced" => paced(&server, sockets, number(3), number(4)).await,
        other => println!("unknown mode {other}: use idle, window or paced"),
    }
}

/// Every connection keeps so many publishes in flight.
async fn window(server: &Server, sockets: Vec<Box<dyn Socket>>, window: usize, seconds: usize) {
    let total = Arc::new(AtomicU64::new(0));
    for socket in sockets {
        tokio::spawn(keep_in_flight(socket, publish(), window, Arc::clone(&total)));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (cpu, sent, began) = (server.cpu(), total.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    let sent = total.load(Ordering::Relaxed) - sent;
    let cpu = (server.cpu() - cpu).as_secs_f64();
    println!(
        "{:.0} messages/s, {:.2} us of server CPU each",
        sent as f64 / began.elapsed().as_secs_f64(),
        cpu * 1e6 / sent as f64
    );
}

/// So many messages per second over all connections, whatever comes back.
async fn paced(server: &Server, sockets: Vec<Box<dyn Socket>>, rate: usize, seconds: usize) {
    let latencies = Arc::new(std::sync::Mutex::new(Vec::<u32>::new()));
    let every = Duration::from_secs_f64(sockets.len() as f64 / rate as f64);
    let (begin, count) = (tokio::time::Instant::now() + Duration::from_millis(200), sockets.len());
    let until = begin + Duration::from_secs(seconds as u64);
    for (index, socket) in sockets.into_iter().enumerate() {
        let latencies = Arc::clone(&latencies);
        let first = begin + every.mul_f64(index as f64 / count as f64);
        let schedule = Schedule { first, every, until };
        tokio::spawn(async move {
            let seen = send_on_time(socket, publish(), schedule).await;
            latencies.lock().unwrap().extend(seen);
        });
    }
    tokio::time::sleep_until(begin).await;
    let cpu = server.cpu();
    tokio::time::sleep_until(until).await;
    let cpu = (server.cpu() - cpu).as_secs_f64();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut seen = latencies.lock().unwrap().clone();
    seen.sort_unstable();
    let at = |share: f64| f64::from(seen[((seen.len() - 1) as f64 * share) as usize]) / 1e3;
    println!(
        "{:.0} messages/s, {:.2} us of server CPU each, ack p50 {:.1} ms, p99 {:.1} ms",
        seen.len() as f64 / seconds as f64,
        cpu * 1e6 / seen.len() as f64,
        at(0.5),
        at(0.99)
    );
}
