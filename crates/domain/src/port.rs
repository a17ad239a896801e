//! The ports: what axle needs of the outside world, as contracts.
//!
//! Each trait states its contract in numbered clauses; `axle-testkit` has a conformance suite for
//! each that stands in for more than one implementation.

mod application_store;
mod certificate_authority;
mod client_session_store;
mod clock;
mod command_store;
mod component_registry;
mod connection_journal;
mod consumer_registry;
mod credential_store;
mod device_link;
mod device_registry;
mod event_log;
mod machine;
mod reported_state;
mod search_index;
mod session_store;
mod telemetry_store;
mod token_store;
mod user_store;

pub use application_store::ApplicationStore;
pub use certificate_authority::{
    CertificateAuthority, CertificateSubject, IdentityEnd, IdentityPart, IdentityStanding,
    IssuedCertificate, SignedCertificate,
};
pub use client_session_store::{
    ClientSessionStore, QueueFigures, SessionChanges, SessionsCommitted, StoredSessions,
};
pub use clock::Clock;
pub use command_store::CommandStore;
pub use component_registry::{
    BatchFilter, BatchReceipt, BatchRecord, ComponentFilter, ComponentRegistry, Decision,
    FeedBatch, ReviewFilter, SetAside,
};
pub use connection_journal::{ConnectionFilter, ConnectionJournal};
pub use consumer_registry::ConsumerRegistry;
pub use credential_store::CredentialStore;
pub use device_link::{Acknowledgement, DeviceLink, Receipt, SendError};
pub use device_registry::{DeviceFilter, DeviceRegistry};
pub use event_log::{EventLog, LogBounds, LogFigures, Record};
pub use machine::{DiskFigures, Machine, MachineFigures, ProcessFigures};
pub use reported_state::{Counters, Projected, ReportedState, SilentDevice, UploadReceipt};
pub use search_index::SearchIndex;
pub use session_store::{SessionStore, WhichSessions};
pub use telemetry_store::{
    Aggregate, Answer, AnswerFormat, Cell, ColumnInfo, History, Query, QueryLimits, Reduce,
    StoreFigures, Table, TelemetryStore, USAGE_GAP_MICROS_MAX, Usage, Visibility,
};
pub use token_store::TokenStore;
pub use user_store::{UserEntry, UserFilter, UserStore};
