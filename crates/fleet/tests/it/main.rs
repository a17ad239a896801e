//! The fleet against a tiny server in this process, honest or not.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "a test panics where it fails"
)]

mod demo;
mod fake;
mod ledger;
mod load;
