//! The last words of a connection, and the event that it leaves.

use std::sync::Arc;

use axle_domain::ConnectionOutcome;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use crate::goodbye;
use crate::journal::{Caller, Why, lasted};
use crate::packet::write;
use crate::session::End;
use crate::trust::Shown;

impl<S: AsyncRead + AsyncWrite + Shown + Unpin + Send> Connection<S> {
    pub(super) async fn finish(mut self, end: End) {
        if let End::Refused(refusal) = end {
            if refusal.is_clients_fault() {
                self.session.shared.metrics.count_malformed(refusal.label);
            }
            let version = self.session.version();
            // [MQTT-3.14.2-3]
            let text = write::reason_for(self.session.link.packet_bytes_max, refusal.text);
            write::put_disconnect(&mut self.out, version, refusal.code, text);
            let rest = self.out.get(self.written..).unwrap_or_default();
            goodbye::say(&mut self.socket, rest).await;
        }
        let link = Arc::clone(&self.session.link);
        tracing::debug!(
            device.id = link.device.as_ref().map(tracing::field::display),
            connection = link.id.0,
            peer = %self.peer.address(),
            reason = end.reason(),
            "connection ended"
        );
        let why = self.record(end);
        self.session.leave(end, &why);
        if matches!(end, End::Refused(_)) {
            goodbye::linger(&mut self.socket).await;
        }
    }
}

impl<S> Connection<S> {
    /// Leaves an event of the end; returns why it came.
    fn record(&self, end: End) -> Why {
        let (link, ports) = (&self.session.link, &self.session.shared.app.ports);
        let now = ports.clock.now();
        let counts = self.session.counts();
        let outcome = ConnectionOutcome::Disconnected {
            lasted: lasted(link.connected_at, now),
            received: counts.received,
            sent: counts.sent,
        };
        let caller = Caller::of_link(link, self.peer.address());
        let mut why = end.why();
        if let Some(slowness) = self.session.slowness() {
            why.reason.push_str(&slowness);
        }
        ports.connections.record(caller.event(now, outcome, why.clone()));
        why
    }
}
