//! What one may choose about the embedded log.

use std::time::Duration;

/// Settings of [`crate::EmbeddedLog`].
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Size at which a segment is full. A record that is larger gets a segment of its own.
    pub segment_bytes: u64,
    /// How long a commit waits for company. Zero is right for most: what arrives during a sync
    /// forms the next commit anyway.
    pub linger: Duration,
    /// What may be deleted of that which nobody needs any more.
    pub retention: Retention,
    /// Memory for the newest commits, from which followers read.
    pub tail_bytes: usize,
    /// Gives each new segment its identity, from the offset of its first record. Random, except
    /// where a test wants equal files.
    pub segment_id: fn(u64) -> u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 128 * 1024 * 1024,
            linger: Duration::ZERO,
            retention: Retention::default(),
            tail_bytes: 32 * 1024 * 1024,
            segment_id: random_id,
        }
    }
}

/// A released segment is deleted when it exceeds either bound.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Age of a segment's newest record, measured against the newest record of the log, so that a
    /// jump of the clock while nothing arrives deletes nothing.
    pub age_max: Duration,
    /// Bytes of the whole log.
    pub bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age_max: Duration::from_secs(24 * 3600), bytes_max: 8 * 1024 * 1024 * 1024 }
    }
}

/// A number that no other segment has, as far as chance allows.
fn random_id(_base: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Zero means "none" in a header.
    RandomState::new().hash_one(std::process::id()).max(1)
}
