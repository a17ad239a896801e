//! Ids and secrets that nobody can guess.

use axle_domain::Error;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A random text of `length` characters with five bits each, after a prefix.
///
/// # Errors
/// `Internal`, when the operating system gives no randomness.
pub(crate) fn random_text(prefix: &str, length: usize) -> Result<String, Error> {
    let mut bytes = vec![0_u8; length];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::internal("random", "no randomness").with_source(error.to_string())
    })?;
    let mut text = String::with_capacity(prefix.len() + length);
    text.push_str(prefix);
    text.extend(
        bytes
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
            .map(|c| char::from(*c)),
    );
    Ok(text)
}
