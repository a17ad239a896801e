//! Runs one instance: owns every task and thread, and stops them in reverse order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle as ThreadHandle;
use std::time::Duration;

use axle_app::{App, HoldLimits, Tokens};
use axle_domain::Error;
use axle_http::{DoorSettings, HttpServer};
use axle_mqtt::{DeviceTls, Gateway, GatewayParts};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::assemble::Assembly;
use crate::config::Config;
use crate::data_dir::{Addresses, DataDir};
use crate::failure::{Exit, Failure};

/// How long listeners may take to end what is under way.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// How long what is in memory may take to reach the disk. The log has it in any case.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(4);
/// What devices may ask for in the handshake; the second is what `awsiotsdk` says on port 443.
const ALPN: &[&[u8]] = &[b"mqtt", b"x-amzn-mqtt-ca", b"http/1.1"];
/// How often overdue commands are looked for.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// An instance that is up.
pub struct Server {
    data: DataDir,
    assembly: Assembly,
    addresses: Addresses,
    login_link: Option<String>,
    listeners: CancellationToken,
    http: JoinHandle<()>,
    gateway: JoinHandle<()>,
    housekeeping: JoinHandle<()>,
    projector: ThreadHandle<()>,
    stop_projector: watch::Sender<bool>,
    projector_ended: Arc<tokio::sync::Notify>,
}

impl Server {
    /// Opens everything on a data directory and listens. The doors for people run on a runtime of
    /// their own, so that they answer while devices keep this one busy. When this returns, the
    /// server is ready and `addresses.json` says so.
    ///
    /// # Errors
    /// Those of the parts; an address that cannot be bound.
    pub async fn start(data: DataDir, config: &Config, people: &Handle) -> Result<Self, Failure> {
        // A server that was killed leaves its addresses behind.
        data.delete_addresses()?;
        let assembly = Assembly::open(&data, config).await?;
        ensure_administrator(&data, &assembly.app).await?;
        let registry = prometheus::Registry::new();
        let listeners = CancellationToken::new();

        let (stop_projector, stop) = watch::channel(false);
        let projector_ended = Arc::new(tokio::sync::Notify::new());
        let projector = follow(&assembly.app, stop, Arc::clone(&projector_ended))?;
        let (answers, stopped) = (assembly.app.ingest.answers(), listeners.clone());
        let house =
            keep_house(Arc::clone(&assembly.app), config.log.hold_limits(), listeners.clone());
        let housekeeping = tokio::spawn(async move {
            tokio::join!(house, answers.run(stopped.cancelled()));
        });

        let gateway = Gateway::bind(GatewayParts {
            settings: config.mqtt.settings(&config.device_https),
            app: Arc::clone(&assembly.app),
            sessions: Arc::clone(&assembly.sessions),
            tls: Some(DeviceTls::open(&assembly.authority, &assembly.app.registry, ALPN)?),
            metrics: registry.clone(),
            stop: listeners.clone(),
        })
        .await?;
        let http = bind_http(config, &assembly.app, registry, &listeners, people).await?;

        let mut addresses = Addresses::new();
        let mut put = |name: &str, address: Option<SocketAddr>| {
            let local = |address: SocketAddr| crate::client::reachable(&address.to_string());
            addresses.extend(address.map(|address| (name.to_owned(), local(address))));
        };
        put("http", http.http_address());
        put("ops", http.ops_address());
        put("mqtts", gateway.tls_address());
        put("mqtt", gateway.plain_address());
        put("device_https", gateway.https_address());
        let login_link = match http.http_address() {
            Some(address) => {
                let local = crate::client::reachable(&address.to_string());
                Some(format!("http://{local}{}", http.create_login_link()?))
            }
            None => None,
        };
        tell_presence(&assembly.app, config, listeners.clone());
        let gateway = tokio::spawn(gateway.run());
        let http = people.spawn(http.run());
        let listeners_of = addresses.iter().map(|(name, at)| (name.clone(), at.clone()));
        assembly.machine.put_listeners(listeners_of.collect());
        data.put_addresses(&addresses)?;
        Ok(Self {
            data,
            assembly,
            addresses,
            login_link,
            listeners,
            http,
            gateway,
            housekeeping,
            projector,
            stop_projector,
            projector_ended,
        })
    }

