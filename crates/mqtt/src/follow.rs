//! Follows the files of the listener for devices: new handshakes get what they say now, and the
//! connections that are open are asked again whether they may be.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::session::Shared;
use crate::tls::{DeviceTls, Looked};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks between two thoughts of renewing the server certificate: an hour.
const RENEW_EVERY: u32 = 3600;
/// The look after which warnings are logged: once an hour, and soon after a start.
const WARN_AT: u32 = 5;
/// Connections that are asked at one time, and the pause after that: each verifies a chain.
const QUESTIONS_AT_ONCE: usize = 200;
const QUESTIONS_PAUSE: Duration = Duration::from_millis(5);

/// Follows the files until the stop.
pub(crate) async fn follow(shared: Arc<Shared>, stop: CancellationToken) {
    let Some(tls) = shared.tls.clone() else { return };
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for count in (1..=RENEW_EVERY).cycle() {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if count == RENEW_EVERY {
            renew(&tls).await;
        }
        if count == WARN_AT {
            let ports = &shared.app.ports;
            let standing = ports.authority.standing();
            for warning in standing.warnings(ports.clock.now()) {
                warn!(warning, "mind the certificates");
            }
        }
        let looking = Arc::clone(&tls);
        match tokio::task::spawn_blocking(move || looking.look()).await {
            Ok(Looked::Same) => {}
            Ok(Looked::New { is_trust_new }) => {
                shared.metrics.count_reload("ok");
                info!(is_trust_new, "certificate files were read anew");
                if is_trust_new {
                    question(&shared).await;
                }
            }
            Ok(Looked::Broken(error)) => {
                shared.metrics.count_reload("failed");
                error!(
                    error = %error.chain(),
                    "changed certificate files cannot be used; those from before hold"
                );
            }
            Err(ended) => warn!(error = %ended, "certificate files could not be looked at"),
        }
    }
}

async fn renew(tls: &Arc<DeviceTls>) {
    let renewing = Arc::clone(tls);
    match tokio::task::spawn_blocking(move || renewing.renew()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            error!(error = %error.chain(), "the server certificate cannot be renewed");
        }
        Err(ended) => warn!(error = %ended, "the server certificate was not looked at"),
    }
}

/// Asks every connection with a certificate, some at a time.
async fn question(shared: &Shared) {
    for some in shared.sessions.certified().chunks(QUESTIONS_AT_ONCE) {
        some.iter().for_each(|link| link.question());
        tokio::time::sleep(QUESTIONS_PAUSE).await;
    }
}
