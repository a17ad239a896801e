//! `axle serve`: the server, until a signal ends it.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use crate::cli::ServeArgs;
use crate::config::Config;
use crate::data_dir::{DataDir, SERVE};
use crate::descriptor;
use crate::failure::{Exit, Failure};
use crate::output::note;
use crate::run::Server;
use crate::telemetry::start_log;

/// How long the runtimes may take to let go of what is left.
const END_TIME_MAX: Duration = Duration::from_millis(200);
/// Threads of the doors for people; few, since waiting is most of what they do.
const PEOPLE_THREADS: usize = 2;

pub(super) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let config = args.load()?.config;
    start_log()?;
    for (setting, host) in config.exposed() {
        warn!("`{setting}` is on {host} without TLS: whoever reaches it reads what passes");
    }
    descriptor::raise_limit(config.mqtt.connections_max as u64);
    let data = DataDir::open(&args.data_dir, SERVE)?;
    data.warn_if_exposed_or_full();
    run_until_signal(data, &config, |_server| async { std::future::pending().await })
}

/// Runs a server, and beside it `life`, until a signal or a failure of either.
pub(super) fn run_until_signal<L, F>(data: DataDir, config: &Config, life: L) -> Result<(), Failure>
where
    L: FnOnce(&Server) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let failed = |error| Failure::new(Exit::Internal, format!("cannot start: {error}"));
    let devices: Runtime = Builder::new_multi_thread()
        .thread_name("axle-devices")
        .enable_all()
        .build()
        .map_err(failed)?;
    let people: Runtime = Builder::new_multi_thread()
        .thread_name("axle-people")
        .worker_threads(PEOPLE_THREADS)
        .enable_all()
        .build()
        .map_err(failed)?;
    let outcome = devices.block_on(async {
        let mut signals = Signals::listen()?;
        let mut server = tokio::select! {
            server = Server::start(data, config, people.handle()) => server?,
            () = signals.next() => return Ok(()),
        };
        announce(&server);
        let life = life(&server);
        let outcome = tokio::select! {
            () = signals.next() => {
                note("stopping; a second signal ends at once");
                Ok(())
            }
            failure = server.failed() => Err(failure),
            outcome = life => outcome,
        };
        tokio::select! {
            stopped = server.stop() => outcome.and(stopped),
            () = signals.next() => end_at_once(),
        }
    });
    people.shutdown_timeout(END_TIME_MAX);
    devices.shutdown_timeout(END_TIME_MAX);
    outcome
}

/// What a person at the terminal wants to know.
fn announce(server: &Server) {
    note(&format!(
        "axle {} is ready on {}",
        env!("CARGO_PKG_VERSION"),
        server.data().path().display()
    ));
    for (name, what) in [
        ("http", "API and console"),
        ("mqtts", "devices, MQTT over TLS with client certificates"),
        ("mqtt", "devices, MQTT without TLS"),
        ("device_https", "devices, MQTT over WebSocket at /mqtt"),
        ("ops", "/metrics, /healthz, /readyz"),
    ] {
        let address = server.addresses().get(name).map_or("off", String::as_str);
        note(&format!("  {name:<12} {address:<22} {what}"));
    }
    if let Some(link) = server.login_link() {
        note(&format!("open once, within an hour: {link}"));
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Internal, format!("cannot listen for signals: {error}"))
            })
        };
        let terminate = listen(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _signal = self.terminate.recv() => {}
            _signal = self.interrupt.recv() => {}
        }
    }
}

#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "whoever sends a second signal does not want to wait for what still runs"
)]
fn end_at_once() -> ! {
    std::process::exit(Exit::Internal as i32)
}
