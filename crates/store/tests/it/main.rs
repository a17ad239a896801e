//! The store as its users see it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics where a promise is broken"
)]

mod audit;
mod conformance;
mod format;
mod history;
mod model;
mod mutation;
mod query;
mod recovery;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::Schemas;
use axle_store::{ColumnarStore, StoreSettings};

/// Settings under which nothing happens by itself but merges.
fn quiet() -> StoreSettings {
    StoreSettings {
        flush_interval: Duration::from_secs(3600),
        parallelism: 2,
        ..StoreSettings::default()
    }
}

fn open(folder: &Path) -> Arc<ColumnarStore> {
    open_with(folder, quiet())
}

fn open_with(folder: &Path, settings: StoreSettings) -> Arc<ColumnarStore> {
    ColumnarStore::open(folder, Schemas::builtin(), settings).unwrap()
}
