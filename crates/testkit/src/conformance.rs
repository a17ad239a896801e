//! One suite per port, one function per clause. Each panics where the contract is broken, so that
//! a test of an implementation is one line per clause.
//!
//! ```ignore
//! #[tokio::test]
//! async fn offsets_are_dense_and_in_order() {
//!     conformance::event_log::offsets_are_dense_and_in_order(&MemoryLog::new()).await;
//! }
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a suite panics where the contract is broken"
)]

pub mod event_log;
pub mod state;
pub mod telemetry_store;
