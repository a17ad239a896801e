//! MQTT sessions at rest, the queues of those that are away, and retained messages.

use async_trait::async_trait;

use crate::{ClientSession, Error, Offset, QueuedMessage, ReceivedPublish, RetainedMessage};

/// What the store knows when the gateway starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSessions {
    /// One past the last record whose rows are stored.
    pub through: Offset,
    /// Every session and its queue.
    pub sessions: Vec<(ClientSession, QueueFigures)>,
    /// Publishes at QoS 2 before `through` that their sessions have not released.
    pub received: Vec<ReceivedPublish>,
    /// What is retained as of `through`, by topic.
    pub retained: Vec<RetainedMessage>,
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
    /// Publishes at QoS 2 that sessions have not released.
    pub received: Vec<ReceivedPublish>,
    /// Those that they have released.
    pub completed: Vec<ReceivedPublish>,
    /// Retained messages in their order; one without payload takes its topic's away.
    pub retained: Vec<RetainedMessage>,
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

/// Where MQTT sessions are kept that outlive their connection, and retained messages. A projection
/// of the log with a position of its own, and what clients asked for beside it.
///
/// 1. *One transaction.* `commit` makes all of it durable, or nothing; ended sessions go first,
///    then sessions are put, then queues and unreleased publishes grow, then they shrink.
/// 2. *No loose rows.* A row of a session that is not there is passed over; what a session had
///    ends with it.
/// 3. *Once.* A row of a known session and sequence changes nothing. A packet id stands for the
///    newest of its messages, and a completed publish takes away itself alone.
/// 4. *Order.* `list_queued` returns rows by their sequence.
/// 5. *One a topic.* The last retained message of a topic counts; an empty one leaves none.
#[async_trait]
pub trait ClientSessionStore: Send + Sync {
    /// All sessions.
    async fn load_client_sessions(&self) -> Result<StoredSessions, Error>;

    /// The oldest record that some queue still needs, or that no commit has covered yet.
    async fn oldest_needed(&self) -> Result<Offset, Error>;

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
