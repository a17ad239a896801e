//! The use cases of axle, one file each: what the doors call and what runs behind them.
//!
//! What this crate is not: it knows no socket, no HTTP, no SQL engine and no file. It knows the
//! ports of `axle-domain` and the payload formats.
//!
//! Reading order: [`Ingest`] (a message to safety), [`Projector`] (from the log to where it is
//! shown), [`decode`] (what it means), [`Commands`] and [`Dispatch`] (the way down).

mod answer;
mod app;
mod application;
mod command;
mod component;
mod consumer;
mod consumption;
pub mod decode;
mod device;
mod dispatch;
mod feed;
mod fleet_map;
mod ingest;
mod lag;
mod metrics;
mod ownership;
mod password;
mod presence;
mod principal;
mod project;
mod provisioning;
mod publish;
mod publisher;
mod quality;
mod quarantine;
mod query;
mod random;
mod registry;
mod retention;
mod ride;
mod search;
mod session;
mod sign_in;
mod time_text;
mod token;
mod upload;
mod user;
mod vitals;

pub use answer::Answers;
pub use app::{App, Ports, Positions};
pub use application::{Applications, NewApplication};
pub use command::{Commands, NewCommand};
pub use component::Components;
pub use consumer::{Consumers, From as ReadFrom, HoldLimits, Page, Portion, Selection};
pub use consumption::{
    Bucket, BucketUse, Consumption, ConsumptionQuestion, Consumptions, Period, Reading, SocketUse,
    Stretch, Zone,
};
pub use device::{DeviceChange, Devices, NewDevice};
pub use dispatch::Dispatch;
pub use feed::{FeedForm, FeedRequest, Feeds, ReviewDecision, read_batch, read_record};
pub use fleet_map::{Area, Cluster, FleetMap, MapFilter, MapView, Vehicle};
pub use ingest::{Content, Ingest};
pub use lag::LagFigures;
pub use metrics::DoorMetrics;
pub use ownership::Transfer;
pub use password::Password;
pub use presence::{Departure, Presence, SilentAfter};
pub use principal::Principal;
pub use project::{ProjectionFigures, Projector, Reached, Replay};
pub use provisioning::provisioning_refusal;
pub use publish::{NewMessage, Publish, Published};
pub use publisher::{Publisher, Rights};
pub use quality::{
    ClockQuality, CodeQuality, DayQuality, FieldQuality, Quality, QualityReport, quarantine_advice,
};
pub use quarantine::{Mend, Quarantine};
pub use query::{DeviceState, Queries};
pub use registry::{PresentedCertificate, Registry};
pub use retention::{Follower, FollowerSigns, Holder};
pub use ride::{Ride, RidePoint, Rides};
pub use search::{Found, Search};
pub use session::{Sessions, SignedIn};
pub use sign_in::{NewPasskey, SignIn};
pub use time_text::{format_time, parse_time};
pub use token::Tokens;
pub use upload::{UploadAnswer, UploadRequest, Uploads};
pub use user::{NewUser, UserChange, Users};
pub use vitals::{
    DoorRates, ENDING_DAYS, FileSystem, LatencyWindow, PartGrowth, ProjectionSigns, Quantiles,
    TAKE_INTERVAL, VitalSigns, Vitals,
};
