//! Defects that are planted into the ports of a simulation, never into axle: what a disk, a log, a
//! store or a state would do wrong that had them. The simulation must fail with each.

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    /// A sync of a file's content does nothing.
    SkipSync,
    /// A sync of a folder does nothing.
    SkipFolderSync,
    /// A failed sync is reported as a good one.
    SwallowSyncError,
    /// A start after a loss of power takes the last good record for a torn one.
    RecoverShort,
    /// The log says that a record is durable before it is.
    AcknowledgeEarly,
    /// The log serves a record that it should have found damaged.
    ServeDamage,
    /// The log forgets to write what the door has counted.
    LoseRefusal,
    /// The log deletes more than was released.
    ReleaseTooFar,
    /// The store keeps a row twice when it is written again.
    KeepDoublets,
    /// The state's position becomes durable without what belongs to it.
    TearCommit,
    /// The state says that messages wait for a session, and forgets some.
    ForgetQueued,
    /// The store says that its rows are on disk before they are.
    FlushEarly,
    /// The log says that an upload is durable before it is.
    AnswerUploadEarly,
    /// The state forgets which uploads were answered.
    ForgetReceipt,
    /// The state forgets that a packet id of a session stands for a message it has taken.
    ForgetReceived,
    /// The state forgets that a packet id was released.
    ForgetCompleted,
    /// The state forgets that a client has a message at QoS 2.
    ForgetReleased,
    /// The log forgets which session a record came from.
    ForgetOrigin,
    /// The state forgets a retained message.
    ForgetRetained,
    /// The state forgets that a retained message was taken away.
    KeepRetained,
    /// The state forgets the will of a session.
    ForgetWill,
    /// The state forgets that a will was sent, or taken away.
    KeepWill,
}

impl Planted {
    pub(super) const ALL: [Self; 22] = [
        Self::SkipSync,
        Self::SkipFolderSync,
        Self::SwallowSyncError,
        Self::RecoverShort,
        Self::AcknowledgeEarly,
        Self::ServeDamage,
        Self::LoseRefusal,
        Self::ReleaseTooFar,
        Self::KeepDoublets,
        Self::TearCommit,
        Self::ForgetQueued,
        Self::FlushEarly,
        Self::AnswerUploadEarly,
        Self::ForgetReceipt,
        Self::ForgetReceived,
        Self::ForgetCompleted,
        Self::ForgetReleased,
        Self::ForgetOrigin,
        Self::ForgetRetained,
        Self::KeepRetained,
        Self::ForgetWill,
        Self::KeepWill,
    ];
}
