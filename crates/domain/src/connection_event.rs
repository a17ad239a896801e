//! What became of a connection: let in, ended, or refused, each with its reason in words.
//!
//! The answer to "why can it not connect?". Events are no telemetry and no message: they stand
//! beside the log, bounded, and strangers cause them.

use std::net::IpAddr;
use std::time::Duration;

use crate::{DeviceId, Fingerprint, Timestamp};

/// Repeats of an event gather in one for so long after the first.
pub const GATHER_TIME: Duration = Duration::from_secs(60);

/// The protocol that a connection spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1.
    Mqtt3,
    /// MQTT 5.0.
    Mqtt5,
}

impl ProtocolVersion {
    /// The words in JSON and in the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt3 => "MQTT 3.1.1",
            Self::Mqtt5 => "MQTT 5.0",
        }
    }

    /// Reads the words.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Mqtt3, Self::Mqtt5].into_iter().find(|version| version.as_str() == text)
    }
}

/// How far a connection came that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalStage {
    /// Up to the end of the TLS handshake.
    Tls,
    /// The first packet could not be read, or did not come.
    Connect,
    /// Who it is may not come in, or not like this.
    Authorization,
}

impl RefusalStage {
    /// The word in JSON and in the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Connect => "connect",
            Self::Authorization => "authorization",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Tls, Self::Connect, Self::Authorization]
            .into_iter()
            .find(|stage| stage.as_str() == text)
    }
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionOutcome {
    /// It was let in.
    Connected,
    /// It ended after it had been let in.
    Disconnected {
        /// How long it was there; of gathered events the longest.
        lasted: Duration,
        /// Messages that it sent us.
        received: u64,
        /// Messages that we sent it.
        sent: u64,
    },
    /// It was not let in.
    Refused {
        /// How far it came.
        stage: RefusalStage,
    },
}

impl ConnectionOutcome {
    /// The word in JSON and in the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected { .. } => "disconnected",
            Self::Refused { .. } => "refused",
        }
    }

    /// How far it came, if it was refused.
    #[must_use]
    pub fn stage(self) -> Option<RefusalStage> {
        match self {
            Self::Refused { stage } => Some(stage),
            Self::Connected | Self::Disconnected { .. } => None,
        }
    }
}

/// One thing that happened to a connection, or the same thing several times within
/// [`GATHER_TIME`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionEvent {
    /// When it happened first.
    pub first_at: Timestamp,
    /// When it happened last.
    pub at: Timestamp,
    /// How often it happened, from 1.
    pub count: u64,
    /// The device that it is about, if one was named.
    pub device: Option<DeviceId>,
    /// Whether the device was proved by a certificate of the authority, rather than only named.
    pub is_proved: bool,
    /// The client certificate, if one was shown.
    pub fingerprint: Option<Fingerprint>,
    /// Where it came from.
    pub address: IpAddr,
    /// What it spoke, if it came so far.
    pub protocol: Option<ProtocolVersion>,
    /// The client id, at most [`crate::limit::CONNECTION_TEXT_BYTES_MAX`] bytes of it; empty if it
    /// came not so far.
    pub client_id: String,
    /// What happened.
    pub outcome: ConnectionOutcome,
    /// Why, as a stable code such as `tls.unknown_authority`; empty where it was let in.
    pub code: String,
    /// Why, in words; empty where it was let in.
    pub reason: String,
    /// What a person may do about it; empty where there is nothing to do.
    pub next_step: String,
}

/// What events have in common that gather in one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionCause {
    device: Option<DeviceId>,
    is_proved: bool,
    fingerprint: Option<Fingerprint>,
    address: IpAddr,
    client_id: String,
    outcome: &'static str,
    stage: Option<RefusalStage>,
    code: String,
}

impl ConnectionEvent {
    /// What it has in common with its repeats.
    #[must_use]
    pub fn cause(&self) -> ConnectionCause {
        ConnectionCause {
            device: self.device.clone(),
            is_proved: self.is_proved,
            fingerprint: self.fingerprint,
            address: self.address,
            client_id: self.client_id.clone(),
            outcome: self.outcome.as_str(),
            stage: self.outcome.stage(),
            code: self.code.clone(),
        }
    }

