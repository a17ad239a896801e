//! The nouns of axle, their laws, and the ports behind which the outside world stands.
//!
//! What this crate is not: it does no I/O, reads no clock, knows no wire format and derives no
//! serialisation. Adapters implement the traits of [`port`]; use cases live in `axle-app`.
//!
//! Reading order: [`Message`] (bytes as they came), [`StreamSchema`] and [`Row`] (what they mean),
//! [`settle`] (when it happened), [`Command`] (what people intend), then the ports.

mod access;
mod application;
mod client_session;
mod command;
mod component;
mod connection_event;
mod consumer;
mod device;
mod error;
mod feed;
mod grant;
mod id;
mod id_pattern;
mod latency;
mod latest;
mod layout;
pub mod limit;
mod message;
mod network;
mod overload;
pub mod port;
pub mod provisioning;
mod quarantine;
mod retained_message;
mod row;
mod row_batch;
mod schema;
pub mod search;
mod time;
mod token;
mod topic;
mod turned;
mod user;

pub use access::Access;
pub use application::{Application, ApplicationKind, ClaimTerms};
pub use client_session::{ClientSession, QueuedMessage, ReceivedPublish, Subscription, Will};
pub use command::{Command, CommandStatus, Reply, Transition};
pub use component::{Component, ComponentStatus, Installation};
pub use connection_event::{
    ConnectionCause, ConnectionEvent, ConnectionOutcome, GATHER_TIME, ProtocolVersion, RefusalStage,
};
pub use consumer::Consumer;
pub use device::{Certificate, Device, DeviceStatus, Fingerprint};
pub use error::{Error, Kind};
pub use feed::{
    Approval, Change, ComponentFacts, Decided, DeviceFacts, FeedRecord, Known, Neighbor, Reason,
    ReviewId, ReviewItem, ReviewStatus, judge,
};
pub use grant::{Grants, TopicFilter, filter_contains};
pub use id::{
    ApplicationName, BatchId, CommandId, ConsumerName, DeviceId, KindName, PlantName, Serial,
    StreamName, UploadId, UserName,
};
pub use id_pattern::IdPattern;
pub use latency::{LatencyCounts, LatencyHistogram};
pub use latest::{FieldKey, LatestValue, OwnedValue};
pub use layout::{Layout, Layouts};
pub use message::{ConnectionId, Envelope, Message, Offset, Source};
pub use network::network;
pub use overload::TrafficClass;
pub use quarantine::{
    QuarantineCount, QuarantineFilter, QuarantineId, QuarantineItem, QuarantineState,
};
pub use retained_message::RetainedMessage;
pub use row::{Row, Value};
pub use row_batch::{Column, Dictionary, FloatColumn, RowBatch, TextColumn};
pub use schema::{Field, FieldKind, Schemas, StreamSchema};
pub use search::{
    SearchEntry, SearchField, SearchHit, SearchKind, SearchMatch, SearchQuery, SearchReason, rank,
};
pub use time::{Settled, TimeError, TimeQuality, Timestamp, settle};
pub use token::{Scope, Token, TokenHash};
pub use topic::{Topic, TopicError};
pub use turned::Turned;
pub use user::{Invitation, Passkey, Role, SecretHash, Session, User, UserHandle};
