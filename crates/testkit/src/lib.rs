//! What tests of axle share: a clock that obeys, the conformance suites of the ports, reference
//! models. Nothing here is ever linked into the server.
//!
//! What this crate is not: it holds no tests of its own crates' insides; those stand beside the
//! code that they prove.

pub mod authenticator;
pub mod clock;
pub mod conformance;
pub mod memory_state;
pub mod memory_store;
pub mod model;
pub mod mutation;
pub mod paper_machine;
