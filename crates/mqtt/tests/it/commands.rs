//! Commands down: to a live subscription, once, and known to be there by its PUBACK.

use std::sync::Arc;
use std::time::Duration;

use axle_app::NewCommand;
use axle_domain::port::{DeviceLink, SendError};
use axle_domain::{Command, CommandId, CommandStatus, DeviceId};
use rmqtt_codec::{types::QoS, v5};

use crate::client::{Client, connect_v5};
use crate::world::World;

fn unlock() -> NewCommand {
    NewCommand {
        name: "unlock".to_owned(),
        payload: "{}".to_owned(),
        timeout: Duration::from_secs(60),
        is_dry_run: false,
    }
}

/// The command, once it is as far as this.
async fn once(world: &World, id: &CommandId, status: CommandStatus) -> Command {
    let wait = async {
        loop {
            let command = world.app.commands.get(id).await.unwrap();
            if command.status() == status {
                return command;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), wait).await.expect("the status in time")
}

#[tokio::test]
async fn a_command_reaches_a_subscriber_and_is_delivered_with_its_puback() {
    for is_v5 in [false, true] {
        let world = World::new().await;
        let device = world.add("b-1").await;
        let mut client = Client::connected(&world, "b-1", is_v5).await;
        assert_eq!(client.subscribe(&["v1/d/b-1/c/#"]).await, [1]);
        let command = world.app.commands.create(&device, unlock()).await.unwrap();
        assert_eq!(command.status(), CommandStatus::Sent);
        let publish = client.published().await;
        assert_eq!(publish.topic, format!("v1/d/b-1/c/{}/unlock", command.id));
        assert_eq!(publish.qos, QoS::AtLeastOnce);
        let packet_id = publish.packet_id.unwrap().get();
        client.acknowledge(packet_id, v5::PublishAckReason::Success).await;
        let command = once(&world, &command.id, CommandStatus::Delivered).await;
        let evidence = &command.history.last().unwrap().evidence;
        assert_eq!(*evidence, format!("PUBACK of packet {packet_id}"));
    }
}

/// Whatever was on its way to a device, and whoever may be sitting in its place by now.
#[tokio::test]
async fn what_waits_for_a_revoked_device_is_never_delivered() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let device = DeviceId::parse("b-1").unwrap();
    let config = Arc::new(world.client_config(&credential));
    // A session that is kept, with its subscription, so that nothing has to be asked for again.
    let mut client = world.tls_client(&config, true).await.unwrap();
    let kept = || v5::Connect {
        clean_start: false,
        session_expiry_interval_secs: 3600,
        ..connect_v5("b-1")
    };
    client.connect_v5(kept()).await;
    assert_eq!(client.subscribe(&["v1/d/b-1/c/#"]).await, [1]);
    drop(client);
    let gone = async {
        while world.sessions.online_since(&device).is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("it is gone");
    let waiting = world.app.commands.create(&device, unlock()).await.unwrap();
    assert_eq!(waiting.status(), CommandStatus::Waiting);
    world.app.devices.revoke(&device).await.unwrap();
    let mut client = world.tls_client(&config, true).await.unwrap();
    assert_eq!(u8::from(client.connect_v5(kept()).await.reason_code), 0x87);
    let mut plain = Client::plain(&world, true).await;
    assert_eq!(u8::from(plain.connect_v5(kept()).await.reason_code), 0x87);
    world.app.dispatch.run(&device).await;
    let command = world.app.commands.get(&waiting.id).await.unwrap();
    assert_eq!(command.status(), CommandStatus::Waiting, "it was never sent");
}

#[tokio::test]
async fn a_device_that_is_revoked_while_connected_gets_no_command_any_more() {
    let world = World::new().await;
    let device = world.add("b-1").await;
    let mut client = Client::plain(&world, true).await;
    client.connect_v5(v5::Connect { receive_max: 1.try_into().ok(), ..connect_v5("b-1") }).await;
    assert_eq!(client.subscribe(&["v1/d/b-1/c/#"]).await, [1]);
    let first = world.app.commands.create(&device, unlock()).await.unwrap();
    let second = world.app.commands.create(&device, unlock()).await.unwrap();
    // The second has no room in the client's window: it stands in the connection's queue.
    let publish = client.published().await;
    assert!(publish.topic.contains(first.id.as_str()));
    world.app.devices.revoke(&device).await.unwrap();
    let packet_id = publish.packet_id.unwrap().get();
    client.acknowledge(packet_id, v5::PublishAckReason::Success).await;
    assert_eq!(client.disconnected().await, Some(0x98), "and nothing before that");
    once(&world, &second.id, CommandStatus::Waiting).await;
}

#[tokio::test]
async fn what_waited_comes_after_the_suback_and_in_order() {
    let world = World::new().await;
    let device = world.add("b-1").await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let command = world.app.commands.create(&device, unlock()).await.unwrap();
        assert_eq!(command.status(), CommandStatus::Waiting);
        ids.push(command.id);
    }
    let mut client = Client::plain(&world, true).await;
    client.connect_v5(v5::Connect { receive_max: 3.try_into().ok(), ..connect_v5("b-1") }).await;
    // `subscribe` fails if anything comes before the SUBACK.
    assert_eq!(client.subscribe(&["v1/d/b-1/c/+/+"]).await, [1]);
    let mut in_flight = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        let publish = client.published().await;
        assert_eq!(publish.topic, format!("v1/d/b-1/c/{id}/unlock"));
        in_flight.push(publish.packet_id.unwrap().get());
        if index % 3 == 2 {
            // Three is what this client takes: nothing came beyond them.
            client.ping().await;
            for packet_id in in_flight.drain(..) {
                client.acknowledge(packet_id, v5::PublishAckReason::Success).await;
            }
        }
    }
}

