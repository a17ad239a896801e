//! The composition root: opens every part of one instance and puts them together.
//!
//! The order is the order of dependence: log, store, state, the authority, the sessions (which
//! are the way down to devices), then the use cases. Listeners come later, in `run`: that breaks
//! the only cycle, visibly.

use std::sync::Arc;

use axle_app::{App, Ports};
use axle_domain::port::{
    ApplicationStore, Clock, CommandStore, ComponentRegistry, ConnectionJournal, CredentialStore,
    DeviceLink, DeviceRegistry, EventLog, ReportedState, SearchIndex, SessionStore, TelemetryStore,
    TokenStore, UserStore,
};
use axle_domain::{Error, Schemas};
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
        let state = Arc::new(SqliteState::open(&data.join("state.db"))?);
        let names = &config.server.names;
        let authority = Arc::new(DeviceAuthority::open(data.path(), names, Arc::clone(&clock))?);
        let sessions = Sessions::new();
        let ends = authority.certificate_ends();
        let machine = Arc::new(ThisMachine::new(data.path(), clock.now(), ends));
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
            commands: Arc::clone(&state) as Arc<dyn CommandStore>,
            connections: Arc::clone(&state) as Arc<dyn ConnectionJournal>,
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
