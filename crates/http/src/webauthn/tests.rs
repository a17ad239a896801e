//! Both ceremonies against an authenticator of our own, and everything that can be wrong in them.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;

const OURS: Expected<'static> = Expected { origin: "http://localhost:8080", rp_id: "localhost" };
const PRESENT_AND_VERIFIED: u8 = 0x05;

enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Key {
    fn es256() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Es256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }

    fn eddsa() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn cose(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Es256(pair) => {
                let point = pair.public_key().as_ref();
                bytes.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
                bytes.extend(&point[1..33]);
                bytes.extend([0x22, 0x58, 0x20]);
                bytes.extend(&point[33..]);
            }
            Self::EdDsa(pair) => {
                bytes.extend([0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20]);
                bytes.extend(pair.public_key().as_ref());
            }
        }
        bytes
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Es256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().into(),
            Self::EdDsa(pair) => pair.sign(message).as_ref().into(),
        }
    }
}

fn client_data(kind: &str, origin: &str) -> Vec<u8> {
    let data = json!({"type": kind, "challenge": "Y2hhbGxlbmdl", "origin": origin, "new": 1});
    data.to_string().into_bytes()
}

fn authenticator_data(rp_id: &str, flags: u8, sign_count: u32, key: Option<&Key>) -> Vec<u8> {
    let mut bytes = Sha256::digest(rp_id.as_bytes()).to_vec();
    bytes.push(if key.is_some() { flags | 0x40 } else { flags });
    bytes.extend(sign_count.to_be_bytes());
    if let Some(key) = key {
        bytes.extend([9; 16]);
        bytes.extend([0, 3, b'k', b'e', b'y']);
        bytes.extend(key.cose());
    }
    bytes
}

/// `{"fmt": "none", "attStmt": {}, "authData": …}`
fn attestation(data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xa3, 0x63];
    bytes.extend(b"fmt");
    bytes.push(0x64);
    bytes.extend(b"none");
    bytes.push(0x67);
    bytes.extend(b"attStmt");
    bytes.extend([0xa0, 0x68]);
    bytes.extend(b"authData");
    bytes.push(0x59);
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

fn signed(key: &Key, data: &[u8], client_data: &[u8]) -> Vec<u8> {
    let mut message = data.to_vec();
    message.extend_from_slice(&Sha256::digest(client_data));
    key.sign(&message)
}

#[test]
fn what_was_registered_signs_in() {
    for key in [Key::es256(), Key::eddsa()] {
        let created = client_data("webauthn.create", OURS.origin);
        assert_eq!(challenge_of(&created).unwrap(), "Y2hhbGxlbmdl");
        let data = authenticator_data("localhost", PRESENT_AND_VERIFIED, 1, Some(&key));
        let registered = verify_registration(OURS, &created, &attestation(&data)).unwrap();
        assert_eq!((registered.id.as_slice(), registered.sign_count), (&b"key"[..], 1));
        let got = client_data("webauthn.get", OURS.origin);
        let data = authenticator_data("localhost", PRESENT_AND_VERIFIED, 7, None);
        let signature = signed(&key, &data, &got);
        let check = |key: &[u8], client_data: &[u8], data: &[u8], signature: &[u8]| {
            verify_assertion(OURS, key, client_data, data, signature).map_err(|error| error.code)
        };
        let public_key = &registered.public_key;
        assert_eq!(check(public_key, &got, &data, &signature), Ok(7));
        let wrong = Err("passkey.signature_wrong");
        let mut changed = data.clone();
        changed[36] ^= 1;
        assert_eq!(check(public_key, &got, &changed, &signature), wrong, "the count");
        assert_eq!(check(public_key, &got, &data, &signature[1..]), wrong, "the signature");
        let mut other = got.clone();
        other.push(b' ');
        assert_eq!(check(public_key, &other, &data, &signature), wrong, "the client data");
        assert_eq!(check(&Key::es256().cose(), &got, &data, &signature), wrong, "the key");
    }
}

#[test]
fn whatever_does_not_fit_is_refused() {
    let key = Key::es256();
    let good = authenticator_data("localhost", PRESENT_AND_VERIFIED, 0, Some(&key));
    let created = client_data("webauthn.create", OURS.origin);
    let trailing = [&good[..], &[0]].concat();
    let cross = json!({"type": "webauthn.create", "challenge": "", "origin": OURS.origin,
        "crossOrigin": true});
    for (what, client_data, data) in [
        ("the kind", client_data("webauthn.get", OURS.origin), good.clone()),
        ("the origin", client_data("webauthn.create", "http://localhost:8081"), good.clone()),
        ("the frame", cross.to_string().into_bytes(), good.clone()),
        ("no client data", b"{}".to_vec(), good.clone()),
        ("long client data", vec![b' '; 20_000], good.clone()),
        ("the server", created.clone(), authenticator_data("evil", 5, 0, Some(&key))),
        ("presence", created.clone(), authenticator_data("localhost", 4, 0, Some(&key))),
        ("verification", created.clone(), authenticator_data("localhost", 1, 0, Some(&key))),
        ("backup", created.clone(), authenticator_data("localhost", 0x15, 0, Some(&key))),
        ("no key", created.clone(), authenticator_data("localhost", 5, 0, None)),
        ("a tail", created.clone(), trailing),
        ("half", created.clone(), good[..60].to_vec()),
        ("nothing", created.clone(), Vec::new()),
    ] {
        let seen = verify_registration(OURS, &client_data, &attestation(&data));
        assert_eq!(seen.unwrap_err().code, "passkey.invalid", "{what}");
    }
    assert!(verify_registration(OURS, &created, &attestation(&good)).is_ok());
    for end in 0..attestation(&good).len() {
        assert!(verify_registration(OURS, &created, &attestation(&good)[..end]).is_err());
    }
}

#[test]
fn keys_of_other_kinds_and_shapes_are_refused() {
    let good = Key::es256().cose();
    assert!(PublicKey::read(&good).is_ok());
    let changed = |at: usize, to: u8| {
        let mut key = good.clone();
        key[at] = to;
        key
    };
    for (what, key) in [
        ("another algorithm", changed(4, 0x27)),
        ("another curve", changed(6, 0x02)),
        ("another kind", changed(2, 0x01)),
        ("a doubled label", changed(3, 0x01)),
        ("a short coordinate", changed(9, 0x1f)),
        ("an endless map", changed(0, 0xbf)),
        ("a huge map", vec![0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("a tail", [&good[..], &[0]].concat()),
        ("nothing", Vec::new()),
    ] {
        assert!(PublicKey::read(&key).is_err(), "{what}");
    }
    // An RSA key reads; ring refuses to verify with one that is too short.
    let rsa = [0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20, 0x42, 1, 2, 0x21, 0x43, 1, 0, 1];
    let read = PublicKey::read(&rsa).unwrap();
    assert_eq!(read, PublicKey::Rs256(&[1, 2], &[1, 0, 1]));
    assert!(!read.verify(b"message", b"signature"));
}
