//! The listener's files change while it serves: whom it believes, what it shows.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::CertificateAuthority;
use axle_domain::{ConnectionOutcome, DeviceId};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authorities::{Authority, Says, put};
use crate::certificates::try_connect;
use crate::client::Client;
use crate::world::{Credential, World};

/// What is revoked is refused after so long at most.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);
const NOT_AUTHORIZED: Option<u8> = Some(0x87);

/// Waits until something has become so.
async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let done = tokio::time::timeout(REFUSED_WITHIN, wait).await;
    assert!(done.is_ok(), "{what} within {REFUSED_WITHIN:?}");
}

fn config(world: &World, credential: &Credential) -> Arc<ClientConfig> {
    Arc::new(world.client_config(credential))
}

/// A customer's authority that registers its devices, believed by now.
async fn customer(world: &World) -> Authority {
    let acme = Authority::new("acme");
    put(world.data_dir(), "acme.toml", "devices = \"acme-*\"\nregister = true\nkind = \"bike\"\n");
    put(world.data_dir(), "acme.crt", &acme.certificate.pem());
    let first = config(world, &acme.sign(&Says::device("acme-0", 100)));
    eventually("acme is believed", || async {
        try_connect(world, &first, "acme-0").await == Some(0)
    })
    .await;
    acme
}

/// The certificate that the listener shows.
async fn shown(world: &World, credential: &Credential) -> Vec<u8> {
    let socket = TcpStream::connect(world.tls).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let config = config(world, credential);
    let stream = TlsConnector::from(config).connect(name, socket).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_new_server_certificate_is_shown_and_open_connections_stay() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let mut open = world.tls_client(&config(&world, &credential), true).await.unwrap();
    assert_eq!(open.connect("b-1").await, 0);
    let before = shown(&world, &credential).await;
    let path = world.data_dir().join("server.crt");
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nbroken").unwrap();
    eventually("the fault is known", || async { world.authority.standing().fault.is_some() }).await;
    let fault = world.authority.standing().fault.unwrap();
    assert!(fault.contains("server.crt"), "{fault}");
    assert_eq!(shown(&world, &credential).await, before, "the old one holds");
    assert!(world.counted("axle_mqtt_certificate_reloads_total", "failed") >= 1.0);
    // A new one from the authority, as the server makes it at start.
    std::fs::remove_file(&path).unwrap();
    let clock = world.clock.clone() as Arc<dyn axle_domain::port::Clock>;
    axle_mqtt::DeviceAuthority::open(world.data_dir(), &[], clock).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), good);
    eventually("the new one is shown", || async { shown(&world, &credential).await != before })
        .await;
    assert_eq!(world.authority.standing().fault, None);
    open.ping().await;
}

#[tokio::test]
async fn what_a_list_revokes_is_refused_new_resumed_and_open() {
    let world = World::new().await;
    let acme = customer(&world).await;
    let (lost, kept) =
        (acme.sign(&Says::device("acme-1", 7)), acme.sign(&Says::device("acme-2", 8)));
    let (lost_config, kept_config) = (config(&world, &lost), config(&world, &kept));
    let mut open = world.tls_client(&lost_config, true).await.unwrap();
    assert_eq!(open.connect("acme-1").await, 0);
    let mut other = world.tls_client(&kept_config, true).await.unwrap();
    assert_eq!(other.connect("acme-2").await, 0);
    assert_eq!(try_connect(&world, &lost_config, "acme-1/resumed").await, Some(0));
    put(world.data_dir(), "acme.crl", &acme.list(&[7]));
    let ended = tokio::time::timeout(REFUSED_WITHIN, open.disconnected()).await;
    assert_eq!(ended.expect("in time"), NOT_AUTHORIZED, "open");
    assert_eq!(try_connect(&world, &lost_config, "acme-1").await, None, "resumed");
    assert_eq!(try_connect(&world, &config(&world, &lost), "acme-1").await, None, "in full");
    other.ping().await;
    assert_eq!(try_connect(&world, &kept_config, "acme-2/more").await, Some(0));
    // A list that nobody here has signed is no reason to forget the one before.
    put(world.data_dir(), "acme.crl", &Authority::new("acme").list(&[8]));
    eventually("the fault is known", || async { world.authority.standing().fault.is_some() }).await;
    assert_eq!(try_connect(&world, &kept_config, "acme-2/more").await, Some(0));
    assert_eq!(try_connect(&world, &config(&world, &lost), "acme-1").await, None);
    put(world.data_dir(), "acme.crl", &acme.list(&[]));
    eventually("it is let in again", || async {
        try_connect(&world, &lost_config, "acme-1").await == Some(0)
    })
    .await;
}

