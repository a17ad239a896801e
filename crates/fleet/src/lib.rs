//! Simulated fleets and load for axle: everything comes in through the real doors (MQTT over TLS
//! with client certificates, the HTTP API), and nothing here knows how axle works inside.
//!
//! - [`Doors`] says where the server is and which token opens the API.
//! - [`Enrollment`] registers devices and obtains their certificates.
//! - [`load::run`] is open-loop load with honest latencies, and the proof that all of it is there.
//! - [`Ledger`] is a driver for crash tests that remembers what was sent and acknowledged.
//! - [`Fleet`] is the life of a demonstration: bikes, cars and meters.

pub mod api;
mod clock;
pub mod content;
mod demo;
mod door;
mod enroll;
mod fault;
mod histogram;
mod ledger;
pub mod load;
mod random;
mod rival;
mod switches;
mod usage;

use axle_client::{client, connect, packet};
pub use demo::{Fleet, FleetPlan, FleetStatus};
pub use door::Doors;
pub use enroll::{Enrollment, Identity};
pub use histogram::Histogram;
pub use ledger::{DriveReport, Ledger, LedgerPlan, Violations};
pub use load::{LoadPlan, LoadReport, Progress, VerifyReport};
pub use switches::Switches;
