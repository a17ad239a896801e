//! A client of the model at work: it answers what comes as it must, and notes it.

use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{RetainHandling, SubscriptionOptions};
use rmqtt_codec::{MqttPacket, v5};

use super::{Options, Peer, Seen, TOPICS, name};
use crate::client::{Client, connect_v5};
use crate::world::World;

/// Connects, and goes on with its session if there is one.
pub(super) async fn connect(
    world: &World,
    peer: &mut Peer,
    who: usize,
    is_clean: bool,
    is_kept: bool,
) {
    let mut client = Client::plain(world, true).await;
    let connect = v5::Connect {
        clean_start: is_clean,
        session_expiry_interval_secs: if is_kept { 3600 } else { 0 },
        ..connect_v5(&name(who))
    };
    let is_present = client.connect_v5(connect).await.session_present;
    assert_eq!(is_present, peer.is_kept && !is_clean, "client {who}");
    if !is_present {
        peer.end_session();
    }
    peer.client = Some(client);
    peer.is_kept = is_kept;
}

/// What a packet was, beside the messages that are noted.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Message,
    Sync,
    Pong,
    Answer { first: u8, packet_id: u16 },
}

/// Reads one packet and answers it as a client must.
async fn step(peer: &mut Peer) -> Step {
    let client = peer.client.as_mut().unwrap();
    let packet = match client.receive().await {
        Some(MqttPacket::V5(packet)) => packet,
        other => panic!("no packet but {other:?}"),
    };
    match packet {
        v5::Packet::Publish(publish) => return take(peer, *publish).await,
        v5::Packet::PublishRelease(release) => {
            peer.received.remove(&release.packet_id.get());
            let [high, low] = release.packet_id.get().to_be_bytes();
            client.send_bytes(&[0x70, 2, high, low]).await;
            Step::Message
        }
        v5::Packet::PingResponse => Step::Pong,
        v5::Packet::PublishAck(ack) => answer(0x40, ack.packet_id),
        v5::Packet::PublishReceived(ack) => answer(0x50, ack.packet_id),
        v5::Packet::PublishComplete(ack) => answer(0x70, ack.packet_id),
        v5::Packet::SubscribeAck(ack) => answer(0x90, ack.packet_id),
        v5::Packet::UnsubscribeAck(ack) => answer(0xb0, ack.packet_id),
        other => panic!("nothing that was asked for: {other:?}"),
    }
}

fn answer(first: u8, packet_id: std::num::NonZeroU16) -> Step {
    Step::Answer { first, packet_id: packet_id.get() }
}

async fn take(peer: &mut Peer, publish: Publish) -> Step {
    let client = peer.client.as_mut().unwrap();
    let packet_id = publish.packet_id.map_or(0, std::num::NonZeroU16::get);
    let [high, low] = packet_id.to_be_bytes();
    match publish.qos {
        QoS::AtMostOnce => {}
        QoS::AtLeastOnce => client.send_bytes(&[0x40, 2, high, low]).await,
        QoS::ExactlyOnce => {
            client.send_bytes(&[0x50, 2, high, low]).await;
            if !peer.received.insert(packet_id) {
                return Step::Message;
            }
        }
    }
    if publish.topic.starts_with("sync/") {
        // One that comes again after a crash says nothing of now.
        return if publish.dup { Step::Message } else { Step::Sync };
    }
    let topic = TOPICS.iter().find(|topic| ***topic == *publish.topic).unwrap();
    let ids = publish.properties.unwrap().subscription_ids;
    let mut identifiers: Vec<u32> = ids.iter().map(|id| id.get()).collect();
    identifiers.sort_unstable();
    let message = Seen {
        topic,
        payload: publish.payload.to_vec(),
        qos: publish.qos.value(),
        is_retained: publish.retain,
        identifiers,
    };
    peer.seen.push((message, publish.dup));
    Step::Message
}

async fn wait_for(peer: &mut Peer, wanted: Step) {
    while step(peer).await != wanted {}
}

/// Reads all that has come to a client before this moment.
pub(super) async fn drain(world: &World, peer: &mut Peer, who: usize) {
    // Twice: what follows from a subscription comes with the turn after it.
    for _ in 0..2 {
        world.append(&format!("sync/{who}/x"), b"", 1);
        wait_for(peer, Step::Sync).await;
    }
}

pub(super) async fn subscribe(peer: &mut Peer, filter: &str, qos: u8, options: Options, id: u32) {
    let options = SubscriptionOptions {
        qos: QoS::try_from(qos).unwrap(),
        no_local: options.is_no_local && !filter.starts_with("$share"),
        retain_as_published: options.is_as_published,
        retain_handling: match options.handling {
            0 => RetainHandling::AtSubscribe,
            1 => RetainHandling::AtSubscribeNew,
            _ => RetainHandling::NoAtSubscribe,
        },
    };
    let packet = v5::Subscribe {
        packet_id: 6.try_into().unwrap(),
        id: id.try_into().ok(),
        user_properties: Vec::new(),
        topic_filters: vec![(filter.to_owned().into(), options)],
    };
    peer.client.as_mut().unwrap().send_v5(packet).await;
    wait_for(peer, Step::Answer { first: 0x90, packet_id: 6 }).await;
}

pub(super) async fn unsubscribe(peer: &mut Peer, filter: &str) {
    let packet = v5::Unsubscribe {
        packet_id: 5.try_into().unwrap(),
        user_properties: Vec::new(),
        topic_filters: vec![filter.to_owned().into()],
    };
    peer.client.as_mut().unwrap().send_v5(packet).await;
    wait_for(peer, Step::Answer { first: 0xb0, packet_id: 5 }).await;
}

/// Publishes and waits until it is acknowledged whole.
pub(super) async fn publish(peer: &mut Peer, publish: Publish) {
    let qos = publish.qos;
    let client = peer.client.as_mut().unwrap();
    client.send_v5(v5::Packet::Publish(Box::new(publish))).await;
    match qos {
        QoS::AtMostOnce => {
            // Nothing else says that it was read.
            client.send_bytes(&[0xc0, 0]).await;
            wait_for(peer, Step::Pong).await;
        }
        QoS::AtLeastOnce => wait_for(peer, Step::Answer { first: 0x40, packet_id: 1 }).await,
        QoS::ExactlyOnce => {
            wait_for(peer, Step::Answer { first: 0x50, packet_id: 1 }).await;
            peer.client.as_mut().unwrap().send_bytes(&[0x62, 2, 0, 1]).await;
            wait_for(peer, Step::Answer { first: 0x70, packet_id: 1 }).await;
        }
    }
}