#[tokio::test]
async fn who_is_believed_no_more_takes_its_devices_along() {
    let world = World::new().await;
    let acme = customer(&world).await;
    let credential = acme.sign(&Says::device("acme-1", 7));
    let mut open = world.tls_client(&config(&world, &credential), true).await.unwrap();
    assert_eq!(open.connect("acme-1").await, 0);
    for name in ["acme.toml", "acme.crt"] {
        std::fs::remove_file(world.data_dir().join("trust").join(name)).unwrap();
    }
    let ended = tokio::time::timeout(REFUSED_WITHIN, open.disconnected()).await;
    assert_eq!(ended.expect("in time"), NOT_AUTHORIZED);
    assert_eq!(try_connect(&world, &config(&world, &credential), "acme-1").await, None);
}

#[tokio::test]
async fn an_authority_speaks_for_its_own_devices_alone() {
    let world = World::new().await;
    world.add("b-1").await;
    let acme = customer(&world).await;
    let device = world.app.devices.get(&DeviceId::parse("acme-0").unwrap()).await.unwrap();
    assert_eq!(device.kind, "bike", "registered at its first connection");
    let bound = world.app.devices.certificates(&device.id).await.unwrap();
    assert_eq!(bound.len(), 1, "and its certificate bound");
    // Whoever it names, and whatever it puts beside its certificate.
    let mut clone = acme.sign(&Says::device("b-1", 9));
    assert_eq!(try_connect(&world, &config(&world, &clone), "b-1").await, NOT_AUTHORIZED);
    clone.chain.push(world.authority.root());
    assert_eq!(try_connect(&world, &config(&world, &clone), "b-1").await, NOT_AUTHORIZED);
    let filter = axle_domain::port::ConnectionFilter { limit: 10, ..Default::default() };
    let events = world.app.ports.connections.list_connections(filter).await.unwrap();
    let refused = |it: &&axle_domain::ConnectionEvent| {
        matches!(it.outcome, ConnectionOutcome::Refused { .. })
            && it.code == "certificate.not_mandated"
    };
    let refused = events.iter().find(refused).expect("the reason is told");
    assert!(refused.reason.contains("acme-*"), "{}", refused.reason);
    // A second certificate of a device that is known is bound, too.
    let renewed = acme.sign(&Says::device("acme-0", 10));
    assert_eq!(try_connect(&world, &config(&world, &renewed), "acme-0").await, Some(0));
    assert_eq!(world.app.devices.certificates(&device.id).await.unwrap().len(), 2);
    // And a device that was revoked does not come back by a new one.
    world.app.devices.revoke(&device.id).await.unwrap();
    let again = acme.sign(&Says::device("acme-0", 11));
    assert_eq!(try_connect(&world, &config(&world, &again), "acme-0").await, NOT_AUTHORIZED);
}

#[tokio::test]
async fn an_authority_without_a_mandate_names_nobody() {
    let world = World::new().await;
    world.add("acme-1").await;
    let acme = Authority::new("acme");
    put(world.data_dir(), "acme.crt", &acme.certificate.pem());
    let credential = acme.sign(&Says::device("acme-1", 7));
    let config = config(&world, &credential);
    eventually("acme is believed", || async {
        try_connect(&world, &config, "acme-1").await == NOT_AUTHORIZED
    })
    .await;
    let bound = acme.sign(&Says::device("whoever", 9));
    let text = pem("CERTIFICATE", &bound.chain[0]);
    let id = DeviceId::parse("acme-1").unwrap();
    world.app.devices.bind_certificate(&id, &text).await.unwrap();
    let bound = Arc::new(world.client_config(&bound));
    assert_eq!(try_connect(&world, &bound, "acme-1").await, Some(0), "bound to it");
    put(world.data_dir(), "acme.toml", "devices = \"acme-*\"\n");
    eventually("it has a mandate", || async {
        try_connect(&world, &config, "acme-1").await == Some(0)
    })
    .await;
    let stranger = acme.sign(&Says::device("acme-2", 8));
    let stranger = Arc::new(world.client_config(&stranger));
    assert_eq!(try_connect(&world, &stranger, "acme-2").await, NOT_AUTHORIZED, "not registered");
}

