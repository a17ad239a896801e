//! The device authority's files: made once, opened ever after, never replaced in silence.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{CertificateAuthority, Clock};
use axle_domain::{DeviceId, Error, Kind};
use axle_mqtt::{DeviceAuthority, new_key_and_request};
use axle_testkit::clock::ManualClock;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use x509_parser::extensions::GeneralName;

use crate::world::now;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn open_at(dir: &Path, clock: &Arc<ManualClock>, names: &[&str]) -> Result<DeviceAuthority, Error> {
    let clock: Arc<dyn Clock> = clock.clone();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    DeviceAuthority::open(dir, &names, clock)
}

fn server_certificate(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("server.crt")).unwrap()
}

/// The server certificate after an opening that asks for these names.
fn opened_with(dir: &Path, clock: &Arc<ManualClock>, names: &[&str]) -> String {
    open_at(dir, clock, names).unwrap();
    server_certificate(dir)
}

fn open(dir: &Path) -> Result<DeviceAuthority, Error> {
    open_at(dir, &Arc::new(ManualClock::new(now())), &[])
}

#[test]
fn is_the_same_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path()).unwrap();
    let server = server_certificate(dir.path());
    let second = open(dir.path()).unwrap();
    assert_eq!(server, server_certificate(dir.path()));
    assert_eq!(first.authority_pem(), second.authority_pem());
    for (file, mode) in [("ca.key", 0o600), ("server.key", 0o600), ("ca.crt", 0o644)] {
        let metadata = std::fs::metadata(dir.path().join(file)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{file}");
    }
}

#[test]
fn a_key_that_others_can_read_is_taken_away_from_them() {
    let dir = TempDir::new().unwrap();
    open(dir.path()).unwrap();
    let key = dir.path().join("ca.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    open(dir.path()).unwrap();
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn renews_the_server_certificate_when_it_ends_soon_or_names_others() {
    let dir = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::new(now()));
    let first = opened_with(dir.path(), &clock, &["axle.example"]);
    let names = opened_with(dir.path(), &clock, &["axle.example", "10.0.0.1"]);
    assert_ne!(first, names, "other names");
    clock.advance(300 * DAY);
    let same = opened_with(dir.path(), &clock, &["10.0.0.1", "axle.example"]);
    assert_eq!(names, same, "time enough");
    clock.advance(80 * DAY);
    let renewed = opened_with(dir.path(), &clock, &["10.0.0.1", "axle.example"]);
    assert_ne!(same, renewed, "ends within 30 days");
}

#[test]
fn names_the_file_that_is_broken_or_does_not_fit() {
    let other = TempDir::new().unwrap();
    open(other.path()).unwrap();
    let foreign_key = std::fs::read(other.path().join("ca.key")).unwrap();
    for (file, contents, named) in [
        ("ca.key", Some(&b"garbage"[..]), "ca.key"),
        ("ca.crt", Some(b"garbage"), "ca.crt"),
        ("ca.crt", Some(b"\xff\xfe"), "ca.crt"),
        ("ca.key", Some(&foreign_key), "ca.crt"),
        ("ca.key", None, "ca.key"),
        ("server.key", Some(&foreign_key), "server.crt"),
        ("server.key", Some(b""), "server.key"),
    ] {
        let dir = TempDir::new().unwrap();
        open(dir.path()).unwrap();
        let path = dir.path().join(file);
        match contents {
            Some(contents) => std::fs::write(&path, contents).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = open(dir.path()).err().expect("refused");
        assert_eq!(error.kind, Kind::Corrupt, "{file}");
        assert!(error.message.contains(named), "{file}: {}", error.message);
    }
}

#[test]
fn a_start_that_was_cut_short_is_gone_on_with() {
    let dir = TempDir::new().unwrap();
    open(dir.path()).unwrap();
    std::fs::remove_file(dir.path().join("ca.crt")).unwrap();
    std::fs::remove_file(dir.path().join("server.crt")).unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn signs_for_the_device_that_it_is_told_whatever_the_request_says() {
    let dir = TempDir::new().unwrap();
    let authority = open(dir.path()).unwrap();
    let device = DeviceId::parse("b-1").unwrap();
    let (_, request) = new_key_and_request(&DeviceId::parse("somebody-else").unwrap()).unwrap();
    let issued = authority.issue(&device, &request).unwrap();
    assert_eq!(issued.certificate.device, device);
    let years = issued.certificate.not_after.micros_since(now()) / 1_000_000 / 86_400 / 364;
    assert_eq!(years, 5);
    let again = authority.issue(&device, &request).unwrap();
    assert_ne!(issued.certificate.fingerprint, again.certificate.fingerprint);
}

#[test]
fn requests_that_prove_nothing_are_refused() {
    let dir = TempDir::new().unwrap();
    let authority = open(dir.path()).unwrap();
    let device = DeviceId::parse("b-1").unwrap();
    let (_, good) = new_key_and_request(&device).unwrap();
    // A bit of the signature, which stands at the end, is turned over.
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let at = lines.len() - 2;
    let turned = if lines[at].starts_with('A') { "B" } else { "A" };
    lines[at].replace_range(0..1, turned);
    for bad in ["", "-----BEGIN CERTIFICATE REQUEST-----", &lines.join("\n"), &"x".repeat(20_000)] {
        let error = authority.issue(&device, bad).expect_err("refused");
        assert_eq!(error.kind, Kind::Invalid, "{}", error.message);
    }
    assert!(authority.issue(&device, &good).is_ok());
}

#[test]
fn keys_that_are_too_weak_or_too_odd_are_refused() {
    let dir = TempDir::new().unwrap();
    let authority = open(dir.path()).unwrap();
    let device = DeviceId::parse("b-1").unwrap();
    for (request, is_accepted, why) in [
        (include_str!("../fixtures/rsa1024.csr"), false, "RSA of 1024 bits"),
        (include_str!("../fixtures/rsa2048.csr"), true, "RSA of 2048 bits"),
        (include_str!("../fixtures/p521.csr"), false, "ECDSA P-521"),
        (include_str!("../fixtures/ed25519.csr"), true, "Ed25519"),
        (include_str!("../fixtures/ed448.csr"), false, "Ed448"),
        (include_str!("../fixtures/sha1.csr"), false, "signed with SHA-1"),
    ] {
        let issued = authority.issue(&device, request);
        assert_eq!(issued.is_ok(), is_accepted, "{why}: {:?}", issued.err());
        if let Err(error) = issued {
            assert_eq!(error.code, "certificate.request_invalid", "{why}");
        }
    }
}

#[test]
fn nothing_that_a_request_wishes_for_is_granted() {
    let dir = TempDir::new().unwrap();
    let authority = open(dir.path()).unwrap();
    let device = DeviceId::parse("b-1").unwrap();
    // It asks to be an authority, a server, and device b-2.
    let issued = authority.issue(&device, include_str!("../fixtures/wishes.csr")).unwrap();
    let der = CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=b-1");
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names, [GeneralName::URI("axle:device:b-1")]);
    assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
}
