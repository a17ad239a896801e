//! Live events.

use serde_json::json;

use crate::client::Events;
use crate::world::World;

#[tokio::test]
async fn follows_messages_and_resumes_behind_the_last_one_seen() {
    let world = World::new().await;
    world.publish("b-1", "ride", r#"{"lat":1}"#);
    let mut events = Events::open(world.get("/api/v1/events").header("Last-Event-ID", "0")).await;
    world.publish("b-2", "ride", "{\n\"lat\": 2}");
    let event = events.next().await.unwrap();
    let expected = json!({
        "specversion": "1.0",
        "id": "1",
        "source": "/api/v1/devices/b-2",
        "type": "axle.message.mqtt",
        "subject": "v1/d/b-2/t/ride",
        "time": "2026-09-21T14:13:20Z",
        "payloadbytes": 11,
        "datacontenttype": "application/json",
        "data": {"lat": 2},
    });
    assert_eq!(event, expected);
    drop(events);
    world.app.ingest.count_rejected(1).unwrap();
    world.publish("b-1", "ride", "not JSON");
    let resume = world.get("/api/v1/events?raw=1").header("Last-Event-ID", "1");
    let event = Events::open(resume).await.next().await.unwrap();
    assert_eq!((&event["id"], &event["data_base64"]), (&json!("3"), &json!("bm90IEpTT04=")));
    let published = json!({"messages": [{"topic": "plant/7", "payload": "hot"}]});
    world.post("/api/v1/streams/messages").json(&published).send().await;
    let resume = world.get("/api/v1/events").header("Last-Event-ID", "3");
    let event = Events::open(resume).await.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["source"]),
        (&json!("axle.message.service"), &json!("/api/v1/streams/messages"))
    );
    let beyond = world.get("/api/v1/events").header("Last-Event-ID", "99").send().await;
    assert_eq!((beyond.status, beyond.code().as_str()), (400, "events.id_unknown"));
}

#[tokio::test]
async fn a_reader_sees_its_own_device_alone() {
    let world = World::new().await;
    world.publish("b-2", "ride", r#"{"lat":0}"#);
    let token = world.token("read:b-1").await;
    let request = world.request("GET", "/api/v1/events").token(&token).header("Last-Event-ID", "0");
    let mut events = Events::open(request).await;
    world.publish("b-2", "ride", r#"{"lat":2}"#);
    world.publish("b-1", "ride", r#"{"lat":1}"#);
    assert_eq!(events.next().await.unwrap()["data"], json!({"lat": 1}));
    world.stop().await;
    assert_eq!(events.next().await, None, "the stream ends with the server");
}
