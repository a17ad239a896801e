//! Passkeys: what a browser proves in a registration and in a sign-in (WebAuthn Level 3, 7.1 and
//! 7.2), verified over ring.
//!
//! What an authenticator says of its maker (the attestation) is not asked for and not looked at:
//! nothing here trusts one maker more than another. Everything else of the two procedures is
//! checked: kind, challenge, origin, name of the relying party, presence and verification of the
//! person, the signature. The count of signatures is compared where it is stored.

mod authenticator_data;
mod challenges;
mod public_key;
mod rp_id;

use axle_domain::{Error, Kind};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::Decoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use self::authenticator_data::AuthenticatorData;
pub(crate) use self::challenges::{Challenges, Purpose};
pub(crate) use self::public_key::ALGORITHMS;
use self::public_key::PublicKey;
pub(crate) use self::rp_id::rp_id;

/// Longest client data, attestation object or authenticator data that is looked at.
const PART_BYTES_MAX: usize = 16 * 1024;

/// What a ceremony must have been about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// Our origin as the browser knows it, such as `http://localhost:8080`.
    pub(crate) origin: &'a str,
    /// Our name as the authenticator knows it, such as `localhost`.
    pub(crate) rp_id: &'a str,
}

/// What a registration has proved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    /// The authenticator's name for the passkey.
    pub(crate) id: Vec<u8>,
    /// The public key as it came, a COSE_Key.
    pub(crate) public_key: Vec<u8>,
    /// How often it has signed.
    pub(crate) sign_count: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
}

/// The challenge that client data answers, to be looked up before anything else is believed.
///
/// # Errors
/// `Invalid`, where the bytes are no client data.
pub(crate) fn challenge_of(client_data: &[u8]) -> Result<String, Error> {
    Ok(read_client_data(client_data)?.challenge)
}

/// Verifies a registration.
///
/// # Errors
/// `Invalid`, naming what does not fit.
pub(crate) fn verify_registration(
    expected: Expected<'_>,
    client_data: &[u8],
    attestation_object: &[u8],
) -> Result<Registered, Error> {
    check_client_data(expected, "webauthn.create", client_data)?;
    let bytes = authenticator_data_of(attestation_object)?;
    let data = AuthenticatorData::read(bytes)?;
    check_flags(expected, &data)?;
    let attested = data.attested.ok_or_else(|| invalid("it holds no new key"))?;
    PublicKey::read(attested.public_key)?;
    Ok(Registered {
        id: attested.id.to_vec(),
        public_key: attested.public_key.to_vec(),
        sign_count: data.sign_count,
    })
}

/// Verifies a sign-in with a key; returns the authenticator's count of signatures.
///
/// # Errors
/// `Invalid` and `Unauthenticated`, naming what does not fit.
pub(crate) fn verify_assertion(
    expected: Expected<'_>,
    public_key: &[u8],
    client_data: &[u8],
    authenticator_data: &[u8],
    signature: &[u8],
) -> Result<u32, Error> {
    check_client_data(expected, "webauthn.get", client_data)?;
    let data = AuthenticatorData::read(authenticator_data)?;
    check_flags(expected, &data)?;
    let mut signed = authenticator_data.to_vec();
    signed.extend_from_slice(&Sha256::digest(client_data));
    match PublicKey::read(public_key)?.verify(&signed, signature) {
        true => Ok(data.sign_count),
        false => Err(Error::new(
            Kind::Unauthenticated,
            "passkey.signature_wrong",
            "the passkey's signature is wrong",
        )),
    }
}

fn read_client_data(bytes: &[u8]) -> Result<ClientData, Error> {
    check_length(bytes)?;
    serde_json::from_slice(bytes).map_err(|_error| invalid("its client data is unreadable"))
}

fn check_client_data(expected: Expected<'_>, kind: &str, bytes: &[u8]) -> Result<(), Error> {
    let data = read_client_data(bytes)?;
    if data.r#type != kind {
        return Err(invalid("it is about something else"));
    }
    if data.origin != expected.origin || data.cross_origin {
        return Err(invalid("it was made on a page that is not ours"));
    }
    Ok(())
}

fn check_flags(expected: Expected<'_>, data: &AuthenticatorData<'_>) -> Result<(), Error> {
    let ours = Sha256::digest(expected.rp_id.as_bytes());
    if data.rp_id_hash != ours.as_slice() {
        return Err(invalid("it was made for another server"));
    }
    if !data.is_present || !data.is_verified {
        return Err(invalid("the authenticator did not ask who you are: use PIN or biometrics"));
    }
    if data.is_backed_up && !data.may_be_backed_up {
        return Err(invalid("its flags contradict each other"));
    }
    Ok(())
}

/// The authenticator data within an attestation object.
fn authenticator_data_of(object: &[u8]) -> Result<&[u8], Error> {
    check_length(object)?;
    let unreadable = |_error| invalid("its attestation object is unreadable");
    let mut decoder = Decoder::new(object);
    let count = decoder.map().map_err(unreadable)?;
    let mut found = None;
    for _ in 0..count.unwrap_or(0).min(16) {
        match decoder.str().map_err(unreadable)? {
            "authData" if found.is_none() => found = Some(decoder.bytes().map_err(unreadable)?),
            _ => decoder.skip().map_err(unreadable)?,
        }
    }
    found.ok_or_else(|| invalid("its attestation object holds no authenticator data"))
}

fn check_length(bytes: &[u8]) -> Result<(), Error> {
    match bytes.len() <= PART_BYTES_MAX {
        true => Ok(()),
        false => Err(invalid("a part of it is too long")),
    }
}

/// Bytes of base64url without padding, as browsers give them.
pub(crate) fn decode(field: &str, text: &str) -> Result<Vec<u8>, Error> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_error| {
        Error::invalid("passkey.invalid", format!("`{field}` is no base64url without padding"))
    })
}

/// The other way round.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn invalid(reason: &str) -> Error {
    Error::invalid("passkey.invalid", format!("the passkey cannot be used: {reason}"))
}

#[cfg(test)]
mod tests;
