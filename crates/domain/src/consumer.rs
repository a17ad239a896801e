//! Programs that follow the log with a position of their own.

use crate::{ConsumerName, Offset, Timestamp};

/// A registered consumer of the log: retention does not go past its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: ConsumerName,
    /// The next record that it needs; all before are done with.
    pub position: Offset,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last committed a position, the same one or another.
    pub moved_at: Timestamp,
    /// When it was declared lost: retention goes on without it until it commits a position again.
    pub lost_at: Option<Timestamp>,
}

impl Consumer {
    /// Whether retention waits for it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.lost_at.is_none()
    }
}
