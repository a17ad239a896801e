//! The program on the device's side: for a Raspberry Pi or any Linux computer beside what it
//! measures. It reads values, keeps them on the disk while there is no network, sends them until
//! they are acknowledged, and executes commands once.
//!
//! What this crate is not: it knows nothing of the server's insides and links nothing of them; a
//! Pi carries SQLite, TLS and MQTT, and no DataFusion.
//!
//! Reading order: [`Settings`], `queue.rs` (what survives, and the four rules), `source.rs` (where
//! values come from), `session.rs` (how they leave), `execute.rs` (commands), [`Agent`].

mod agent;
mod args;
mod clock;
mod execute;
mod failure;
mod link;
mod payload;
mod program;
mod quantity;
mod queue;
mod run;
mod session;
mod settings;
mod source;
mod store;
mod time_text;
mod value;

pub use agent::Agent;
pub use args::AgentArgs;
pub use clock::{DeviceClock, MachineClock, PLAUSIBLE_FROM, Reading};
pub use quantity::{ByteSize, SignedSpan, Span};
pub use run::run_until_signal;
pub use settings::{Credential, Settings, Source};
