//! MQTT over WebSocket (MQTT 5.0, chapter 6), with a WebSocket library on the client's side.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::client::Client;
use crate::world::World;

const RIDE: &str = "v1/d/b-1/t/ride";
/// CONNECT of MQTT 5, clean start, keep alive 60, client id b-1.
const CONNECT: &[u8] = b"\x10\x10\0\x04MQTT\x05\x02\0\x3c\0\0\x03b-1";

type Frames = WebSocketStream<TlsStream<TcpStream>>;

/// A world with device b-1, and a socket of it on the listener for HTTPS.
async fn device() -> (World, TlsStream<TcpStream>) {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let config = Arc::new(world.client_config(&credential));
    let socket = TcpStream::connect(world.web).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(config).connect(name, socket).await.unwrap();
    (world, stream)
}

async fn upgrade(
    stream: TlsStream<TcpStream>,
    path: &str,
    protocols: Option<&'static str>,
) -> Result<(Frames, Response<Option<Vec<u8>>>), Error> {
    let mut request = format!("wss://localhost{path}").into_client_request().unwrap();
    if let Some(protocols) = protocols {
        let protocols = HeaderValue::from_static(protocols);
        request.headers_mut().insert("sec-websocket-protocol", protocols);
    }
    client_async(request, stream).await
}

async fn frames() -> (World, Frames) {
    let (world, stream) = device().await;
    let (frames, _) = upgrade(stream, "/mqtt", Some("mqtt")).await.unwrap();
    (world, frames)
}

async fn next(frames: &mut Frames) -> Message {
    let next = tokio::time::timeout(Duration::from_secs(8), frames.next());
    next.await.expect("a frame in time").unwrap().unwrap()
}

/// The code that the gateway closes with.
async fn closed(frames: &mut Frames) -> CloseCode {
    loop {
        match next(frames).await {
            Message::Close(Some(frame)) => return frame.code,
            Message::Binary(_) => {}
            other => panic!("no end but {other:?}"),
        }
    }
}

async fn send(frames: &mut Frames, bytes: &[u8]) {
    frames.send(Message::Binary(Bytes::copy_from_slice(bytes))).await.unwrap();
}

fn publish(packet_id: u8) -> Vec<u8> {
    let mut packet = vec![0x32, 22, 0, 15];
    packet.extend_from_slice(RIDE.as_bytes());
    packet.extend_from_slice(&[0, packet_id, 0, b'{', b'}']);
    packet
}

#[tokio::test]
async fn mqtt_6_0_0_2_packets_need_not_begin_or_end_with_a_frame() {
    let (world, mut frames) = frames().await;
    for byte in CONNECT {
        send(&mut frames, &[*byte]).await;
    }
    let Message::Binary(connack) = next(&mut frames).await else { panic!("no binary frame") };
    assert_eq!((connack[0], connack[3]), (0x20, 0), "CONNACK: come in");
    let both = [publish(1), publish(2)].concat();
    let (first, second) = both.split_at(30);
    send(&mut frames, first).await;
    send(&mut frames, second).await;
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 8 {
        match next(&mut frames).await {
            Message::Binary(bytes) => acknowledged.extend_from_slice(&bytes),
            other => panic!("no binary frame but {other:?}"),
        }
    }
    assert_eq!(acknowledged, [0x40, 2, 0, 1, 0x40, 2, 0, 2]);
    assert_eq!(world.records(2).await.len(), 2);
}

#[tokio::test]
async fn mqtt_6_0_0_3_and_4_the_subprotocol_is_mqtt() {
    for offered in ["mqtt", "mqttv3.1, mqtt"] {
        let (_world, stream) = device().await;
        let (_, response) = upgrade(stream, "/mqtt", Some(offered)).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
    }
    for (path, offered, status) in
        [("/mqtt", None, 400), ("/mqtt", Some("mqttv3.1"), 400), ("/", Some("mqtt"), 404)]
    {
        let (world, stream) = device().await;
        match upgrade(stream, path, offered).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), status, "{path}"),
            other => panic!("no refusal but {:?}", other.map(|_| ())),
        }
        let refused = async {
            while world.counted("axle_mqtt_refused_connects_total", "websocket") < 1.0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(8), refused).await.expect("it is counted");
    }
}

#[tokio::test]
async fn mqtt_6_0_0_1_a_text_frame_ends_the_connection() {
    let (_world, mut frames) = frames().await;
    send(&mut frames, CONNECT).await;
    assert!(matches!(next(&mut frames).await, Message::Binary(_)));
    frames.send(Message::Text("PINGREQ".into())).await.unwrap();
    assert_eq!(closed(&mut frames).await, CloseCode::Unsupported);
}

