//! Both ceremonies against an authenticator in software, and everything that can be wrong in them.

use axle_testkit::authenticator::{
    PRESENT_AND_VERIFIED, SoftPasskey, attestation, client_data as client_data_for,
};
use serde_json::json;

use super::*;

const OURS: Expected<'static> = Expected { origin: "http://localhost:8080", rp_id: "localhost" };

fn client_data(kind: &str, origin: &str) -> Vec<u8> {
    client_data_for(kind, "Y2hhbGxlbmdl", origin)
}

#[test]
fn what_was_registered_signs_in() {
    for key in [SoftPasskey::es256("key"), SoftPasskey::eddsa("key")] {
        let created = client_data("webauthn.create", OURS.origin);
        assert_eq!(challenge_of(&created).unwrap(), "Y2hhbGxlbmdl");
        let data = key.registration_data("localhost", PRESENT_AND_VERIFIED, 1);
        let registered = verify_registration(OURS, &created, &attestation(&data)).unwrap();
        assert_eq!((registered.id.as_slice(), registered.sign_count), (&b"key"[..], 1));
        let got = client_data("webauthn.get", OURS.origin);
        let data = SoftPasskey::sign_in_data("localhost", PRESENT_AND_VERIFIED, 7);
        let signature = key.sign(&data, &got);
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
        assert_eq!(
            check(&SoftPasskey::es256("key").cose(), &got, &data, &signature),
            wrong,
            "the key"
        );
    }
}

#[test]
fn whatever_does_not_fit_is_refused() {
    let key = SoftPasskey::es256("key");
    let good = key.registration_data("localhost", PRESENT_AND_VERIFIED, 0);
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
        ("the server", created.clone(), key.registration_data("evil", 5, 0)),
        ("presence", created.clone(), key.registration_data("localhost", 4, 0)),
        ("verification", created.clone(), key.registration_data("localhost", 1, 0)),
        ("backup", created.clone(), key.registration_data("localhost", 0x15, 0)),
        ("no key", created.clone(), SoftPasskey::sign_in_data("localhost", 5, 0)),
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
    let good = SoftPasskey::es256("key").cose();
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
