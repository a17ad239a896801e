//! Questions: SQL, history, latest values.

use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{
    Answer, AnswerFormat, Clock, DeviceLink, EventLog, History, Query, QueryLimits, ReportedState,
    Table, TelemetryStore,
};
use axle_domain::{
    Access, DeviceId, Error, Kind, LatestValue, Schemas, Timestamp, TrafficClass, limit,
};

use crate::app::Ports;
use crate::principal::Principal;

/// When a question that was turned away may come again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What a device reported last.
#[derive(Clone, Debug)]
pub struct DeviceState {
    /// Whether it is connected.
    pub is_online: bool,
    /// When its last message came; `None` if never.
    pub last_seen: Option<Timestamp>,
    /// The latest value of each field, by field.
    pub fields: Vec<LatestValue>,
    /// The server's time of this answer, to compute ages with.
    pub now: Timestamp,
}

/// The question desk. Every question passes here, so that rights are applied in one place.
pub struct Queries {
    store: Arc<dyn TelemetryStore>,
    reported: Arc<dyn ReportedState>,
    link: Arc<dyn DeviceLink>,
    clock: Arc<dyn Clock>,
    schemas: Arc<Schemas>,
    log: Arc<dyn EventLog>,
}

impl Queries {
    pub(crate) fn new(ports: &Ports, schemas: Arc<Schemas>) -> Self {
        Self {
            store: Arc::clone(&ports.store),
            reported: Arc::clone(&ports.reported),
            link: Arc::clone(&ports.link),
            clock: Arc::clone(&ports.clock),
            schemas,
            log: Arc::clone(&ports.log),
        }
    }

    /// Answers SQL over the devices that the principal may read.
    ///
    /// # Errors
    /// `Denied` for what is not a pure question and for those who may ask nothing; `Invalid`
    /// for SQL that is wrong; `TooLarge` and `Busy` at the limits.
    pub async fn sql(
        &self,
        principal: &Principal,
        sql: &str,
        format: AnswerFormat,
    ) -> Result<Answer, Error> {
        if sql.len() > limit::SQL_BYTES_MAX {
            let message = format!("a query is at most {} bytes of SQL", limit::SQL_BYTES_MAX);
            return Err(Error::new(Kind::TooLarge, "query.too_large", message)
                .with_limit(limit::SQL_BYTES_MAX as u64, sql.len() as u64));
        }
        principal.require(Access::Query)?;
        self.give_way()?;
        let visibility = principal.reads();
        let limits = QueryLimits::default();
        self.store.query(Query { sql: sql.to_owned(), visibility, limits, format }).await
    }

    /// The history of a device; says whether it was reduced.
    ///
    /// # Errors
    /// `NotFound` for a device that the principal may not read and for an unknown stream;
    /// `Invalid` for an unknown field or an empty range.
    pub async fn history(
        &self,
        principal: &Principal,
        history: History,
    ) -> Result<(Table, bool), Error> {
        principal.require(Access::Read(&history.device))?;
        if self.schemas.find(history.stream.as_str()).is_none() {
            let known: Vec<_> = self.schemas.iter().map(|schema| schema.name.as_str()).collect();
            let message =
                format!("stream `{}` not found: there are {}", history.stream, known.join(", "));
            return Err(Error::not_found("stream.not_found", message));
        }
        if history.from >= history.to {
            return Err(Error::invalid("telemetry.range_empty", "`from` must be before `to`"));
        }
        self.give_way()?;
        self.store.history(history).await
    }

    /// Questions are the first to be turned away when the log cannot follow.
    fn give_way(&self) -> Result<(), Error> {
        let admitted = self.log.admit(TrafficClass::Question);
        admitted.map_err(|error| error.with_retry_after(RETRY_AFTER))
    }

    /// What a device reported last.
    ///
    /// # Errors
    /// `NotFound` for a device that the principal may not read.
    pub async fn state(
        &self,
        principal: &Principal,
        device: &DeviceId,
    ) -> Result<DeviceState, Error> {
        principal.require(Access::Read(device))?;
        let (fields, last_seen) = self.reported.latest(device).await?;
        let is_online = self.link.online_since(device).is_some();
        Ok(DeviceState { is_online, last_seen, fields, now: self.clock.now() })
    }
}
