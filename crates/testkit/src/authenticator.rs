//! An authenticator of passkeys in software (WebAuthn Level 3, 6), honest or not as a test needs.

#![expect(clippy::unwrap_used, reason = "a test's own tool fails by panicking")]

use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

/// Flags of a person who is present and has proved who it is.
pub const PRESENT_AND_VERIFIED: u8 = 0x05;

enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// One passkey, with its private key.
pub struct SoftPasskey {
    key: Key,
    /// Its name for the server.
    pub id: Vec<u8>,
}

impl SoftPasskey {
    /// A new key of ECDSA over P-256.
    #[must_use]
    pub fn es256(id: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        Self { key: Key::Es256(pair), id: id.as_bytes().to_vec() }
    }

    /// A new Ed25519 key.
    #[must_use]
    pub fn eddsa(id: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Self { key: Key::EdDsa(pair), id: id.as_bytes().to_vec() }
    }

    /// The public key as COSE_Key.
    #[must_use]
    pub fn cose(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &self.key {
            Key::Es256(pair) => {
                let (_tag, point) = pair.public_key().as_ref().split_at(1);
                let (x, y) = point.split_at(32);
                bytes.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
                bytes.extend(x);
                bytes.extend([0x22, 0x58, 0x20]);
                bytes.extend(y);
            }
            Key::EdDsa(pair) => {
                bytes.extend([0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20]);
                bytes.extend(pair.public_key().as_ref());
            }
        }
        bytes
    }

    /// Authenticator data without a key, as a sign-in signs it.
    #[must_use]
    pub fn sign_in_data(rp_id: &str, flags: u8, sign_count: u32) -> Vec<u8> {
        let mut bytes = digest(&SHA256, rp_id.as_bytes()).as_ref().to_vec();
        bytes.push(flags);
        bytes.extend(sign_count.to_be_bytes());
        bytes
    }

    /// Authenticator data with this key, as a registration has it.
    #[must_use]
    pub fn registration_data(&self, rp_id: &str, flags: u8, sign_count: u32) -> Vec<u8> {
        let mut bytes = Self::sign_in_data(rp_id, flags | 0x40, sign_count);
        bytes.extend([9; 16]);
        bytes.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        bytes.extend(&self.id);
        bytes.extend(self.cose());
        bytes
    }

    /// The signature of a sign-in.
    #[must_use]
    pub fn sign(&self, authenticator_data: &[u8], client_data: &[u8]) -> Vec<u8> {
        let mut message = authenticator_data.to_vec();
        message.extend(digest(&SHA256, client_data).as_ref());
        match &self.key {
            Key::Es256(pair) => pair.sign(&SystemRandom::new(), &message).unwrap().as_ref().into(),
            Key::EdDsa(pair) => pair.sign(&message).as_ref().into(),
        }
    }
}

/// What a browser lets be signed.
#[must_use]
pub fn client_data(kind: &str, challenge: &str, origin: &str) -> Vec<u8> {
    format!(
        "{{\"type\":\"{kind}\",\"challenge\":\"{challenge}\",\"origin\":\"{origin}\",\
         \"crossOrigin\":false,\"other_keys_can_be_added_here\":\"do not compare\"}}"
    )
    .into_bytes()
}

/// An attestation object that says nothing of its maker: `{"fmt": "none", "attStmt": {},
/// "authData": …}`.
#[must_use]
pub fn attestation(authenticator_data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
    bytes.extend(u16::try_from(authenticator_data.len()).unwrap().to_be_bytes());
    bytes.extend(authenticator_data);
    bytes
}
