//! What an operator may choose.

use std::time::Duration;

/// Settings of the store; data alone.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Rows in memory, over all streams, at which a flush begins.
    pub flush_rows: usize,
    /// Longest time that rows stay in memory alone.
    pub flush_interval: Duration,
    /// Rows in memory at which `write` waits; above `flush_rows`, so that writing goes on while a
    /// flush runs.
    pub memory_rows_max: usize,
    /// Bytes of rows in memory at which a flush begins and, at twice as many, `write` waits.
    pub memory_bytes: usize,
    /// Files of one size in one day that make a merge worth while.
    pub merge_files: usize,
    /// Most rows of a file that takes part in a merge.
    pub merge_rows_max: u64,
    /// Threads that answer questions.
    pub parallelism: usize,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            flush_rows: 2_000_000,
            flush_interval: Duration::from_secs(60),
            memory_rows_max: 6_000_000,
            memory_bytes: 512 * 1024 * 1024,
            merge_files: 8,
            merge_rows_max: 64_000_000,
            parallelism: std::thread::available_parallelism().map_or(2, usize::from).min(8),
        }
    }
}
