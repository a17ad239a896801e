//! A folder with a state in it, gone with the test.

use std::path::PathBuf;

use async_trait::async_trait;
use axle_state::SqliteState;
use axle_testkit::conformance::state::{Place, State};
use tempfile::TempDir;

pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("state.db")
    }

    pub(crate) fn state(&self) -> SqliteState {
        SqliteState::open(&self.path()).unwrap()
    }
}

#[async_trait]
impl Place for Folder {
    async fn open(&self) -> Box<dyn State> {
        Box::new(self.state())
    }
}
