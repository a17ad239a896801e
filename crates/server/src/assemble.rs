//! The composition root: opens every part of one instance and puts them together.
//!
//! The order is the order of dependence: log, store, state, the authority, the sessions (which
//! are the way down to devices), then the use cases. Listeners come later, in `run`: that breaks
//! the only cycle, visibly.

use std::path::Path;
use std::sync::Arc;

use axle_app::{App, Ports};
use axle_domain::port::{
    ApplicationStore, ClientSessionStore, Clock, CommandStore, ComponentRegistry,
    ConnectionJournal, ConsumerRegistry, CredentialStore, DeviceLink, DeviceRegistry, EventLog,
    ReportedState, SearchIndex, SessionStore, TelemetryStore, TokenStore, UserStore,
};
use axle_domain::{Error, Kind, Offset, Schemas};
use axle_log::EmbeddedLog;
use axle_mqtt::{DeviceAuthority, Sessions};
use axle_state::SqliteState;
use axle_store::ColumnarStore;
use tracing::{info, warn};

use crate::clock::SystemClock;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::machine::ThisMachine;

/// The parts of one instance, without listeners.
pub struct Assembly {
    /// The use cases.
    pub app: Arc<App>,
    /// Live connections of devices.
    pub sessions: Arc<Sessions>,
    /// Certificates of devices and listeners.
    pub authority: Arc<DeviceAuthority>,
    pub(crate) machine: Arc<ThisMachine>,
}

impl Assembly {
    /// Opens everything. Blocks while log and store are checked.
    ///
    /// # Errors
    /// Those of the parts.
    pub async fn open(data: &DataDir, config: &Config) -> Result<Self, Error> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (log, recovery) = EmbeddedLog::open(&data.join("log"), config.log.settings())?;
        report(&recovery);
        let log: Arc<dyn EventLog> = Arc::new(log);
        let store: Arc<dyn TelemetryStore> =
            ColumnarStore::open(&data.join("store"), Schemas::builtin(), config.store.settings())?;
        refuse_lost_state(&data.join("state.db"), log.bounds().appended.max(store.position()))?;
        let state = Arc::new(SqliteState::open(&data.join("state.db"))?);
        let names = &config.server.names;
        let authority = Arc::new(DeviceAuthority::open(data.path(), names, Arc::clone(&clock))?);
        let sessions = Sessions::new();
        let machine =
            Arc::new(ThisMachine::new(data.path(), clock.now(), Arc::clone(&authority) as _));
        let app = App::open(Ports {
            clock,
            log,
            store,
            devices: Arc::clone(&state) as Arc<dyn DeviceRegistry>,
            components: Arc::clone(&state) as Arc<dyn ComponentRegistry>,
            search: Arc::clone(&state) as Arc<dyn SearchIndex>,
            applications: Arc::clone(&state) as Arc<dyn ApplicationStore>,
            tokens: Arc::clone(&state) as Arc<dyn TokenStore>,
            users: Arc::clone(&state) as Arc<dyn UserStore>,
            credentials: Arc::clone(&state) as Arc<dyn CredentialStore>,
            sessions: Arc::clone(&state) as Arc<dyn SessionStore>,
            client_sessions: Arc::clone(&state) as Arc<dyn ClientSessionStore>,
            commands: Arc::clone(&state) as Arc<dyn CommandStore>,
            connections: Arc::clone(&state) as Arc<dyn ConnectionJournal>,
            consumers: Arc::clone(&state) as Arc<dyn ConsumerRegistry>,
            reported: state as Arc<dyn ReportedState>,
            link: Arc::clone(&sessions) as Arc<dyn DeviceLink>,
            authority: Arc::clone(&authority) as _,
            machine: Arc::clone(&machine) as _,
        })
        .await?;
        Ok(Self { app: Arc::new(app), sessions, authority, machine })
    }

    /// Brings everything to disk and closes it.
    ///
    /// # Errors
    /// As the store: the log has what it could not write.
    pub async fn close(self) -> Result<(), Error> {
        let Ports { store, log, connections, .. } = &self.app.ports;
        if let Err(error) = connections.flush_connections().await {
            warn!(error = %error.chain(), "the last connection events are lost");
        }
        let flushed = store.close().await;
        log.close().await;
        flushed
    }
}

/// A directory that has had messages has had a state too: devices, people and tokens are nowhere
/// else, and an empty state would lock all of them out without a word.
fn refuse_lost_state(path: &Path, followed: Offset) -> Result<(), Error> {
    let is_there = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
    if is_there || followed == Offset(0) {
        return Ok(());
    }
    let message = format!(
        "{} is missing or empty, though there are messages up to offset {}: restore it from a \
         backup, or begin anew with another data directory",
        path.display(),
        followed.0
    );
    Err(Error::new(Kind::Corrupt, "state.missing", message))
}

fn report(recovery: &axle_log::Recovery) {
    if recovery.was_in_doubt || recovery.torn_bytes > 0 {
        info!(
            bytes = recovery.torn_bytes,
            records = recovery.torn_records,
            "the last run ended without warning; an unfinished write was cleared"
        );
    }
    for range in &recovery.damaged {
        warn!(
            file = %range.file.display(),
            offset = range.from.0,
            next_good = range.next_good.0,
            "the log is damaged here: run `axle verify`"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_state_is_refused_once_there_were_messages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        refuse_lost_state(&path, Offset(0)).unwrap();
        let missing = refuse_lost_state(&path, Offset(1)).unwrap_err();
        assert_eq!((missing.kind, missing.code), (Kind::Corrupt, "state.missing"));
        std::fs::write(&path, b"").unwrap();
        let empty = refuse_lost_state(&path, Offset(1)).unwrap_err();
        assert!(empty.message.contains("state.db"), "{empty}");
        std::fs::write(&path, b"SQLite format 3").unwrap();
        refuse_lost_state(&path, Offset(1)).unwrap();
    }
}
