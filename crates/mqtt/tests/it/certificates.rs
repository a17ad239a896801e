//! Who gets in by certificate, and who does not.

use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::DeviceLink;
use axle_domain::{DeviceId, limit};
use rcgen::{
    Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, connect_v5};
use crate::world::{Credential, World};

/// The code of CONNACK, or `None` where the gateway does not get so far.
pub(crate) async fn try_connect(
    world: &World,
    config: &Arc<rustls::ClientConfig>,
    id: &str,
) -> Option<u8> {
    let mut client = world.tls_client(config, true).await.ok()?;
    client.send_v5(connect_v5(id)).await;
    match client.receive().await? {
        rmqtt_codec::MqttPacket::V5(rmqtt_codec::v5::Packet::ConnectAck(ack)) => {
            Some(ack.reason_code.into())
        }
        other => panic!("no CONNACK but {other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_of_the_authority_lets_its_device_in() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    world.add("b-2").await;
    let mut config = world.client_config(&credential);
    for (alpn, is_let_in) in [
        (None, true),
        (Some(&b"mqtt"[..]), true),
        (Some(b"x-amzn-mqtt-ca"), true),
        (Some(b"h2"), false),
    ] {
        config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
        let seen = try_connect(&world, &Arc::new(config.clone()), "b-1").await;
        assert_eq!(seen, is_let_in.then_some(0), "{alpn:?}");
    }
    config.alpn_protocols.clear();
    let config = Arc::new(config);
    for (id, code) in
        [("b-1/app", 0), ("b-2", 0x85), ("b-10", 0x85), ("b-1/", 0x85), ("b-1/a#", 0x85)]
    {
        assert_eq!(try_connect(&world, &config, id).await, Some(code), "{id}");
    }
    let mut client = world.tls_client(&config, true).await.unwrap();
    let welcome = client.connect_v5(connect_v5("")).await;
    assert!(welcome.assigned_client_id.unwrap().starts_with("b-1/"));
    client.publish("v1/d/b-1/t/ride", b"{}", 1).await;
    assert_eq!(client.puback().await, (1, 0));
}

#[tokio::test]
async fn tls_1_2_lets_in_too() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(world.authority.root()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(credential.chain.clone(), credential.key.clone_key())
        .unwrap();
    let config = Arc::new(config);
    assert_eq!(try_connect(&world, &config, "b-1").await, Some(0));
    world.app.devices.revoke(&DeviceId::parse("b-1").unwrap()).await.unwrap();
    assert_eq!(try_connect(&world, &config, "b-1").await, Some(0x87), "resumed");
}

#[tokio::test]
async fn a_revoked_device_is_out_at_once_also_with_a_session_ticket() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let device = DeviceId::parse("b-1").unwrap();
    let config = Arc::new(world.client_config(&credential));
    let mut client = world.tls_client(&config, true).await.unwrap();
    assert_eq!(client.connect("b-1").await, 0);
    // A second one resumes, so that the ticket is known to work.
    assert_eq!(try_connect(&world, &config, "b-1/second").await, Some(0));
    assert!(world.sessions.online_since(&device).is_some());
    world.app.devices.revoke(&device).await.unwrap();
    assert!(world.sessions.online_since(&device).is_none(), "closed before revoke returns");
    assert_eq!(client.disconnected().await, Some(0x98));
    assert_eq!(try_connect(&world, &config, "b-1").await, Some(0x87), "resumed");
    let fresh = Arc::new(world.client_config(&credential));
    assert_eq!(try_connect(&world, &fresh, "b-1").await, Some(0x87), "in full");
    assert!(world.counted("axle_mqtt_refused_connects_total", "not_authorized") >= 2.0);
}

#[tokio::test]
async fn an_unknown_device_gets_an_answer_and_no_entry() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let other = World::new().await;
    let (key, request) =
        axle_mqtt::new_key_and_request(&DeviceId::parse("stranger").unwrap()).unwrap();
    let issued = axle_domain::port::CertificateAuthority::issue(
        &*world.authority,
        &DeviceId::parse("stranger").unwrap(),
        &request,
    )
    .unwrap();
    let stranger = Credential::from_pem(&issued.pem, &key);
    let config = Arc::new(world.client_config(&stranger));
    assert_eq!(try_connect(&world, &config, "stranger").await, Some(0x87));
    // A good certificate of another authority is none here.
    let foreign = other.add_with_certificate("b-1").await;
    let config = Arc::new(world.client_config(&foreign));
    assert_eq!(try_connect(&world, &config, "b-1").await, None);
    let config = Arc::new(world.client_config(&credential));
    assert_eq!(try_connect(&world, &config, "b-1").await, Some(0));
}

/// What signs as the authority of a world does.
fn issuer_of(world: &World) -> Issuer<'static, KeyPair> {
    let key = std::fs::read_to_string(world.data_dir().join("ca.key")).unwrap();
    Issuer::from_ca_cert_der(&world.authority.root(), KeyPair::from_pem(&key).unwrap()).unwrap()
}

/// A certificate of `b-1` begins so.
fn params_of_b_1() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "b-1");
    params.subject_alt_names = vec![SanType::URI("axle:device:b-1".try_into().unwrap())];
    params
}

