//! From what the gateway sees of a connection to the event that a person reads.

use std::net::SocketAddr;
use std::time::Duration;

use axle_domain::{
    ConnectionEvent, ConnectionOutcome, DeviceId, Fingerprint, ProtocolVersion, RefusalStage,
    Timestamp, limit,
};

use crate::advice;
use crate::link::Link;
use crate::packet::Version;
use crate::packet::refusal::Refusal;

/// A client as far as it is known.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) peer: SocketAddr,
    pub(crate) device: Option<DeviceId>,
    /// Whether the device was proved.
    pub(crate) is_proved: bool,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) protocol: Option<Version>,
    pub(crate) client_id: String,
}

/// Why something happened, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) next_step: String,
}

impl Why {
    pub(crate) fn new(
        code: impl Into<String>,
        reason: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self { code: code.into(), reason: reason.into(), next_step: next_step.into() }
    }

    /// There is nothing to explain.
    pub(crate) fn none() -> Self {
        Self::new("", "", "")
    }
}

impl From<Refusal> for Why {
    fn from(refusal: Refusal) -> Self {
        Self::new(format!("mqtt.{}", refusal.label), refusal.text, advice::next_step(refusal))
    }
}

impl Caller {
    /// Nobody we know.
    pub(crate) fn stranger(peer: SocketAddr) -> Self {
        Self {
            peer,
            device: None,
            is_proved: false,
            fingerprint: None,
            protocol: None,
            client_id: String::new(),
        }
    }

    /// Someone who has been let in.
    pub(crate) fn of_link(link: &Link, peer: SocketAddr) -> Self {
        Self {
            peer,
            device: link.device.clone(),
            is_proved: link.device.is_some(),
            fingerprint: link.fingerprint,
            protocol: Some(link.version),
            client_id: cut(&link.client_id),
        }
    }

    /// It was refused.
    pub(crate) fn refused(self, at: Timestamp, stage: RefusalStage, why: Why) -> ConnectionEvent {
        self.event(at, ConnectionOutcome::Refused { stage }, why)
    }

    /// It was let in.
    pub(crate) fn connected(self, at: Timestamp) -> ConnectionEvent {
        self.event(at, ConnectionOutcome::Connected, Why::none())
    }

    /// What happened to it.
    pub(crate) fn event(
        self,
        at: Timestamp,
        outcome: ConnectionOutcome,
        why: Why,
    ) -> ConnectionEvent {
        ConnectionEvent {
            first_at: at,
            at,
            count: 1,
            device: self.device,
            is_proved: self.is_proved,
            fingerprint: self.fingerprint,
            address: self.peer.ip().to_canonical(),
            protocol: self.protocol.map(ProtocolVersion::from),
            client_id: self.client_id,
            outcome,
            code: why.code,
            reason: why.reason,
            next_step: why.next_step,
        }
    }
}

/// How long a connection was there; a clock that was set back makes it 0.
pub(crate) fn lasted(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(to.micros_since(from)).unwrap_or(0))
}

/// The beginning of a text from outside, without what would disturb whoever reads it.
pub(crate) fn cut(text: &str) -> String {
    let mut kept = String::new();
    for c in text.chars().flat_map(char::escape_debug) {
        if kept.len() + c.len_utf8() > limit::CONNECTION_TEXT_BYTES_MAX {
            kept.push('…');
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_is_cut_and_made_harmless() {
        assert_eq!(cut("b-1/app"), "b-1/app");
        assert_eq!(cut("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        let long = cut(&"ä".repeat(500));
        assert_eq!(long.chars().count(), limit::CONNECTION_TEXT_BYTES_MAX / 2 + 1);
        assert!(long.ends_with('…'));
    }
}
