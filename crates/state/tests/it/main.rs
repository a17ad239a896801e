//! Tests of the state: the contracts of its ports, its law against a model, recovery, the format.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics where it fails")]

mod audit;
mod client_sessions;
mod conformance;
mod connection_journal;
mod feed_model;
mod format;
mod model;
mod place;
mod recovery;
