//! A second device with the same client id, as a copied configuration makes it: the server lets
//! the newer connection win, and the first one comes back.

use std::time::Duration;

use axle_domain::DeviceId;
use tokio_util::sync::CancellationToken;

use super::life::{Dice, Pace};
use crate::client::Client;
use crate::connect::Dialer;
use crate::packet::Version;
use crate::random::Key;

/// Seconds from one attempt to the next.
const PAUSE_S: (f64, f64) = (45.0, 120.0);
/// Seconds that it stays when nobody minds.
const STAY: Duration = Duration::from_secs(8);

/// Connects as the device again and again, and says nothing.
pub(super) async fn run(
    device: DeviceId,
    dialer: Dialer,
    key: Key,
    pace: Pace,
    stop: CancellationToken,
) {
    let mut dice = Dice::new(key.named("rival"));
    loop {
        let pause = pace.of(Duration::from_secs_f64(dice.between(PAUSE_S.0, PAUSE_S.1)));
        if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
            return;
        }
        let Ok(mut client) = Client::connect(&dialer, Version::V5, device.as_str()).await else {
            continue;
        };
        let heard = async { while client.next().await.is_ok() {} };
        tokio::select! {
            () = stop.cancelled() => return,
            // Whether it was thrown out or has had enough: the device may have its id back.
            _ended = tokio::time::timeout(STAY, heard) => {}
        }
        client.close().await;
    }
}
