//! How often people may try to sign in: by name and by address, so that neither one name nor one
//! list of names can be guessed through.

use std::net::IpAddr;

use axle_domain::{Error, Kind, limit, network};
use tokio::time::Instant;

use crate::rate::Buckets;

/// Longest name that is counted as itself.
const NAME_CHARS_MAX: usize = 64;

/// The counts.
pub(crate) struct SignInLimits {
    by_name: Buckets<String>,
    by_address: Buckets<IpAddr>,
}

impl Default for SignInLimits {
    fn default() -> Self {
        let burst = limit::SIGN_INS_AT_ONCE_MAX;
        let per_address = limit::SIGN_INS_PER_MINUTE_AND_ADDRESS;
        Self {
            by_name: Buckets::with_burst(limit::SIGN_INS_PER_MINUTE_AND_NAME, burst),
            by_address: Buckets::new(per_address),
        }
    }
}

impl SignInLimits {
    /// Counts a try by password.
    ///
    /// # Errors
    /// `Busy`, with the time to wait.
    pub(crate) fn take(&self, name: &str, address: IpAddr) -> Result<(), Error> {
        let now = Instant::now();
        // The address first: whoever is stopped there takes no tries from the name.
        self.take_address(address)?;
        match self.by_name.take(key(name), now).wait {
            Some(wait) => Err(too_many(wait)),
            None => Ok(()),
        }
    }

    /// Counts a try without a name.
    ///
    /// # Errors
    /// `Busy`, with the time to wait.
    pub(crate) fn take_address(&self, address: IpAddr) -> Result<(), Error> {
        match self.by_address.take(network(address), Instant::now()).wait {
            Some(wait) => Err(too_many(wait)),
            None => Ok(()),
        }
    }

    /// A try that was right does not count.
    pub(crate) fn give_back(&self, name: &str, address: IpAddr) {
        self.by_name.give_back(&key(name));
        self.by_address.give_back(&network(address));
    }
}

fn key(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}

fn too_many(wait: std::time::Duration) -> Error {
    let seconds = wait.as_secs().max(1);
    let message = format!(
        "too many tries: wait {seconds} s, or use another way in; a forgotten password is mended \
         by a new invitation"
    );
    Error::new(Kind::Busy, "sign_in.too_many_tries", message).with_retry_after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_name_nor_an_address_can_be_tried_for_ever() {
        let limits = SignInLimits::default();
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        for last in 0..10 {
            assert!(limits.take("anna", address(last)).is_ok());
        }
        let refused = limits.take("anna", address(99)).unwrap_err();
        assert_eq!((refused.kind, refused.code), (Kind::Busy, "sign_in.too_many_tries"));
        assert!(refused.retry_after.is_some());
        assert!(limits.take("bert", address(99)).is_ok(), "others are untouched");
        limits.give_back("anna", address(1));
        assert!(limits.take("anna", address(98)).is_ok());
        let limits = SignInLimits::default();
        let tries = (0..100).filter(|n| limits.take(&format!("u-{n}"), address(1)).is_ok());
        assert_eq!(tries.count(), 30);
    }
}
