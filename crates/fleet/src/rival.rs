//! A second connection with the client id of another device, as a copied configuration makes it:
//! the server lets the newer one win, and the first one comes back.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::connect::Dialer;
use crate::packet::Version;
use crate::random::Key;

/// A rival.
pub(crate) struct Rival {
    /// The client id that both use.
    pub(crate) client_id: String,
    /// How it connects: with the certificate of the device.
    pub(crate) dialer: Dialer,
    /// What its pauses derive from.
    pub(crate) key: Key,
    /// The mean pause between two attempts.
    pub(crate) pause: Duration,
    /// How long it stays when nobody throws it out.
    pub(crate) stay: Duration,
}

impl Rival {
    /// Connects again and again, and says nothing.
    pub(crate) async fn run(self, stop: CancellationToken) {
        for attempt in 0.. {
            let pause = self.pause.mul_f64(0.5 + self.key.share(attempt));
            if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
                return;
            }
            let connected = tokio::select! {
                () = stop.cancelled() => return,
                connected = Client::connect(&self.dialer, Version::V5, &self.client_id) => connected,
            };
            let Ok(mut client) = connected else { continue };
            let heard = async { while client.next().await.is_ok() {} };
            tokio::select! {
                () = stop.cancelled() => return,
                // Whether it was thrown out or has had enough: the device may have its id back.
                _ended = tokio::time::timeout(self.stay, heard) => {}
            }
            client.close().await;
        }
    }
}
