//! Commands at rest.

use async_trait::async_trait;

use crate::{Command, CommandId, DeviceId, Error, Reply, Timestamp, Transition};

/// Where commands wait and where their history stays.
///
/// 1. A method that changes something returns when the change is durable.
/// 2. `advance` reads, asks [`Command::advance`] and writes in one transaction, so that two steps
///    at once never both win.
/// 3. A device's commands are listed in the order in which they were created.
/// 4. `answer` takes each reply through [`Command::answer`], all in one transaction. One for an
///    unknown command changes nothing, nor does one that was taken before: the projection brings
///    them again.
#[async_trait]
pub trait CommandStore: Send + Sync {
    /// Keeps a new command.
    ///
    /// # Errors
    /// `Conflict` when the id is taken; `Busy` when the device has
    /// [`crate::limit::COMMANDS_OPEN_PER_DEVICE_MAX`] open ones.
    async fn create_command(&self, command: Command) -> Result<(), Error>;

    /// The command of that id.
    async fn find_command(&self, id: &CommandId) -> Result<Option<Command>, Error>;

    /// Takes a step. Returns the command as it is then, and whether the step was allowed.
    ///
    /// # Errors
    /// `NotFound`.
    async fn advance(&self, id: &CommandId, step: Transition) -> Result<(Command, bool), Error>;

    /// Takes devices' answers.
    async fn answer(&self, replies: Vec<Reply>) -> Result<(), Error>;

    /// The commands of a device that are not finished.
    async fn open_commands(&self, device: &DeviceId) -> Result<Vec<Command>, Error>;

    /// The newest commands of a device, newest first.
    async fn list_commands(&self, device: &DeviceId, limit: usize) -> Result<Vec<Command>, Error>;

    /// Open commands whose deadline is before `now`, at most `limit`.
    async fn overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<CommandId>, Error>;
}
