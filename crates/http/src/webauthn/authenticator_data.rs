//! What an authenticator signs (WebAuthn Level 3, 6.1).
//!
//! ```text
//! rpIdHash 32 | flags 1 | signCount 4 | attested credential data, if AT | extensions, if ED
//! attested credential data: AAGUID 16 | length 2 | credential id | COSE_Key
//! ```

use axle_domain::{Error, limit};
use minicbor::Decoder;

use super::{check_length, invalid};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKUP_STATE: u8 = 0x10;
const ATTESTED: u8 = 0x40;
const EXTENSIONS: u8 = 0x80;

/// Authenticator data, read.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'a> {
    /// For whom.
    pub(super) rp_id_hash: &'a [u8],
    /// Whether somebody touched it.
    pub(super) is_present: bool,
    /// Whether it knows who that was, by PIN or biometrics.
    pub(super) is_verified: bool,
    /// Whether its maker may carry the key to another device.
    pub(super) may_be_backed_up: bool,
    /// Whether that has happened.
    pub(super) is_backed_up: bool,
    /// How often the key has signed; 0 where it does not count.
    pub(super) sign_count: u32,
    /// The key, in a registration.
    pub(super) attested: Option<Attested<'a>>,
}

/// A new key.
#[derive(Debug)]
pub(super) struct Attested<'a> {
    /// The authenticator's name for it.
    pub(super) id: &'a [u8],
    /// The public key, a COSE_Key.
    pub(super) public_key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    /// Reads all of the bytes.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        check_length(bytes)?;
        let short = || invalid("its authenticator data is too short");
        let (rp_id_hash, rest) = bytes.split_at_checked(32).ok_or_else(short)?;
        let (flags, rest) = rest.split_first().ok_or_else(short)?;
        let (sign_count, mut rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let has = |flag| flags & flag != 0;
        let mut attested = None;
        if has(ATTESTED) {
            let (_aaguid, after) = rest.split_at_checked(16).ok_or_else(short)?;
            let (length, after) = after.split_first_chunk::<2>().ok_or_else(short)?;
            let length = usize::from(u16::from_be_bytes(*length));
            if length == 0 || length > limit::CREDENTIAL_ID_BYTES_MAX {
                return Err(invalid("its id is empty or too long"));
            }
            let (id, after) = after.split_at_checked(length).ok_or_else(short)?;
            let (public_key, after) = item(after)?;
            (attested, rest) = (Some(Attested { id, public_key }), after);
        }
        if has(EXTENSIONS) {
            (_, rest) = item(rest)?;
        }
        if !rest.is_empty() {
            return Err(invalid("bytes follow its authenticator data"));
        }
        Ok(Self {
            rp_id_hash,
            is_present: has(USER_PRESENT),
            is_verified: has(USER_VERIFIED),
            may_be_backed_up: has(BACKUP_ELIGIBLE),
            is_backed_up: has(BACKUP_STATE),
            sign_count: u32::from_be_bytes(*sign_count),
            attested,
        })
    }
}

/// One item of CBOR, and what follows it.
fn item(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let mut decoder = Decoder::new(bytes);
    let skipped = decoder.skip().ok().and_then(|()| bytes.split_at_checked(decoder.position()));
    skipped.ok_or_else(|| invalid("its authenticator data is unreadable"))
}
