//! The contract of [`axle_domain::port::EventLog`], clause by clause.
