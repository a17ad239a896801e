//! Clients within the process: they speak MQTT as all others do, over bytes in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admit::Visitor;
use crate::session::Shared;
use crate::settings::PlainAccess;
use crate::strangers::{Room, Strangers};
use crate::turns::Turns;

/// Bytes that a connection holds in each direction.
const PIPE_BYTES: usize = 64 * 1024;
/// The address under which such a client is known.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Where clients within the process come in. They are trusted as those of the plain listener are,
/// and have their places apart from strangers on the network.
#[derive(Clone)]
pub struct Inlet {
    shared: Arc<Shared>,
    strangers: Arc<Strangers>,
    turns: Arc<Turns>,
    access: PlainAccess,
    stop: CancellationToken,
}

impl Inlet {
    pub(crate) fn new(shared: Arc<Shared>, access: PlainAccess, stop: CancellationToken) -> Self {
        let most = shared.settings.unauthenticated_max;
        let failures_per_minute = shared.settings.failures_per_address_per_minute;
        let strangers = Strangers::new(Room { most, most_of_address: most, failures_per_minute });
        Self { shared, strangers, turns: Turns::new(1), access, stop }
    }

    /// Connects; the gateway serves the other end in a task of its own. `None` while there is no
    /// place for one more that has not said who it is.
    #[must_use]
    pub fn connect(&self) -> Option<DuplexStream> {
        let place = self.strangers.enter(PEER.ip(), true, Instant::now()).ok()?;
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let (shared, turns) = (Arc::clone(&self.shared), Arc::clone(&self.turns));
        let lost = place.lost();
        let visitor = Visitor { shared, turns, peer: PEER, place, believed: None };
        let (access, stop) = (self.access, self.stop.clone());
        self.shared.tracker.spawn(async move {
            tokio::select! {
                _admitted = stop.run_until_cancelled(visitor.admit_plain(ours, access)) => {}
                () = lost => {}
            }
        });
        Some(theirs)
    }
}
