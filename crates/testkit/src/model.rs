//! Reference models: the simplest thing that keeps a port's contract, as an oracle for properties
//! and simulation.

pub mod log;
