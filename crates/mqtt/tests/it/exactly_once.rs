//! Publishes at QoS 2 from a client, packet by packet. Tests are named after the clauses of MQTT
//! 5.0 that they hold the gateway to; [MQTT-4.3.3-2] of 3.1.1 says the same.

use axle_domain::limit;

use crate::client::Client;
use crate::world::World;

const RIDE: &str = "v1/d/b-1/t/ride";
const VERSIONS: [bool; 2] = [false, true];

/// A PUBLISH at QoS 2.
pub(crate) fn publish(is_v5: bool, topic: &str, packet_id: u16, is_duplicate: bool) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(&packet_id.to_be_bytes());
    if is_v5 {
        body.push(0);
    }
    body.extend_from_slice(b"{}");
    let first = 0x34 | (u8::from(is_duplicate) << 3);
    let mut packet = vec![first, u8::try_from(body.len()).unwrap()];
    packet.append(&mut body);
    packet
}

pub(crate) fn ack(first: u8, packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    [first, 2, high, low]
}

pub(crate) async fn expect(client: &mut Client, bytes: &[u8], what: &str) {
    assert_eq!(client.receive_bytes(bytes.len()).await, bytes, "{what}");
}

#[tokio::test]
async fn mqtt_4_3_3_8_pubrec_only_after_the_sync() {
    for is_v5 in VERSIONS {
        let world = World::new().await;
        world.add("b-1").await;
        world.log.hold();
        let mut client = Client::connected(&world, "b-1", is_v5).await;
        client.send_bytes(&publish(is_v5, RIDE, 7, false)).await;
        // The answer to the ping overtakes: the publish was read and is not durable.
        client.ping().await;
        world.log.commit();
        expect(&mut client, &ack(0x50, 7), "PUBREC").await;
        let records = world.records(1).await;
        assert_eq!((records.len(), records[0].qos), (1, 2));
    }
}

#[tokio::test]
async fn mqtt_4_3_3_9_a_refused_packet_id_is_not_kept() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut client = Client::connected(&world, "b-1", true).await;
    for _ in 0..2 {
        client.send_bytes(&publish(true, "v1/d/b-2/t/ride", 7, false)).await;
        let head = client.receive_bytes(2).await;
        let body = client.receive_bytes(usize::from(head[1])).await;
        assert_eq!((head[0], &body[..3]), (0x50, &[0, 7, 0x87][..]), "PUBREC says no");
    }
    client.send_bytes(&publish(true, RIDE, 7, false)).await;
    expect(&mut client, &ack(0x50, 7), "PUBREC of a new message").await;
    assert_eq!((world.messages(1).await.len(), world.rejected().await), (1, 2));
}

#[tokio::test]
async fn mqtt_4_3_3_10_what_comes_again_before_pubrel_is_stored_once() {
    for is_v5 in VERSIONS {
        let world = World::new().await;
        world.add("b-1").await;
        world.log.hold();
        let mut client = Client::connected(&world, "b-1", is_v5).await;
        client.send_bytes(&publish(is_v5, RIDE, 7, false)).await;
        client.send_bytes(&publish(is_v5, RIDE, 7, true)).await;
        // Not even the repetition is acknowledged before the message is safe.
        client.ping().await;
        world.log.commit();
        expect(&mut client, &ack(0x50, 7), "PUBREC").await;
        expect(&mut client, &ack(0x50, 7), "PUBREC of the repetition").await;
        client.send_bytes(&publish(is_v5, RIDE, 7, true)).await;
        expect(&mut client, &ack(0x50, 7), "PUBREC, now at once").await;
        client.publish(RIDE, b"{}", 8).await;
        client.ping().await;
        assert_eq!(world.log_length(), 2, "one at QoS 2, one at QoS 1");
    }
}

#[tokio::test]
async fn mqtt_4_3_3_11_and_12_pubrel_is_answered_and_frees_the_packet_id() {
    for is_v5 in VERSIONS {
        let world = World::new().await;
        world.add("b-1").await;
        let mut client = Client::connected(&world, "b-1", is_v5).await;
        for _ in 0..2 {
            client.send_bytes(&publish(is_v5, RIDE, 7, false)).await;
            expect(&mut client, &ack(0x50, 7), "PUBREC").await;
            client.send_bytes(&ack(0x62, 7)).await;
            expect(&mut client, &ack(0x70, 7), "PUBCOMP").await;
        }
        assert_eq!(world.records(2).await.len(), 2, "the second was a new message");
    }
}

#[tokio::test]
async fn mqtt_3_7_2_1_a_released_packet_id_is_not_found_again() {
    for is_v5 in VERSIONS {
        let world = World::new().await;
        world.add("b-1").await;
        let mut client = Client::connected(&world, "b-1", is_v5).await;
        client.send_bytes(&publish(is_v5, RIDE, 7, false)).await;
        expect(&mut client, &ack(0x50, 7), "PUBREC").await;
        client.send_bytes(&ack(0x62, 7)).await;
        expect(&mut client, &ack(0x70, 7), "PUBCOMP").await;
        client.send_bytes(&ack(0x62, 7)).await;
        let unknown: &[u8] = if is_v5 { &[0x70, 3, 0, 7, 0x92] } else { &[0x70, 2, 0, 7] };
        expect(&mut client, unknown, "PUBCOMP of an unknown packet id").await;
    }
}

#[tokio::test]
async fn mqtt_4_6_0_2_and_3_acknowledgements_keep_the_order_of_the_publishes() {
    for is_v5 in VERSIONS {
        let world = World::new().await;
        world.add("b-1").await;
        world.log.hold();
        let mut client = Client::connected(&world, "b-1", is_v5).await;
        client.send_bytes(&publish(is_v5, RIDE, 1, false)).await;
        client.publish(RIDE, b"{}", 2).await;
        client.send_bytes(&publish(is_v5, RIDE, 3, false)).await;
        client.ping().await;
        world.log.commit();
        for (first, packet_id) in [(0x50, 1), (0x40, 2), (0x50, 3)] {
            expect(&mut client, &ack(first, packet_id), "in order").await;
        }
    }
}

#[tokio::test]
async fn mqtt_3_3_4_9_a_publish_counts_until_it_is_released() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut client = Client::connected(&world, "b-1", true).await;
    let most = u16::try_from(limit::PENDING_PUBLISHES_MAX).unwrap();
    for packet_id in 1..=most {
        client.send_bytes(&publish(true, RIDE, packet_id, false)).await;
        expect(&mut client, &ack(0x50, packet_id), "PUBREC").await;
    }
    client.send_bytes(&publish(true, RIDE, most, true)).await;
    expect(&mut client, &ack(0x50, most), "a repetition is none more").await;
    client.send_bytes(&ack(0x62, 1)).await;
    expect(&mut client, &ack(0x70, 1), "PUBCOMP").await;
    client.send_bytes(&publish(true, RIDE, 1, false)).await;
    expect(&mut client, &ack(0x50, 1), "there is room for one again").await;
    client.send_bytes(&publish(true, RIDE, most + 1, false)).await;
    assert_eq!(client.disconnected().await, Some(0x93));
}

#[tokio::test]
async fn a_release_before_the_message_is_safe_ends_the_connection() {
    for (is_v5, expected) in [(false, None), (true, Some(0x82))] {
        let world = World::new().await;
        world.add("b-1").await;
        world.log.hold();
        let mut client = Client::connected(&world, "b-1", is_v5).await;
        client.send_bytes(&publish(is_v5, RIDE, 7, false)).await;
        client.send_bytes(&ack(0x62, 7)).await;
        assert_eq!(client.disconnected().await, expected);
    }
}
