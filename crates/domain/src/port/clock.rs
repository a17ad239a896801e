//! Where time comes from.

use crate::Timestamp;

/// The server's clock.
///
/// 1. `now` may jump, as any computer's clock; nothing may rely on it being monotonic.
/// 2. `now` never blocks and is cheap enough to be asked once per message.
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp;
}
