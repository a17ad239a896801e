//! Numbers and texts that nobody can guess.

use axle_domain::Error;

/// A random number; 0 where the operating system has none, so never base a secret on it.
pub(crate) fn random_u64() -> u64 {
    getrandom::u64().unwrap_or(0)
}

/// A secret of 160 bits in hexadecimal digits.
///
/// # Errors
/// `Internal`, when the operating system gives no randomness.
pub(crate) fn random_secret() -> Result<String, Error> {
    let mut bytes = [0_u8; 20];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::internal("random", "no randomness").with_source(error.to_string())
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