#[tokio::test]
async fn chains_lead_to_an_authority_or_nowhere() {
    let world = World::new().await;
    let acme = customer(&world).await;
    let (line, lost) = (acme.intermediate("acme line 1", 50), acme.intermediate("acme line 2", 51));
    let says = |serial| Says::device("acme-5", serial);
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    let mut torn = line.sign(&says(20));
    torn.chain.truncate(1);
    let foreign = Authority::new("acme").intermediate("acme line 1", 50);
    for (credential, is_let_in, why) in [
        (line.sign(&says(1)), true, "by an intermediate"),
        (torn, false, "without the intermediate"),
        (foreign.sign(&says(2)), false, "by a namesake"),
        (acme.sign(&Says { years: (2000, 2001), ..says(3) }), false, "expired"),
        (acme.sign(&Says { years: (3000, 4000), ..says(4) }), false, "not yet valid"),
        (acme.sign(&Says { usage: server, ..says(5) }), false, "for servers"),
    ] {
        let seen = try_connect(&world, &config(&world, &credential), "acme-5").await;
        assert_eq!(seen, is_let_in.then_some(0), "{why}");
    }
    let (by_line, by_lost) = (line.sign(&says(6)), lost.sign(&Says::device("acme-6", 7)));
    let mut open = world.tls_client(&config(&world, &by_lost), true).await.unwrap();
    assert_eq!(open.connect("acme-6").await, 0);
    put(world.data_dir(), "acme.crl", &acme.list(&[51]));
    let ended = tokio::time::timeout(REFUSED_WITHIN, open.disconnected()).await;
    assert_eq!(ended.expect("in time"), NOT_AUTHORIZED, "its intermediate was revoked");
    assert_eq!(try_connect(&world, &config(&world, &by_lost), "acme-6").await, None);
    assert_eq!(try_connect(&world, &config(&world, &by_line), "acme-5").await, Some(0));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_and_changes_nothing() {
    let world = World::new().await;
    let acme = customer(&world).await;
    let device = config(&world, &acme.sign(&Says::device("acme-1", 7)));
    let leaf = acme.sign(&Says::device("acme-9", 9));
    let leaf = pem("CERTIFICATE", &leaf.chain[0]);
    let namesake = Authority::new("acme").certificate.pem();
    let fault = || world.authority.standing().fault.unwrap_or_default();
    let mut last = String::new();
    for (name, text) in [
        ("acme.toml", "devices = \"a b\"\n"),
        ("acme.toml", "device = \"acme-*\"\n"),
        ("other.toml", "devices = \"*\"\n"),
        ("other.crt", "nothing"),
        ("other.crt", &leaf),
        ("other.crt", &namesake),
        ("other.crl", "nothing"),
        ("other.crl", &Authority::new("unknown").list(&[7])),
    ] {
        let path = world.data_dir().join("trust").join(name);
        let before = std::fs::read_to_string(&path).ok();
        put(world.data_dir(), name, text);
        let file = name.split('.').next().unwrap();
        eventually(name, || async { fault() != last && fault().contains(file) }).await;
        last = fault();
        assert_eq!(try_connect(&world, &device, "acme-1").await, Some(0), "{name}");
        match before {
            Some(before) => put(world.data_dir(), name, &before),
            None => std::fs::remove_file(&path).unwrap(),
        }
    }
    eventually("it is well again", || async { fault().is_empty() }).await;
}

fn pem(label: &str, der: &[u8]) -> String {
    // Wide lines are PEM to every reader that is used here.
    let body = der.chunks(48).map(base64_line).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn base64_line(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut line = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for index in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * index) & 63) as usize];
            line.push(if index <= group.len() { char::from(digit) } else { '=' });
        }
    }
    line
}

#[tokio::test]
async fn a_certificate_of_ours_is_revoked_by_a_list_too() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let mut open: Client = world.tls_client(&config(&world, &credential), true).await.unwrap();
    assert_eq!(open.connect("b-1").await, 0);
    let key = std::fs::read_to_string(world.data_dir().join("ca.key")).unwrap();
    let key = rcgen::KeyPair::from_pem(&key).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&world.authority.root(), key).unwrap();
    let serial = {
        let (_, parsed) = x509_parser::parse_x509_certificate(&credential.chain[0]).unwrap();
        parsed.raw_serial().to_vec()
    };
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(3000, 1, 1),
        crl_number: rcgen::SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from_slice(&serial),
            revocation_time: rcgen::date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    put(world.data_dir(), "ours.crl", &list.signed_by(&issuer).unwrap().pem().unwrap());
    let ended = tokio::time::timeout(REFUSED_WITHIN, open.disconnected()).await;
    assert_eq!(ended.expect("in time"), NOT_AUTHORIZED);
}
