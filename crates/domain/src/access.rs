//! What someone wants to do: the one vocabulary of rights for tokens and people.

use crate::{DeviceId, PlantName};

/// What someone wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access<'a> {
    /// Upload for a device.
    Upload(&'a DeviceId),
    /// Read a device.
    Read(&'a DeviceId),
    /// Command a device.
    Command(&'a DeviceId),
    /// Feed master data as a plant, and see what waits of it.
    Feed(&'a PlantName),
    /// Read every device, and what concerns the instance as a whole.
    ReadAll,
    /// Read every message of the log, and have a position in it.
    ReadLog,
    /// Publish to the log on any topic, for any device.
    PublishLog,
    /// Ask in SQL; whose rows the answer holds is another question.
    Query,
    /// Change what is said of devices, mend what was set aside, decide on master data.
    Operate,
    /// Say who may do what: people and tokens.
    Administer,
}

impl<'a> Access<'a> {
    /// The device that it is about; `None` for the instance as a whole.
    #[must_use]
    pub fn device(self) -> Option<&'a DeviceId> {
        match self {
            Self::Upload(device) | Self::Read(device) | Self::Command(device) => Some(device),
            Self::Feed(_)
            | Self::ReadAll
            | Self::ReadLog
            | Self::PublishLog
            | Self::Query
            | Self::Operate
            | Self::Administer => None,
        }
    }
}
