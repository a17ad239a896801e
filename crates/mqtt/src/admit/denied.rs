//! Why a client is not let in: what it is told, and what stands among the connection events.

use axle_domain::RefusalStage;

use crate::advice;
use crate::first_packet::explain;
use crate::journal::{Why, cut};
use crate::packet::Version;
use crate::packet::connect::ConnectRefused;
use crate::packet::refusal::Refusal;

/// Why a client that can be understood is not let in.
pub(super) struct Denied {
    pub(super) refusal: Refusal,
    pub(super) why: Why,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, why: refusal.into() }
    }
}

impl Denied {
    pub(super) fn by_registry(error: axle_domain::Error) -> Self {
        let next = advice::registry_step(error.code);
        let why = Why::new(error.code, cut(&error.message), next);
        Self { refusal: Refusal::NOT_AUTHORIZED, why }
    }

    pub(super) fn by_token(error: axle_domain::Error) -> Self {
        Self { refusal: Refusal::CREDENTIALS, ..Self::by_registry(error) }
    }

    pub(super) fn unmandated(why: &Why) -> Self {
        Self { refusal: Refusal::NOT_AUTHORIZED, why: why.clone() }
    }

    pub(super) fn ambiguous() -> Self {
        let code = "certificate.ambiguous";
        let reason = "the certificate cannot be read, or names two devices";
        let why = Why::new(code, reason, advice::registry_step(code));
        Self { refusal: Refusal::NOT_AUTHORIZED, why }
    }
}

/// A client that is turned away, and the version to answer in, where there is one.
pub(super) struct Turned {
    pub(super) refusal: Refusal,
    pub(super) answer_in: Option<Version>,
    /// Largest packet that the client takes, as far as it was read.
    pub(super) packet_bytes_max: usize,
    pub(super) stage: RefusalStage,
    pub(super) why: Why,
}

impl Turned {
    pub(super) fn unread(refused: ConnectRefused, bytes: &[u8]) -> Self {
        let ConnectRefused { refusal, answer_in } = refused;
        let (stage, why) = (RefusalStage::Connect, explain(refusal, bytes));
        Self { refusal, answer_in, packet_bytes_max: usize::MAX, stage, why }
    }

    pub(super) fn denied(denied: Denied, version: Version, packet_bytes_max: usize) -> Self {
        let Denied { refusal, why } = denied;
        let stage = RefusalStage::Authorization;
        Self { refusal, answer_in: Some(version), packet_bytes_max, stage, why }
    }
}
