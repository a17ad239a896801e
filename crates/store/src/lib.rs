//! The telemetry store: recent rows in memory, Parquet files on disk, SQL over both.
//!
//! What this crate is not: it decodes no messages, settles no time, and is never the only place
//! of a row before the log has it — everything here can be rebuilt from the log.
//!
//! Reading order: [`ColumnarStore`] (`store`), `chunk` (rows as they come), `flush` (sort, split,
//! encode, commit), `manifest`, `plan` (what a question reads, and where identical rows meet),
//! `merge`, `provider` and `query` (SQL), `history`.

mod accounted;
mod answer;
mod audit;
mod chunk;
mod columns;
mod constraint;
mod data_file;
mod decimal;
mod encode;
mod failure;
mod flush;
mod functions;
mod gather;
mod guard;
mod history;
mod layout;
mod manifest;
mod merge;
mod merging;
mod open;
mod plan;
mod provider;
mod pushdown;
mod query;
mod range;
mod reduce;
mod settings;
mod sort;
mod store;
mod usage;
mod verify;

pub use audit::{StoreAudit, StorePass};
pub use settings::StoreSettings;
pub use store::ColumnarStore;
pub use verify::{VerifyReport, verify};