    /// Adds a repeat to this event. Says no, and changes nothing, where the other has another
    /// cause or came later than [`GATHER_TIME`] after the first.
    pub fn gather(&mut self, other: &Self) -> bool {
        let is_near = other.first_at < self.first_at.after(GATHER_TIME);
        if !is_near || self.cause() != other.cause() {
            return false;
        }
        self.first_at = self.first_at.min(other.first_at);
        self.count = self.count.saturating_add(other.count);
        if let (
            ConnectionOutcome::Disconnected { lasted, received, sent },
            ConnectionOutcome::Disconnected { lasted: longer, received: more, sent: further },
        ) = (&mut self.outcome, other.outcome)
        {
            *lasted = longer.max(*lasted);
            *received = received.saturating_add(more);
            *sent = sent.saturating_add(further);
        }
        if other.at >= self.at {
            self.at = other.at;
            self.protocol = other.protocol;
            self.reason.clone_from(&other.reason);
            self.next_step.clone_from(&other.next_step);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seconds: i64, outcome: ConnectionOutcome) -> ConnectionEvent {
        ConnectionEvent {
            first_at: Timestamp(seconds * 1_000_000),
            at: Timestamp(seconds * 1_000_000),
            count: 1,
            device: DeviceId::parse("b-1").ok(),
            is_proved: true,
            fingerprint: None,
            address: IpAddr::from([127, 0, 0, 1]),
            protocol: Some(ProtocolVersion::Mqtt5),
            client_id: "b-1".to_owned(),
            outcome,
            code: String::new(),
            reason: format!("at {seconds}"),
            next_step: String::new(),
        }
    }

    fn ended(lasted: u64, received: u64) -> ConnectionOutcome {
        ConnectionOutcome::Disconnected { lasted: Duration::from_secs(lasted), received, sent: 1 }
    }

    #[test]
    fn repeats_gather_for_a_minute_and_keep_the_newest_words() {
        let mut first = event(0, ended(5, 10));
        assert!(first.gather(&event(59, ended(3, 7))));
        assert!(!first.gather(&event(60, ended(1, 1))), "a minute after the first");
        let expected = ConnectionEvent {
            first_at: Timestamp(0),
            count: 2,
            outcome: ConnectionOutcome::Disconnected {
                lasted: Duration::from_secs(5),
                received: 17,
                sent: 2,
            },
            ..event(59, ConnectionOutcome::Connected)
        };
        assert_eq!(first, expected);
    }

    #[test]
    fn what_has_another_cause_does_not_gather() {
        let mut first = event(0, ended(5, 10));
        let others = [
            event(1, ConnectionOutcome::Connected),
            ConnectionEvent { client_id: "b-1/x".to_owned(), ..first.clone() },
            ConnectionEvent { device: None, ..first.clone() },
            ConnectionEvent { is_proved: false, ..first.clone() },
            ConnectionEvent { code: "keep_alive".to_owned(), ..first.clone() },
            ConnectionEvent { address: IpAddr::from([127, 0, 0, 2]), ..first.clone() },
            ConnectionEvent { fingerprint: Some(Fingerprint([1; 32])), ..first.clone() },
        ];
        for other in others {
            let before = first.clone();
            assert!(!first.gather(&other), "{other:?}");
            assert_eq!(first, before);
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for version in [ProtocolVersion::Mqtt3, ProtocolVersion::Mqtt5] {
            assert_eq!(ProtocolVersion::parse(version.as_str()), Some(version));
        }
        for stage in [RefusalStage::Tls, RefusalStage::Connect, RefusalStage::Authorization] {
            assert_eq!(RefusalStage::parse(stage.as_str()), Some(stage));
        }
        assert_eq!((ProtocolVersion::parse(""), RefusalStage::parse("")), (None, None));
    }
}
