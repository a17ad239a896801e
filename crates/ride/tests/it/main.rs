//! Reading rides: what is found in good ones, where bad ones break, that nothing panics.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test panics where it fails"
)]

mod build;
mod damage;
mod fit;
mod gpx;
mod mutation;
mod real;
