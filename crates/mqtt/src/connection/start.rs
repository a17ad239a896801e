//! What a connection begins with.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::moment::Moment;

/// How long silence may last, and how long the connection may.
pub(crate) struct Times {
    /// One and a half times the keep alive, in milliseconds.
    pub(crate) silence_max: Option<NonZeroU32>,
    /// When the client certificate ends.
    pub(crate) ends_at: Option<Instant>,
}

impl Times {
    /// When the client will have been silent for too long.
    pub(super) fn silence_ends_at(&self, heard_at: Moment, now: Instant) -> Option<Instant> {
        let silence = Duration::from_millis(u64::from(self.silence_max?.get()));
        Some(now + silence.saturating_sub(heard_at.elapsed(now)))
    }
}

/// What a connection begins with.
pub(crate) struct Start {
    pub(crate) times: Times,
    pub(crate) peer: SocketAddr,
    /// What came after the CONNECT.
    pub(crate) held: Vec<u8>,
    /// The CONNACK.
    pub(crate) out: Vec<u8>,
    /// Told when the session is stored; the CONNACK waits for it.
    pub(crate) stored: Option<oneshot::Receiver<()>>,
}
