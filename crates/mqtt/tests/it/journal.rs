//! Why it cannot connect: every end and every refusal leaves an event that says so.

use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{ConnectionFilter, DeviceLink};
use axle_domain::{
    ConnectionEvent, ConnectionOutcome, DeviceId, Fingerprint, ProtocolVersion, RefusalStage,
};
use axle_mqtt::Settings;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::ClientConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{Client, connect_v5};
use crate::world::{Credential, World};

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn print_of(credential: &Credential) -> Option<Fingerprint> {
    let own = credential.chain.first()?;
    Some(Fingerprint(Sha256::digest(own).into()))
}

/// All events, oldest first, once there are so many.
async fn events(world: &World, count: usize) -> Vec<ConnectionEvent> {
    let wait = async {
        loop {
            let filter = ConnectionFilter { limit: 1000, ..ConnectionFilter::default() };
            let mut events = world.app.ports.connections.list_connections(filter).await.unwrap();
            if events.len() >= count {
                events.reverse();
                return events;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("events in time")
}

async fn one(world: &World) -> ConnectionEvent {
    let mut events = events(world, 1).await;
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

#[track_caller]
fn check(event: &ConnectionEvent, stage: RefusalStage, code: &str, words: &str) {
    assert_eq!(event.outcome, ConnectionOutcome::Refused { stage }, "{event:?}");
    assert_eq!(event.code, code, "{event:?}");
    assert!(event.reason.contains(words), "`{words}` in `{}`", event.reason);
    assert!(!event.next_step.is_empty(), "{event:?}");
    assert_eq!(event.address, std::net::IpAddr::from([127, 0, 0, 1]));
}

struct Forged {
    days: (i32, i32),
    usage: ExtendedKeyUsagePurpose,
    intermediates: usize,
}

fn forge(world: &World, device: &str, forged: Forged) -> Credential {
    let ca_key = std::fs::read_to_string(world.data_dir().join("ca.key")).unwrap();
    let issuer =
        Issuer::from_ca_cert_der(&world.authority.root(), KeyPair::from_pem(&ca_key).unwrap())
            .unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        vec![SanType::URI(format!("axle:device:{device}").try_into().unwrap())];
    params.extended_key_usages = vec![forged.usage];
    params.not_before = date_time_ymd(forged.days.0, 1, 1);
    params.not_after = date_time_ymd(forged.days.1, 1, 1);
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let mut chain = vec![certificate.der().clone()];
    chain.extend((0..forged.intermediates).map(|_| world.authority.root()));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Credential { chain, key }
}

/// Connects with TLS and waits until the gateway hangs up.
async fn knock(world: &World, config: ClientConfig) {
    let Ok(mut client) = world.tls_client(&Arc::new(config), true).await else { return };
    client.send_v5(connect_v5("b-1")).await;
    drop(client.receive_all().await);
}

/// A client that shows what it has without a look at it.
#[derive(Debug)]
struct Unchecked(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Unchecked {
    fn resolve(
        &self,
        _hints: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Shows these certificates and signs with this key, whether they belong together or not.
async fn showing(world: &World, Credential { chain, key }: &Credential) -> ClientConfig {
    let key = rustls::crypto::ring::sign::any_supported_type(key).unwrap();
    let shown = rustls::sign::CertifiedKey::new(chain.clone(), key);
    let mut config = world.client_config(&world.add_with_certificate("b-0").await);
    config.client_auth_cert_resolver = Arc::new(Unchecked(Arc::new(shown)));
    config
}

#[tokio::test]
async fn a_certificate_that_does_not_pass_is_named_with_its_fault() {
    let client = || ExtendedKeyUsagePurpose::ClientAuth;
    let forged = |days, usage, intermediates| Forged { days, usage, intermediates };
    for (forged, code, words) in [
        (forged((2000, 2001), client(), 0), "tls.expired", "has ended"),
        (forged((3000, 3001), client(), 0), "tls.not_yet_valid", "has not begun"),
        (
            forged((2020, 4000), ExtendedKeyUsagePurpose::ServerAuth, 0),
            "tls.wrong_purpose",
            "clientAuth",
        ),
        (forged((2020, 4000), client(), 4), "tls.chain_too_large", "more than 4"),
    ] {
        let world = World::new().await;
        let credential = forge(&world, "b-1", forged);
        knock(&world, world.client_config(&credential)).await;
        let event = one(&world).await;
        check(&event, RefusalStage::Tls, code, words);
        // The device is what the certificate says: nothing has proved it.
        assert_eq!((event.device, event.is_proved), (Some(id("b-1")), false), "{code}");
        assert_eq!(event.fingerprint, print_of(&credential), "{code}");
    }
}

/// What `openssl x509 -req` makes of a request for `b-1` without a file of extensions.
const VERSION_1: &str = "
-----BEGIN CERTIFICATE-----
MIIBGTCBvwIUUexddgU+v7gYSGRAMviXPbGd210wCgYIKoZIzj0EAwIwDjEMMAoG
A1UEAwwDYi0xMCAXDTI2MTEyMTE2Mzg1MVoYDzIxMjYxMDI4MTYzODUxWjAOMQww
CgYDVQQDDANiLTEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARK7PKd3T3bdN6x
Rh/RI/1G65YFaeZ4ZuaSfjKrMhyebw2lj/d6drVmB7n7IarCFdydD3o93vM0wHRr
QgL5JgvMMAoGCCqGSM49BAMCA0kAMEYCIQDhfuwd3Y3r3H2l5/hQnaUgHW2h5j0J
CumIO9uYH5Zt6wIhAMH6/MY/5kX98PmyuiMcZuLtxS+kq5izi2i0DPXvYfEJ
-----END CERTIFICATE-----
";
const VERSION_1_KEY: &str = "
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOKw7Pdd4Uhp1C2nB
JBXf3OCr1YxFL+AUOCZpL2pCit6hRANCAARK7PKd3T3bdN6xRh/RI/1G65YFaeZ4
ZuaSfjKrMhyebw2lj/d6drVmB7n7IarCFdydD3o93vM0wHRrQgL5JgvM
-----END PRIVATE KEY-----
";

#[tokio::test]
async fn a_certificate_without_extensions_is_named_with_its_version() {
    let world = World::new().await;
    let credential = Credential::from_pem(VERSION_1, VERSION_1_KEY);
    knock(&world, showing(&world, &credential).await).await;
    let event = one(&world).await;
    check(&event, RefusalStage::Tls, "tls.certificate_version", "version 1");
    assert_eq!((event.device, event.is_proved), (Some(id("b-1")), false));
}

#[tokio::test]
async fn an_unknown_authority_is_named() {
    let authority = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    for (is_ca, code, words) in [
        (rcgen::IsCa::NoCa, "tls.unknown_authority", "`Acme\\nRoot`"),
        (authority, "tls.self_signed", "an authority's own"),
    ] {
        let world = World::new().await;
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Acme\nRoot");
        params.is_ca = is_ca;
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let credential = Credential { chain: vec![certificate.der().clone()], key };
        knock(&world, world.client_config(&credential)).await;
        let event = one(&world).await;
        check(&event, RefusalStage::Tls, code, words);
        assert_eq!(event.fingerprint, print_of(&credential));
    }
}

#[tokio::test]
async fn the_authority_of_another_server_is_told_apart() {
    let (world, other) = (World::new().await, World::new().await);
    let foreign = other.add_with_certificate("b-1").await;
    knock(&world, world.client_config(&foreign)).await;
    let event = one(&world).await;
    check(&event, RefusalStage::Tls, "tls.other_authority", "axle device authority");
    assert_eq!((event.device, event.is_proved), (Some(id("b-1")), false));
}

#[tokio::test]
async fn a_key_of_another_certificate_is_told_apart() {
    let world = World::new().await;
    let first = world.add_with_certificate("b-1").await;
    let second = world.add_with_certificate("b-2").await;
    knock(&world, showing(&world, &Credential { chain: first.chain, key: second.key }).await).await;
    check(&one(&world).await, RefusalStage::Tls, "tls.key_mismatch", "does not hold the key");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_told_to_have_one() {
    let world = World::new().await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(world.authority.root()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    knock(&world, config).await;
    let event = one(&world).await;
    check(&event, RefusalStage::Tls, "tls.no_certificate", "sent no certificate");
    assert_eq!((event.device, event.fingerprint), (None, None));
}

#[tokio::test]
async fn another_protocol_on_the_port_with_tls_is_recognized() {
    for (bytes, code, words) in [
        (&b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03b-1"[..], "tls.plain_mqtt", "10 0f 00 04"),
        (b"GET / HTTP/1.1\r\n\r\n", "tls.plain_http", "HTTP"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n", "tls.proxy_header", "not trusted"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "tls.proxy_header", "not trusted"),
        (b"hello, is somebody there?", "tls.not_tls", "68 65 6c 6c"),
    ] {
        let world = World::new().await;
        let mut socket = TcpStream::connect(world.tls).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        drop(socket.read_to_end(&mut Vec::new()).await);
        check(&one(&world).await, RefusalStage::Tls, code, words);
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_server_is_recognized() {
    for (name, code, words) in [
        ("localhost", "tls.server_distrusted", "does not trust this server"),
        ("broker.example.org", "tls.server_name", "broker.example.org"),
    ] {
        let (world, other) = (World::new().await, World::new().await);
        let credential = world.add_with_certificate("b-1").await;
        // It trusts another authority; or this one, but for another name.
        let mut config = match name {
            "localhost" => other.client_config(&credential),
            _ => world.client_config(&credential),
        };
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        let socket = TcpStream::connect(world.tls).await.unwrap();
        let server = ServerName::try_from(name).unwrap();
        let connected = TlsConnector::from(Arc::new(config)).connect(server, socket).await;
        assert!(connected.is_err(), "{name}");
        check(&one(&world).await, RefusalStage::Tls, code, words);
    }
}

#[tokio::test]
async fn who_only_looks_whether_somebody_is_here_leaves_no_event() {
    let world = World::new().await;
    drop(TcpStream::connect(world.tls).await.unwrap());
    let mut socket = TcpStream::connect(world.tls).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    drop(socket.read_to_end(&mut Vec::new()).await);
    assert_eq!(one(&world).await.code, "tls.plain_http");
}

#[tokio::test]
async fn the_registrys_reason_is_kept_with_device_and_certificate() {
    let world = World::new().await;
    let revoked = world.add_with_certificate("b-1").await;
    world.app.devices.revoke(&id("b-1")).await.unwrap();
    let stranger = forge(
        &world,
        "stranger",
        Forged { days: (2020, 4000), usage: ExtendedKeyUsagePurpose::ClientAuth, intermediates: 0 },
    );
    for (credential, device, code) in
        [(revoked, "b-1", "certificate.revoked"), (stranger, "stranger", "device.unknown")]
    {
        let mut client =
            world.tls_client(&Arc::new(world.client_config(&credential)), true).await.unwrap();
        assert_eq!(client.connect(device).await, 0x87);
        let filter = ConnectionFilter { device: Some(id(device)), limit: 9, ..Default::default() };
        let seen = world.app.ports.connections.list_connections(filter).await.unwrap();
        assert_eq!(seen.len(), 1, "{seen:?}");
        check(&seen[0], RefusalStage::Authorization, code, "");
        assert!(seen[0].is_proved, "{code}");
        assert_eq!(seen[0].fingerprint, print_of(&credential));
        assert_eq!(seen[0].protocol, Some(ProtocolVersion::Mqtt5));
        assert_eq!(seen[0].client_id, device);
    }
}

#[tokio::test]
async fn the_client_id_of_another_device_is_named() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    world.add("b-2").await;
    let config = Arc::new(world.client_config(&credential));
    for (client_id, code, words) in [
        ("b-2", "mqtt.client_id_of_another", "of device `b-2`, and the certificate of `b-1`"),
        ("b-10", "mqtt.client_id", "does not begin with `b-1/`"),
    ] {
        let mut client = world.tls_client(&config, true).await.unwrap();
        assert_eq!(client.connect(client_id).await, 0x85);
        let seen = events(&world, 1).await;
        let event = seen.iter().find(|event| event.client_id == client_id).unwrap();
        check(event, RefusalStage::Authorization, code, words);
        assert_eq!((event.device.clone(), event.is_proved), (Some(id("b-1")), true));
    }
}

#[tokio::test]
async fn a_first_packet_that_cannot_be_read_is_described() {
    for (bytes, code, words) in [
        (&b"\xc0\x00"[..], "mqtt.not_connect_first", "not PINGREQ"),
        (b"\x10\x10\x00\x06MQIsdp\x03\x02\0\x3c\0\x02b1", "mqtt.version", "3.1.1 and 5.0"),
        (b"\x10\x0f\x00\x04MQTT\x04\x03\x00\x3c\x00\x03b-1", "mqtt.flags", "reserved bits"),
        (b"\x16\x03\x01\x00\xf0", "mqtt.tls_on_plain_port", "TLS on the port without"),
        (b"GET / HTTP/1.1\r\n\r\n", "mqtt.http_on_mqtt_port", "HTTP"),
    ] {
        let world = World::new().await;
        let mut socket = world.plain_socket().await;
        socket.write_all(bytes).await.unwrap();
        drop(socket.read_to_end(&mut Vec::new()).await);
        check(&one(&world).await, RefusalStage::Connect, code, words);
    }
}

#[tokio::test]
async fn the_life_of_a_connection_is_kept_with_its_messages_and_its_end() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let config = Arc::new(world.client_config(&credential));
    let mut client = world.tls_client(&config, true).await.unwrap();
    assert_eq!(client.connect("b-1/app").await, 0);
    client.subscribe(&["v1/d/b-1/c/#"]).await;
    for packet_id in [1, 2, 0] {
        client.publish("v1/d/b-1/t/ride", b"{}", packet_id).await;
    }
    let sent = world.sessions.send(&id("b-1"), "v1/d/b-1/c/k/x".to_owned(), vec![1]).await;
    assert!(sent.is_ok());
    // Acknowledgements and the message down come in any order.
    for _ in 0..3 {
        client.receive().await.unwrap();
    }
    client.ping().await;
    world.clock.advance(Duration::from_secs(7));
    client.send_bytes(&[0xe0, 0]).await;
    let seen = events(&world, 2).await;
    assert_eq!(seen[0].outcome, ConnectionOutcome::Connected);
    assert_eq!((seen[0].code.as_str(), seen[0].is_proved), ("", true));
    let ended =
        ConnectionOutcome::Disconnected { lasted: Duration::from_secs(7), received: 3, sent: 1 };
    assert_eq!((seen[1].outcome, seen[1].code.as_str()), (ended, "mqtt.goodbye"));
    for event in &seen {
        assert_eq!(event.device, Some(id("b-1")));
        assert_eq!(event.fingerprint, print_of(&credential));
        assert_eq!(event.client_id, "b-1/app");
        assert_eq!(event.protocol, Some(ProtocolVersion::Mqtt5));
    }
}

#[tokio::test]
async fn each_way_to_end_has_its_code() {
    let mut world = World::new().await;
    let device = world.add("b-1").await;
    // Two of one client id: the first has to leave.
    let mut first = Client::connected(&world, "b-1", true).await;
    let second = Client::connected(&world, "b-1", true).await;
    assert_eq!(first.disconnected().await, Some(0x8e));
    // One that hangs up, one that sends what it may not, one that is silent.
    drop(second);
    let mut bad = Client::connected(&world, "b-1/bad", true).await;
    bad.send_bytes(b"\x82\x03\x00\x01\x00").await;
    assert_eq!(bad.disconnected().await, Some(0x82));
    // MQTT 3.1.1 cannot be told that it may not write there.
    let mut meddler = Client::connected(&world, "b-1/meddler", false).await;
    meddler.publish("v1/d/b-2/t/ride", b"{}", 1).await;
    assert_eq!(meddler.disconnected().await, None);
    let mut silent = Client::plain(&world, true).await;
    let connect = rmqtt_codec::v5::Connect { keep_alive: 1, ..connect_v5("b-1/silent") };
    silent.connect_v5(connect).await;
    assert_eq!(silent.disconnected().await, Some(0x8d));
    let mut revoked = Client::connected(&world, "b-1/revoked", true).await;
    world.app.devices.revoke(&device).await.unwrap();
    assert_eq!(revoked.disconnected().await, Some(0x98));
    world.add("b-2").await;
    let mut last = Client::connected(&world, "b-2", true).await;
    world.end().await;
    assert_eq!(last.disconnected().await, Some(0x8b));
    let seen = events(&world, 1).await;
    for (client_id, code) in [
        ("b-1", "mqtt.taken_over"),
        ("b-1", "mqtt.hung_up"),
        ("b-1/bad", "mqtt.no_filters"),
        ("b-1/meddler", "mqtt.topic_denied"),
        ("b-1/silent", "mqtt.keep_alive"),
        ("b-1/revoked", "mqtt.administrative"),
        ("b-2", "mqtt.shutting_down"),
    ] {
        let is_it = |event: &&ConnectionEvent| event.client_id == client_id && event.code == code;
        assert!(seen.iter().any(|event| is_it(&event)), "{client_id} {code} in {seen:?}");
    }
}

#[tokio::test]
async fn one_too_many_that_has_not_said_who_it_is_leaves_an_event() {
    let world = World::with(Settings { unauthenticated_max: 1, ..Settings::default() }).await;
    let mut waiting = world.plain_socket().await;
    // It holds the only place from its first byte on.
    waiting.write_all(b"\x10").await.unwrap();
    let mut turned = world.plain_socket().await;
    drop(turned.read_to_end(&mut Vec::new()).await);
    check(&one(&world).await, RefusalStage::Tls, "mqtt.unauthenticated_full", "more than 1");
}