#[tokio::test]
async fn m04_frames_that_are_none_or_too_large_end_the_connection() {
    let (_world, mut frames) = frames().await;
    send(&mut frames, CONNECT).await;
    assert!(matches!(next(&mut frames).await, Message::Binary(_)));
    // Only the head of a frame of a gigabyte, so nothing was kept for it.
    let huge = [0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4];
    frames.get_mut().write_all(&huge).await.unwrap();
    assert_eq!(closed(&mut frames).await, CloseCode::Size);

    let (_world, mut frames) = self::frames().await;
    send(&mut frames, CONNECT).await;
    assert!(matches!(next(&mut frames).await, Message::Binary(_)));
    // Clients must mask (RFC 6455, 5.1).
    frames.get_mut().write_all(&[0x82, 2, 0xc0, 0]).await.unwrap();
    assert_eq!(closed(&mut frames).await, CloseCode::Protocol);
}

#[tokio::test]
async fn what_is_no_packet_is_refused_in_words_and_closed() {
    let (_world, mut frames) = frames().await;
    send(&mut frames, CONNECT).await;
    assert!(matches!(next(&mut frames).await, Message::Binary(_)));
    send(&mut frames, CONNECT).await;
    let Message::Binary(disconnect) = next(&mut frames).await else { panic!("no DISCONNECT") };
    assert_eq!((disconnect[0], disconnect[2]), (0xe0, 0x82));
    assert_eq!(closed(&mut frames).await, CloseCode::Normal);
}

#[tokio::test]
async fn the_certificate_names_the_device_here_too() {
    let (world, stream) = device().await;
    world.add("b-2").await;
    let (mut frames, _) = upgrade(stream, "/mqtt", Some("mqtt")).await.unwrap();
    let foreign: Vec<u8> = [&CONNECT[..CONNECT.len() - 1], b"2"].concat();
    send(&mut frames, &foreign).await;
    let Message::Binary(connack) = next(&mut frames).await else { panic!("no CONNACK") };
    assert_eq!((connack[0], connack[3]), (0x20, 0x85));
}

#[tokio::test]
async fn a_client_of_any_kind_works_over_it() {
    let (world, frames) = frames().await;
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let pump = tokio::spawn(async move {
        let (mut sink, mut stream) = frames.split();
        let mut buffer = [0; 1000];
        loop {
            tokio::select! {
                read = far.read(&mut buffer) => match read {
                    Ok(count) if count > 0 => {
                        let bytes = Bytes::copy_from_slice(&buffer[..count]);
                        sink.send(Message::Binary(bytes)).await.unwrap();
                    }
                    _ => return,
                },
                message = stream.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => far.write_all(&bytes).await.unwrap(),
                    _ => return,
                },
            }
        }
    });
    let mut client = Client::new(Box::new(near), true);
    assert_eq!(client.connect("b-1").await, 0);
    assert_eq!(client.subscribe(&["v1/d/b-1/c/#"]).await, [1]);
    let large = vec![b' '; 100_000];
    for packet_id in 1..=50 {
        client.publish(RIDE, &large, packet_id).await;
    }
    for packet_id in 1..=50 {
        assert_eq!(client.puback().await, (packet_id, 0));
    }
    client.ping().await;
    assert_eq!(world.records(50).await.len(), 50);
    drop(client);
    pump.await.unwrap();
}

#[tokio::test]
async fn t03_who_asks_a_listener_for_the_protocol_of_another_is_refused() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let names: [(&[u8], bool, bool); 5] = [
        (b"mqtt", true, false),
        (b"x-amzn-mqtt-ca", true, false),
        (b"http/1.1", false, true),
        (b"h2", false, false),
        (b"", true, true),
    ];
    for (name, is_good, is_web_good) in names {
        let mut config = world.client_config(&credential);
        config.alpn_protocols = if name.is_empty() { Vec::new() } else { vec![name.to_vec()] };
        let config = Arc::new(config);
        for (address, is_good) in [(world.tls, is_good), (world.web, is_web_good)] {
            let socket = TcpStream::connect(address).await.unwrap();
            let server = ServerName::try_from("localhost").unwrap();
            let shaken = TlsConnector::from(Arc::clone(&config)).connect(server, socket).await;
            assert_eq!(shaken.is_ok(), is_good, "{}", name.escape_ascii());
        }
    }
}

/// Connects with TLS, reads what the listener says of itself, and goes.
async fn handshake(address: std::net::SocketAddr, config: &Arc<ClientConfig>) -> HandshakeKind {
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, socket).await.unwrap();
    // The tickets of TLS 1.3 come behind the handshake, before the answer to what is no MQTT.
    stream.write_all(b"\xf0\0\r\n\r\n").await.unwrap();
    let mut end = Vec::new();
    drop(stream.read_to_end(&mut end).await);
    stream.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn t13_a_ticket_of_one_listener_is_worth_nothing_at_another() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    for (first, other) in [(world.tls, world.web), (world.web, world.tls)] {
        let config = Arc::new(world.client_config(&credential));
        assert_eq!(handshake(first, &config).await, HandshakeKind::Full);
        assert_eq!(handshake(first, &config).await, HandshakeKind::Resumed, "{first}");
        assert_eq!(handshake(other, &config).await, HandshakeKind::Full, "{other}");
    }
}
