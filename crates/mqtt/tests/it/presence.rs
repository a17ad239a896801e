//! Presence as the gateway tells it: by device, in order, to whom it was granted.

use axle_domain::Source;
use axle_mqtt::{PlainAccess, Settings};

use crate::client::Client;
use crate::world::World;

/// Device, event and code of every record of presence so far.
async fn told(world: &World, count: u64) -> Vec<String> {
    let records = world.records(count).await;
    let presence = records.iter().filter(|record| record.source == Source::Presence);
    presence
        .map(|record| {
            let message = record.message();
            let payload: serde_json::Value = serde_json::from_slice(message.payload).unwrap();
            let text = |name: &str| payload[name].as_str().unwrap().to_owned();
            format!("{} {} {}", message.topic, text("event"), text("code"))
        })
        .collect()
}

#[tokio::test]
async fn a_device_is_there_as_long_as_any_of_its_connections() {
    let world = World::new().await;
    world.app.presence.begin();
    world.add("b-1").await;
    world.add("b-2").await;
    let first = Client::connected(&world, "b-1", true).await;
    let mut beside = Client::connected(&world, "b-1/beside", false).await;
    // One takes the place of the other: the device was there all the while.
    let mut again = Client::connected(&world, "b-1", true).await;
    drop(first);
    again.ping().await;
    beside.ping().await;
    let _other = Client::connected(&world, "b-2", true).await;
    assert_eq!(told(&world, 2).await, ["v1/p/b-1 connected ", "v1/p/b-2 connected "]);
    again.send_bytes(&[0xe0, 0]).await;
    assert_eq!(again.disconnected().await, None);
    beside.ping().await;
    beside.send_bytes(b"\xc0\x01\x00").await;
    assert_eq!(beside.disconnected().await, None);
    let told = told(&world, 3).await;
    assert_eq!(told[2..], ["v1/p/b-1 disconnected mqtt.length_wrong"]);
}

#[tokio::test]
async fn presence_is_heard_by_subscription_and_said_by_nobody_else() {
    let settings = Settings { plain_access: PlainAccess::All, ..Settings::default() };
    let world = World::with(settings).await;
    world.app.presence.begin();
    let credential = world.add_with_certificate("b-1").await;
    let mut hearer = Client::connected(&world, "hearer", true).await;
    assert_eq!(hearer.subscribe(&["v1/p/+"]).await, [1]);
    hearer.publish("v1/p/b-1", br#"{"event":"connected"}"#, 1).await;
    assert_eq!(hearer.puback().await, (1, 0x87));
    let config = std::sync::Arc::new(world.client_config(&credential));
    let mut device = world.tls_client(&config, true).await.unwrap();
    assert_eq!(device.connect("b-1").await, 0);
    let heard = hearer.published().await;
    assert_eq!(&*heard.topic, "v1/p/b-1");
    let payload: serde_json::Value = serde_json::from_slice(&heard.payload).unwrap();
    assert_eq!((&payload["event"], &payload["client_id"]), (&"connected".into(), &"b-1".into()));
    assert_eq!(payload["protocol"], "MQTT 5.0");
    // A device hears of nobody, not even of itself.
    assert_eq!(device.subscribe(&["v1/p/b-1", "v1/p/#"]).await, [0x87, 0x87]);
}
