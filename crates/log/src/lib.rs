//! The event log behind [`axle_domain::port::EventLog`]: in files of this machine
//! ([`EmbeddedLog`]), and in memory for tests ([`MemoryLog`]).
//!
//! What this crate is not: it does not know what a message means, it is not distributed, and it
//! indexes nothing but offsets.
//!
//! ```text
//!  append ─▶ pending ─▶ writer (one thread) ─▶ segment files ─▶ read
//!             buffer     write, one sync,          │
//!                        wake who waited           └─ tail: the newest commits in memory
//! ```
//!
//! Reading order: `record` and `segment` (the format, also in `docs/formats/log-segment.md`),
//! `embedded`, `pending`, `writer`, `wait`; then `survey` and `recover` (what a start does), `scan`
//! and `read`; `outside` is for programs that look at the files beside or without a server.

pub mod disk;
mod embedded;
mod memory;
mod outside;
mod pending;
mod read;
mod record;
mod recover;
mod scan;
mod segment;
mod settings;
mod shared;
mod survey;
mod tail;
mod wait;
mod writer;

pub use embedded::EmbeddedLog;
pub use memory::MemoryLog;
pub use outside::{Entries, Entry, LogFolder, SegmentInfo};
pub use recover::Recovery;
pub use segment::DamagedRange;
pub use settings::{LogSettings, Retention};
pub use survey::{VerifyReport, verify};
