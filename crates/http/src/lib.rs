//! The HTTP doors of axle: the API under `/api/v1`, the console, and the operators' listener.
//!
//! What this crate is not: it decides nothing about devices, telemetry or rights; it reads
//! requests, asks `axle-app`, and writes answers. It knows no SQL engine, and no file
//! but the map that an operator points to.
//!
//! Reading order: [`HttpServer`] (what listens), `frame` (what surrounds every route), `route`
//! (the table of routes), `call` (what every route checks), then the routes.

mod answer;
mod api;
mod body;
mod call;
mod connection;
mod console;
mod content;
mod docs_page;
mod field;
mod frame;
mod metrics;
mod openapi;
mod operation;
mod ops;
mod origin;
mod parameter;
mod problem;
mod random;
mod rate;
mod route;
mod server;
mod settings;
mod sign_in_limits;
mod visitor;
mod vitals;
mod webauthn;

pub use server::HttpServer;
pub use settings::{ConsoleSettings, DoorSettings, HttpSettings, OpsSettings};
