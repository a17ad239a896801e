//! Behind a load balancer: its word is taken where it is trusted, and nowhere else.

use std::net::IpAddr;
use std::sync::Arc;

use axle_domain::port::ConnectionFilter;
use axle_domain::{ConnectionEvent, ConnectionOutcome, RefusalStage};
use axle_mqtt::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::connect_v5;
use crate::world::World;

const BALANCER: [u8; 4] = [127, 0, 0, 1];

async fn behind_a_balancer() -> World {
    let trusted_proxies = vec![IpAddr::from(BALANCER)];
    World::with(Settings { trusted_proxies, ..Settings::default() }).await
}

async fn newest(world: &World) -> ConnectionEvent {
    let connections = &world.app.ports.connections;
    connections.flush_connections().await.unwrap();
    let filter = ConnectionFilter { limit: 1, ..ConnectionFilter::default() };
    connections.list_connections(filter).await.unwrap().pop().expect("an event")
}

#[tokio::test]
async fn a_trusted_balancer_says_who_connects() {
    let world = behind_a_balancer().await;
    let credential = world.add_with_certificate("b-1").await;
    let config = Arc::new(world.client_config(&credential));
    let binary = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
        &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x22, 0xb3],
    ]
    .concat();
    for (header, address) in [
        (&b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 8883\r\n"[..], IpAddr::from([192, 0, 2, 9])),
        (&binary, IpAddr::from([192, 0, 2, 7])),
        (b"PROXY UNKNOWN\r\n", IpAddr::from(BALANCER)),
    ] {
        let mut client = world.tls_client_after(header, &config, true).await.unwrap();
        assert_eq!(client.connect_v5(connect_v5("b-1")).await.reason_code as u8, 0);
        client.ping().await;
        let event = newest(&world).await;
        assert_eq!((event.outcome, event.address), (ConnectionOutcome::Connected, address));
    }
}

#[tokio::test]
async fn a_trusted_balancer_that_names_nobody_is_refused() {
    let world = behind_a_balancer().await;
    for (first, code) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00"[..], "proxy.missing"),
        (b"PROXY TCP4 nobody nobody 1 1\r\n", "proxy.broken"),
    ] {
        let mut socket = TcpStream::connect(world.tls).await.unwrap();
        socket.write_all(first).await.unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "nothing is said to a balancer");
        let event = newest(&world).await;
        let refused = ConnectionOutcome::Refused { stage: RefusalStage::Tls };
        assert_eq!((event.outcome, event.code.as_str()), (refused, code));
        assert!(event.next_step.contains("mqtt.trusted_proxies"), "{}", event.next_step);
    }
}
