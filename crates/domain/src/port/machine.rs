//! The machine that the instance runs on.

use std::time::Duration;

use super::IdentityStanding;
use crate::Timestamp;

/// What one part of the instance takes of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFigures {
    /// The part: `log`, `store` or `state`.
    pub part: &'static str,
    /// Where it is.
    pub path: String,
    /// Which file system: parts of one share their free room.
    pub file_system: u64,
    /// Bytes that are free for us.
    pub free_bytes: u64,
    /// Bytes of the file system.
    pub total_bytes: u64,
}

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// Memory that is resident.
    pub memory_bytes: u64,
    /// Memory of the machine.
    pub machine_memory_bytes: u64,
    /// Processor time since the start.
    pub cpu: Duration,
    /// Processors of the machine.
    pub processors: u32,
    /// Threads.
    pub threads: u64,
    /// Open files and sockets.
    pub open_files: u64,
    /// How many of them there may be.
    pub open_files_max: u64,
}

/// What the instance knows of itself and its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineFigures {
    /// The program's version.
    pub version: String,
    /// The operating system's name and version.
    pub system: String,
    /// When the instance started.
    pub started_at: Timestamp,
    /// Bytes of the state's files.
    pub state_bytes: u64,
    /// Room, by part.
    pub disks: Vec<DiskFigures>,
    /// What the process uses.
    pub process: ProcessFigures,
    /// Name and address of each listener that is open.
    pub listeners: Vec<(String, String)>,
    /// What the instance proves itself by and believes others by.
    pub identity: IdentityStanding,
}

/// Tells about the machine.
///
/// 1. `figures` may block for some milliseconds: ask it on a thread that may.
/// 2. What cannot be found out is 0 or missing, never an error.
pub trait Machine: Send + Sync {
    /// What is known now.
    fn figures(&self) -> MachineFigures;
}