#[tokio::test]
async fn a_device_hears_only_its_own_commands() {
    let world = World::new().await;
    world.add("b-1").await;
    let mut client = Client::connected(&world, "b-1", true).await;
    let filters = [
        "v1/d/b-1/c/#",
        "v1/d/b-2/c/#",
        "#",
        "+/+/+/c/#",
        "$SYS/#",
        "v1/d/b-1/#",
        "v1/d/+/c/#",
        "$share/g/v1/d/b-1/c/#",
        "a/#/b",
        "",
        "v1/d/b-1/c/+/x",
    ];
    let codes = client.subscribe(&filters).await;
    assert_eq!(codes, [1, 0x87, 0x87, 0x87, 0x87, 0x87, 0x87, 0x87, 0x8f, 0x8f, 1]);
    let mut client = Client::connected(&world, "b-1", false).await;
    assert_eq!(client.subscribe(&["v1/d/b-2/c/#", "v1/d/b-1/c/#"]).await, [0x80, 1]);
}

#[tokio::test]
async fn a_command_that_was_not_acknowledged_goes_to_the_next_connection() {
    let world = World::new().await;
    let device = world.add("b-1").await;
    let mut client = Client::connected(&world, "b-1", true).await;
    client.subscribe(&["v1/d/b-1/c/#"]).await;
    let command = world.app.commands.create(&device, unlock()).await.unwrap();
    let refused = client.published().await.packet_id.unwrap().get();
    // A refusal is no delivery, and no reason to send at once again.
    client.acknowledge(refused, v5::PublishAckReason::UnspecifiedError).await;
    client.ping().await;
    drop(client);
    once(&world, &command.id, CommandStatus::Waiting).await;
    let mut client = Client::connected(&world, "b-1", true).await;
    client.subscribe(&["v1/d/b-1/c/#"]).await;
    let packet_id = client.published().await.packet_id.unwrap().get();
    client.acknowledge(packet_id, v5::PublishAckReason::Success).await;
    once(&world, &command.id, CommandStatus::Delivered).await;
}

#[tokio::test]
async fn nobody_there_is_away_and_a_full_queue_is_busy() {
    let world = World::new().await;
    let device = world.add("b-1").await;
    let link = &world.sessions;
    let send = |topic: &str, bytes: usize| link.send(&device, topic.to_owned(), vec![0; bytes]);
    let topic = "v1/d/b-1/c/k/unlock";
    assert_eq!(send(topic, 1).await.err(), Some(SendError::Away), "not connected");
    let mut client = Client::plain(&world, true).await;
    let connect = v5::Connect {
        receive_max: 1.try_into().ok(),
        max_packet_size: 200_000.try_into().ok(),
        ..connect_v5("b-1/x")
    };
    client.connect_v5(connect).await;
    assert_eq!(send(topic, 1).await.err(), Some(SendError::Away), "not subscribed");
    client.subscribe(&["v1/d/b-1/c/#"]).await;
    assert!(link.online_since(&device).is_some());
    assert_eq!(send(topic, 300_000).await.err(), Some(SendError::Away), "more than it takes");
    let mut receipts = Vec::new();
    let full = loop {
        match send(topic, 100_000).await {
            Ok(receipt) => receipts.push(receipt.delivered),
            Err(error) => break error,
        }
        assert!(receipts.len() < 100);
    };
    assert_eq!(full, SendError::Busy);
    drop(client);
    for receipt in receipts {
        assert_eq!(receipt.await.err(), Some(SendError::Lost));
    }
    assert!(link.online_since(&DeviceId::parse("b-1").unwrap()).is_none());
}

#[tokio::test]
async fn a_subscription_at_qos_0_is_never_said_to_be_delivered() {
    let world = World::new().await;
    let device = world.add("b-1").await;
    let mut client = Client::connected(&world, "b-1", true).await;
    let options = v5::SubscriptionOptions::default();
    assert_eq!(client.subscribe_with(&["v1/d/b-1/c/#"], options, Some(7)).await, [0]);
    let command = world.app.commands.create(&device, unlock()).await.unwrap();
    let publish = client.published().await;
    assert_eq!(publish.qos, QoS::AtMostOnce);
    let identifiers = publish.properties.unwrap().subscription_ids;
    assert_eq!(identifiers.iter().map(|id| id.get()).collect::<Vec<_>>(), [7]);
    assert_eq!(command.status(), CommandStatus::Sent);
}
