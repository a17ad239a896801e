//! The way to the server: connects, again and again with growing pauses, and says once what is
//! wrong when it cannot.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axle_client::client::Client;
use axle_client::connect::{self, Dialer};
use axle_client::packet::Version;
use axle_domain::Error;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::agent::Shared;
use crate::failure::explain;
use crate::session::{Ended, Session};
use crate::settings::Settings;

/// A connection that held so long was a good one: the next pause is short again.
const GOOD_AFTER: Duration = Duration::from_secs(60);

/// The link, connected or not.
pub(crate) struct Link {
    shared: Arc<Shared>,
    failures: u32,
    told: String,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, failures: 0, told: String::new() }
    }

    /// Keeps the link until `drain`; then sends what is there and says goodbye.
    pub(crate) async fn run(mut self, drain: CancellationToken) -> Result<(), Error> {
        loop {
            let connected = tokio::select! {
                // An answer of the last moment is still worth a connection that is being made.
                connected = self.connect() => connected,
                () = drain.cancelled() => return Ok(()),
            };
            match connected {
                Ok(client) => {
                    info!(server = self.shared.settings.server, "connected");
                    self.told.clear();
                    let begun = Instant::now();
                    let mut session = Session::new(&self.shared);
                    let ended = Box::pin(session.serve(client, &drain)).await;
                    if session.has_delivered() || begun.elapsed() > GOOD_AFTER {
                        self.failures = 0;
                    }
                    match ended {
                        Ended::Drained => return Ok(()),
                        Ended::Failed(error) => return Err(error),
                        Ended::Lost(error) => self.tell(&error),
                    }
                }
                Err(error) => self.tell(&error),
            }
            let pause = self.pause();
            debug!(pause_ms = pause.as_millis(), "connecting again after a pause");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = drain.cancelled() => return Ok(()),
            }
        }
    }

    async fn connect(&self) -> io::Result<Client> {
        // Read each time: a certificate that was renewed holds from the next connection on.
        let dialer = dialer(&self.shared.settings).map_err(io::Error::other)?;
        let device = self.shared.settings.device.as_str();
        Box::pin(Client::connect(&dialer, Version::V5, device)).await
    }

    /// Says what is wrong; the same only once, since it may last for weeks.
    fn tell(&mut self, error: &io::Error) {
        let words = explain(error, &self.shared.settings, self.shared.clock.read());
        if words == self.told {
            debug!("{words}");
        } else {
            warn!("not connected: {words}");
        }
        self.told = words;
    }

    /// Twice as long each time, and anywhere between half of that and all of it: a fleet that lost
    /// its network together must not come back together.
    fn pause(&mut self) -> Duration {
        let (first, most) = self.shared.settings.retry_pause;
        let whole = first.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures = self.failures.saturating_add(1);
        let mut random = [0_u8; 1];
        let share = match getrandom::fill(&mut random) {
            Ok(()) => f64::from(random[0]) / 255.0,
            Err(_none) => 1.0,
        };
        whole.mul_f64(0.5 + share / 2.0)
    }
}

/// Reads the files of the credential.
pub(crate) fn dialer(settings: &Settings) -> Result<Dialer, Error> {
    let Some(credential) = &settings.credential else {
        return Ok(Dialer::plain(&settings.server));
    };
    let unreadable = |path: &Path, error: &dyn std::fmt::Display| {
        Error::invalid("agent.credential", format!("{} cannot be used: {error}", path.display()))
    };
    let path = &credential.certificate;
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, &error))?;
    if chain.is_empty() {
        return Err(unreadable(path, &"there is no certificate in it"));
    }
    let path = &credential.key;
    let key = PrivatePkcs8KeyDer::from_pem_file(path).map_err(|error| unreadable(path, &error))?;
    let path = &credential.ca;
    let pem = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let roots = connect::roots(&pem)?;
    if roots.is_empty() {
        return Err(unreadable(path, &"there is no certificate in it"));
    }
    Dialer::tls(&settings.server, &roots, &chain, key.secret_pkcs8_der())
}
