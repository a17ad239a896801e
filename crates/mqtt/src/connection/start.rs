//! What a connection begins with.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::moment::{Moment, Second};

/// How long silence may last, and how long the connection may.
pub(crate) struct Times {
    /// One and a half times the keep alive, in milliseconds.
    silence_max: Option<NonZeroU32>,
    /// When the client certificate ends.
    ends_at: Option<Second>,
}

impl Times {
    pub(crate) fn new(silence_max: Option<NonZeroU32>, ends_at: Option<Instant>) -> Self {
        Self { silence_max, ends_at: ends_at.map(Second::from) }
    }

    /// When the client certificate ends, up to a second later.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.ends_at.map(Second::instant)
    }

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

/// Where a client comes from, without what only a socket needs of its address.
pub(super) struct Peer {
    ip: IpAddr,
    port: u16,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self { ip: address.ip(), port: address.port() }
    }
}

impl Peer {
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}
