//! How many files and sockets this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files of log, store and state, and a reserve.
const OWN_DESCRIPTORS: u64 = 1024;

/// Asks the operating system for as many descriptors as it gives, and warns when they do not
/// suffice for the connections that the configuration allows.
pub(crate) fn raise_limit(connections_max: u64) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum;
    let raised = Rlimit { current: wanted, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(_refused) => limit.current,
    };
    let Some(descriptors) = current else { return };
    if descriptors < connections_max.min(FEW_CONNECTIONS) + OWN_DESCRIPTORS {
        warn!(
            descriptors,
            "the limit on open files is low: at most {} connections fit; raise it with \
             `ulimit -n 1048576` or LimitNOFILE= of the service",
            descriptors.saturating_sub(OWN_DESCRIPTORS)
        );
    }
}

/// Few installations have more devices on one machine; those are told by the gateway's limit.
const FEW_CONNECTIONS: u64 = 16_384;
