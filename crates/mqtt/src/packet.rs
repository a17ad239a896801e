//! Packets as they stand on the wire: read in place, borrowed, and strictly; written into one
//! buffer. Nothing here allocates for what a client merely claims.
//!
//! Clause names as `[MQTT-3.3.1-4]` are those of the MQTT 5.0 standard.

pub(crate) mod connect;
#[cfg(test)]
mod differential;
pub(crate) mod disconnect;
pub(crate) mod forward;
pub(crate) mod header;
pub(crate) mod property;
pub(crate) mod publish;
pub(crate) mod reader;
pub(crate) mod refusal;
pub(crate) mod subscribe;
pub(crate) mod topic;
pub(crate) mod write;

use axle_domain::ProtocolVersion;

/// The versions that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 3.1.1.
    V3,
    /// 5.0.
    V5,
}

impl From<Version> for ProtocolVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::V3 => Self::Mqtt3,
            Version::V5 => Self::Mqtt5,
        }
    }
}