    /// Where the listeners are.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The link that opens the console once, unless the API is off.
    #[must_use]
    pub fn login_link(&self) -> Option<&str> {
        self.login_link.as_deref()
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &DataDir {
        &self.data
    }

    /// Waits until a part has ended that never should.
    pub async fn failed(&mut self) -> Failure {
        let part = tokio::select! {
            _ended = &mut self.http => "the HTTP doors",
            _ended = &mut self.gateway => "the device gateway",
            _ended = &mut self.housekeeping => "the housekeeping",
            () = self.projector_ended.notified() => "the projection of the log",
        };
        Failure::new(Exit::Internal, format!("{part} ended unexpectedly: the log above says why"))
            .with_hint("start the server again: nothing that was acknowledged is lost")
    }

    /// Ends what is under way, brings everything to disk, and lets go of the data directory.
    ///
    /// # Errors
    /// When recent rows did not reach the store's files; the log has them.
    pub async fn stop(self) -> Result<(), Failure> {
        self.data.delete_addresses()?;
        self.listeners.cancel();
        let drained = async {
            for task in [self.http, self.gateway, self.housekeeping] {
                if let Err(error) = task.await
                    && error.is_panic()
                {
                    error!("a part of the server had ended with a panic");
                }
            }
        };
        if timeout(DRAIN_TIME_MAX, drained).await.is_err() {
            warn!("some connections did not end in time");
        }
        self.stop_projector.send_replace(true);
        let projector = tokio::task::spawn_blocking(|| self.projector.join());
        let flushed = timeout(FLUSH_TIME_MAX, async {
            if !matches!(projector.await, Ok(Ok(()))) {
                error!("the projection of the log had ended with a panic");
            }
            self.assembly.close().await
        });
        match flushed.await {
            Ok(closed) => Ok(closed?),
            Err(_elapsed) => {
                warn!("recent rows did not reach the store's files in time; the log has them");
                Ok(())
            }
        }
    }
}

async fn ensure_administrator(data: &DataDir, app: &App) -> Result<(), Failure> {
    let secret = match data.find_admin_token()?.filter(|secret| !secret.is_empty()) {
        Some(secret) => secret,
        None => {
            let secret = Tokens::new_secret()?;
            data.put_admin_token(&secret)?;
            secret
        }
    };
    Ok(app.tokens.ensure_administrator(&secret).await?)
}

async fn bind_http(
    config: &Config,
    app: &Arc<App>,
    registry: prometheus::Registry,
    stop: &CancellationToken,
    people: &Handle,
) -> Result<HttpServer, Failure> {
    let mut http = config.http.clone();
    // People come by the same names as devices do.
    http.names.extend(config.server.names.iter().cloned());
    let (ops, console) = (config.ops.clone(), config.console.clone());
    let settings = DoorSettings { http, ops, console };
    let (app, stop) = (Arc::clone(app), stop.clone());
    // Sockets belong to the runtime on which they are bound.
    let bound = people
        .spawn(async move { HttpServer::bind(&settings, app, registry, stop).await })
        .await
        .map_err(|error| Error::internal("http.bind", error.to_string()))?;
    Ok(bound?)
}

/// Follows the log on a thread of its own: understanding messages is work for a processor.
fn follow(
    app: &Arc<App>,
    stop: watch::Receiver<bool>,
    ended: Arc<tokio::sync::Notify>,
) -> Result<ThreadHandle<()>, Failure> {
    let (projector, runtime) = (Arc::clone(&app.projector), Handle::current());
    let run = move || {
        let _announcement = Announcement(ended);
        runtime.block_on(projector.run(stop));
    };
    std::thread::Builder::new()
        .name("axle-project".to_owned())
        .spawn(run)
        .map_err(|error| Failure::new(Exit::Internal, format!("cannot start a thread: {error}")))
}

/// Tells of a thread's end, however it comes.
struct Announcement(Arc<tokio::sync::Notify>);

impl Drop for Announcement {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Tells who comes, goes and falls silent, from before the first connection on.
fn tell_presence(app: &Arc<App>, config: &Config, stop: CancellationToken) {
    let (app, silent_after) = (Arc::clone(app), config.presence.silent_after());
    app.presence.begin();
    // What could not be told before the end is told by the next start.
    tokio::spawn(async move {
        stop.run_until_cancelled(app.presence.run(&silent_after)).await;
    });
}

/// What must be done from time to time, whoever asks for it.
async fn keep_house(app: Arc<App>, limits: HoldLimits, stop: CancellationToken) {
    let mut tick = interval(HOUSEKEEPING_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_failing, mut is_forgetful, mut is_unswept) = (false, false, false);
    loop {
        tokio::select! {
            _now = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        match app.dispatch.expire().await {
            Ok(_count) => is_failing = false,
            Err(error) if !is_failing => {
                is_failing = true;
                error!(error = %error.chain(), "overdue commands cannot be ended, trying again");
            }
            Err(_again) => {}
        }
        app.devices.end_certificates();
        match app.consumers.sweep(limits).await {
            Ok(()) => is_unswept = false,
            Err(error) if !is_unswept => {
                is_unswept = true;
                warn!(error = %error.chain(), "consumers of the log cannot be looked at");
            }
            Err(_again) => {}
        }
        match app.ports.connections.flush_connections().await {
            Ok(()) => is_forgetful = false,
            Err(error) if !is_forgetful => {
                is_forgetful = true;
                warn!(error = %error.chain(), "connection events cannot be written, trying again");
            }
            Err(_again) => {}
        }
    }
}