/// What becomes of `b-1` with a certificate and so many of the authority behind it.
async fn try_chain(
    world: &World,
    certificate: &Certificate,
    key: &KeyPair,
    behind: usize,
) -> Option<u8> {
    let mut chain = vec![certificate.der().clone()];
    chain.extend((0..behind).map(|_| world.authority.root()));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = Arc::new(world.client_config(&Credential { chain, key }));
    try_connect(world, &config, "b-1").await
}

struct Forged {
    days: (i32, i32),
    usage: ExtendedKeyUsagePurpose,
    is_self_signed: bool,
    intermediates: usize,
}

#[tokio::test]
async fn certificates_that_prove_nothing_end_in_the_handshake() {
    let world = World::new().await;
    let good = world.add_with_certificate("b-1").await;
    let issuer = issuer_of(&world);
    let client = || ExtendedKeyUsagePurpose::ClientAuth;
    let forged = |days, usage, is_self_signed, intermediates| Forged {
        days,
        usage,
        is_self_signed,
        intermediates,
    };
    for (forged, is_let_in, why) in [
        (forged((2020, 4000), client(), false, 0), true, "as the authority would"),
        (forged((2020, 4000), client(), true, 0), false, "self-signed"),
        (forged((2000, 2001), client(), false, 0), false, "expired"),
        (forged((3000, 4000), client(), false, 0), false, "not yet valid"),
        (forged((2020, 4000), ExtendedKeyUsagePurpose::ServerAuth, false, 0), false, "for servers"),
        (forged((2020, 4000), client(), false, 4), false, "a chain of five"),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut params = params_of_b_1();
        params.extended_key_usages = vec![forged.usage];
        params.not_before = date_time_ymd(forged.days.0, 1, 1);
        params.not_after = date_time_ymd(forged.days.1, 1, 1);
        let certificate = if forged.is_self_signed {
            params.self_signed(&key).unwrap()
        } else {
            params.signed_by(&key, &issuer).unwrap()
        };
        let seen = try_chain(&world, &certificate, &key, forged.intermediates).await;
        assert_eq!(seen, is_let_in.then_some(0), "{why}");
    }
    let config = Arc::new(world.client_config(&good));
    assert_eq!(try_connect(&world, &config, "b-1").await, Some(0), "others are not disturbed");
    assert!(world.counted("axle_mqtt_handshakes_total", "failed") >= 5.0);
}

#[tokio::test]
async fn t06_what_is_dear_to_check_is_refused_by_its_size() {
    let world = World::new().await;
    let good = world.add_with_certificate("b-1").await;
    let issuer = issuer_of(&world);
    // Names beside its own, of 30 bytes each, and certificates behind it: 16 KiB and four in all.
    for (names, behind, is_let_in) in
        [(0, 3, true), (400, 0, true), (400, 3, true), (600, 0, false), (0, 4, false)]
    {
        let key = KeyPair::generate().unwrap();
        let mut params = params_of_b_1();
        let more = (0..names).map(|it| format!("name-{it:06}.bikes.example.com").try_into());
        params.subject_alt_names.extend(more.map(|it| SanType::DnsName(it.unwrap())));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let seen = try_chain(&world, &certificate, &key, behind).await;
        assert_eq!(seen, is_let_in.then_some(0), "{names} names, {behind} behind");
    }
    let config = Arc::new(world.client_config(&good));
    assert_eq!(try_connect(&world, &config, "b-1").await, Some(0), "others are not disturbed");
}

#[tokio::test]
async fn a_client_without_a_certificate_reaches_no_mqtt() {
    let world = World::new().await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(world.authority.root()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    assert_eq!(try_connect(&world, &Arc::new(config), "b-1").await, None);
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let config = Arc::new(world.client_config(&credential));
    // Half a second before its end by the server's clock.
    let certificate = &world.app.devices.certificates(&DeviceId::parse("b-1").unwrap()).await;
    let not_after = certificate.as_ref().unwrap()[0].not_after;
    world.clock.set(not_after.shifted(-500_000));
    let mut client = world.tls_client(&config, true).await.unwrap();
    assert_eq!(client.connect("b-1").await, 0);
    assert_eq!(client.disconnected().await, Some(0x87));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(try_connect(&world, &config, "b-1").await, Some(0x87), "resumed after its end");
}

#[tokio::test]
async fn whoever_keeps_silent_is_shown_out() {
    let world = World::new().await;
    world.add("b-1").await;
    let began = tokio::time::Instant::now();
    let mut silent = TcpStream::connect(world.plain).await.unwrap();
    let mut slow = TcpStream::connect(world.plain).await.unwrap();
    slow.write_all(b"\x10\x0f\x00\x04MQ").await.unwrap();
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.unwrap();
    slow.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    let waited = began.elapsed();
    let most = limit::CONNECT_TIME_MAX + Duration::from_secs(2);
    assert!(waited >= limit::CONNECT_TIME_MAX && waited < most, "{waited:?}");
    Client::connected(&world, "b-1", true).await.ping().await;
}
