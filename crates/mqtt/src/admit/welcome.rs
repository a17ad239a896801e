//! What a client that is let in is told.

use std::num::NonZeroU32;

use axle_domain::limit;

use crate::link::Link;
use crate::packet::Version;
use crate::packet::connect::Connect;
use crate::packet::refusal::Refusal;
use crate::packet::write::{self, Welcome};

/// CONNACK, where the client takes it [MQTT-3.1.2-24].
pub(super) fn welcomed(
    version: Version,
    welcome: &Welcome<'_>,
    link: &Link,
) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    write::put_connack_welcome(&mut out, version, welcome);
    if out.len() > link.packet_bytes_max {
        return Err(Refusal::ANSWER_LARGE);
    }
    Ok(out)
}

/// How long the client may be silent, and what to tell it where that is not what it asked for.
/// 3.1.1 cannot be told, so it has what it asked for.
pub(super) fn keep_alive(connect: &Connect<'_>) -> (Option<NonZeroU32>, Option<u16>) {
    let most = u16::try_from(limit::KEEP_ALIVE_MAX.as_secs()).unwrap_or(u16::MAX);
    let (seconds, told) = match (connect.version, connect.keep_alive) {
        (Version::V5, 0) => (most, Some(most)),
        (Version::V5, asked) if asked > most => (most, Some(most)),
        (_, asked) => (asked, None),
    };
    (NonZeroU32::new(1500 * u32::from(seconds)), told)
}
