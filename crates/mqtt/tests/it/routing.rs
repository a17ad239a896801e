//! Local tools on a listener that is open to all: any topic, and what others publish.

use rmqtt_codec::{types::QoS, v5};

use crate::client::{Client, connect_v5};
use crate::world::World;

#[tokio::test]
async fn tools_hear_what_they_asked_for_once_it_is_durable() {
    let world = World::open_to_all().await;
    world.log.hold();
    let mut listener = Client::connected(&world, "listener", true).await;
    assert_eq!(listener.subscribe(&["plant/+/state", "plant/#", "$SYS/#"]).await, [1, 1, 1]);
    let mut speaker = Client::connected(&world, "any id: ä/+", false).await;
    speaker.publish("plant/7/state", b"on", 1).await;
    speaker.publish("other", b"x", 2).await;
    speaker.publish("plant/7", b"off", 0).await;
    speaker.ping().await;
    listener.ping().await;
    world.log.commit();
    assert_eq!((speaker.puback().await, speaker.puback().await), ((1, 0), (2, 0)));
    for (payload, qos) in [(&b"on"[..], QoS::AtLeastOnce), (b"off", QoS::AtMostOnce)] {
        let publish = listener.published().await;
        assert_eq!((&publish.payload[..], publish.qos), (payload, qos), "once, in order");
        assert!(!publish.retain);
    }
    listener.ping().await;
}

#[tokio::test]
async fn wildcards_do_not_reach_into_topics_with_a_dollar() {
    let world = World::open_to_all().await;
    let mut listener = Client::connected(&world, "listener", true).await;
    listener.subscribe(&["#", "+/x"]).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    speaker.publish("$SYS/x", b"secret", 1).await;
    speaker.publish("a/x", b"open", 2).await;
    assert_eq!(&listener.published().await.payload[..], b"open");
}

#[tokio::test]
async fn no_local_keeps_a_tool_from_hearing_itself() {
    let world = World::open_to_all().await;
    let mut tool = Client::connected(&world, "tool", true).await;
    let options = v5::SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        ..v5::SubscriptionOptions::default()
    };
    tool.subscribe_with(&["a"], options, None).await;
    tool.publish("a", b"mine", 1).await;
    assert_eq!(tool.puback().await, (1, 0));
    let mut other = Client::connected(&world, "other", true).await;
    other.publish("a", b"theirs", 1).await;
    assert_eq!(&tool.published().await.payload[..], b"theirs");
}

#[tokio::test]
async fn properties_travel_with_a_message() {
    let world = World::open_to_all().await;
    let mut listener = Client::connected(&world, "listener", true).await;
    let options =
        v5::SubscriptionOptions { qos: QoS::AtLeastOnce, ..v5::SubscriptionOptions::default() };
    listener.subscribe_with(&["a"], options, Some(300)).await;
    let mut speaker = Client::connected(&world, "speaker", true).await;
    let properties = v5::PublishProperties {
        topic_alias: 3.try_into().ok(),
        content_type: Some("text/plain".into()),
        response_topic: Some("b".into()),
        correlation_data: Some(vec![1, 2].into()),
        user_properties: vec![("k".into(), "v".into()), ("k".into(), "w".into())],
        ..v5::PublishProperties::default()
    };
    speaker
        .send_v5(rmqtt_codec::types::Publish {
            dup: false,
            retain: false,
            qos: QoS::AtLeastOnce,
            topic: "a".into(),
            packet_id: 1.try_into().ok(),
            payload: vec![0xff].into(),
            properties: Some(properties.clone()),
        })
        .await;
    let seen = listener.published().await.properties.unwrap();
    let expected = v5::PublishProperties {
        topic_alias: None,
        subscription_ids: vec![300.try_into().unwrap()],
        ..properties
    };
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_tool_unsubscribes_and_hears_no_more() {
    let world = World::open_to_all().await;
    let mut tool = Client::connected(&world, "tool", true).await;
    tool.subscribe(&["a", "b"]).await;
    tool.send_v5(v5::Unsubscribe {
        packet_id: 5.try_into().unwrap(),
        user_properties: Vec::new(),
        topic_filters: vec!["a".into(), "never".into()],
    })
    .await;
    match tool.receive().await {
        Some(rmqtt_codec::MqttPacket::V5(v5::Packet::UnsubscribeAck(ack))) => {
            let codes: Vec<u8> = ack.status.iter().map(|code| u8::from(*code)).collect();
            assert_eq!(codes, [0, 0x11]);
        }
        other => panic!("no UNSUBACK but {other:?}"),
    }
    tool.publish("a", b"1", 0).await;
    tool.publish("b", b"2", 0).await;
    assert_eq!(&tool.published().await.payload[..], b"2");
}

#[tokio::test]
async fn a_tool_that_does_not_read_is_let_go_and_nobody_waits_for_it() {
    let world = World::open_to_all().await;
    let mut deaf = Client::plain(&world, true).await;
    deaf.connect_v5(v5::Connect { receive_max: 1.try_into().ok(), ..connect_v5("deaf") }).await;
    deaf.subscribe(&["flood"]).await;
    let mut speaker = Client::connected(&world, "speaker", false).await;
    for packet_id in 1..=2000 {
        speaker.publish("flood", &[0; 2000], packet_id).await;
        assert_eq!(speaker.puback().await, (packet_id, 0));
    }
    deaf.published().await;
    assert_eq!(deaf.disconnected().await, Some(0x97));
}

#[tokio::test]
async fn a_tool_speaks_for_the_device_that_its_topic_names() {
    let world = World::open_to_all().await;
    let mut tool = Client::connected(&world, "tool", true).await;
    for (packet_id, topic) in [(1, "v1/d/b-7/t/ride"), (2, "v1/d/b-8/t/ride")] {
        tool.publish(topic, b"{}", packet_id).await;
        assert_eq!(tool.puback().await, (packet_id, 0));
    }
    let devices: Vec<_> =
        world.records(2).await.iter().map(|r| r.message().device.to_owned()).collect();
    assert_eq!(devices, ["b-7", "b-8"]);
}
