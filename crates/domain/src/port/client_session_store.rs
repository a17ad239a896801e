//! MQTT sessions at rest, and the queues of those that are away.

use async_trait::async_trait;

use crate::{ClientSession, Error, Offset, QueuedMessage};

/// What the store knows when the gateway starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSessions {
    /// One past the last record whose rows are stored.
    pub through: Offset,
    /// Every session and its queue.
    pub sessions: Vec<(ClientSession, QueueFigures)>,
}

/// How long a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFigures {
    /// Messages.
    pub rows: u64,
    /// What they count for.
    pub bytes: u64,
    /// The sequence of the newest one; of an empty queue the `sent_through` of its session.
    pub last_sequence: u64,
}

/// What is to change, in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionChanges {
    /// One past the last record that was routed; `None` leaves the position.
    pub through: Option<Offset>,
    /// Sessions that end: they go first, with all they have.
    pub ended: Vec<u64>,
    /// Sessions as they are now, subscriptions included.
    pub put: Vec<ClientSession>,
    /// Messages that begin to wait.
    pub queued: Vec<QueuedMessage>,
    /// Session and sequence of messages that the client has (QoS 2).
    pub released: Vec<(u64, u64)>,
    /// Session and sequence of messages that are done with.
    pub settled: Vec<(u64, u64)>,
    /// Queues that grow too long: the oldest go until so many rows and so many bytes are gone.
    pub excess: Vec<(u64, QueueFigures)>,
}

impl SessionChanges {
    /// Whether nothing is to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a commit took out of the queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionsCommitted {
    /// Rows that were settled, by session; `last_sequence` says nothing.
    pub settled: Vec<(u64, QueueFigures)>,
    /// Rows that gave way, by session.
    pub dropped: Vec<(u64, QueueFigures)>,
    /// The oldest record that some queue still needs.
    pub oldest: Option<Offset>,
}

/// Where MQTT sessions are kept that outlive their connection. A projection of the log with a
/// position of its own, and what clients asked for beside it.
///
/// 1. *One transaction.* `commit` makes all of it durable, or nothing; ended sessions go first,
///    then sessions are put, then queues grow, then they shrink.
/// 2. *No loose rows.* A row of a session that is not there is passed over; what a session had
///    ends with it.
/// 3. *Once.* A row of a known session and sequence changes nothing.
/// 4. *Order.* `list_queued` returns rows by their sequence.
#[async_trait]
pub trait ClientSessionStore: Send + Sync {
    /// All sessions.
    async fn load_client_sessions(&self) -> Result<StoredSessions, Error>;

    /// The oldest record that some queue still needs; `None` where no session is kept.
    async fn oldest_needed(&self) -> Result<Option<Offset>, Error>;

    /// Applies changes.
    async fn commit_client_sessions(
        &self,
        changes: SessionChanges,
    ) -> Result<SessionsCommitted, Error>;

    /// At most so many rows of a session's queue behind a sequence.
    async fn list_queued(
        &self,
        session: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, Error>;
}
