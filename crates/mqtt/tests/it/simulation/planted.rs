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
}

impl Planted {
    pub(super) const ALL: [Self; 12] = [
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
    ];
}
