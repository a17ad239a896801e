//! The log over HTTP: publishing, reading from anywhere, positions of consumers.

use axle_domain::Offset;
use axle_domain::port::EventLog;
use serde_json::json;

use crate::world::World;

const MESSAGES: &str = "/api/v1/streams/messages";
const CONSUMERS: &str = "/api/v1/streams/consumers";

#[tokio::test]
async fn what_is_published_is_read_from_any_offset_with_every_filter() {
    let world = World::new().await;
    let body = json!({"messages": [
        {"topic": "plant/7", "payload": "hot"},
        {"topic": "plant/8/x", "payload_base64": "/w=="},
        {"topic": "v1/d/b-1/t/ride", "device": "b-1", "payload": {"lat": 47.1}},
    ]});
    let token = world.token("log:write").await;
    let request = world.request("POST", MESSAGES).token(&token).json(&body);
    let answer = request.send().await;
    assert_eq!((answer.status, answer.json()), (200, json!({"offsets": [0, 1, 2]})));
    world.settle().await;
    assert_eq!(*world.store.rows.lock().unwrap(), 1, "telemetry becomes rows");
    let reader = world.token("log:read").await;
    for (query, offsets) in [
        ("", vec![0, 1, 2]),
        ("?from=1", vec![1, 2]),
        ("?from=next", vec![]),
        ("?topic=plant/%2B", vec![0]),
        ("?topic=plant/%23&from=first", vec![0, 1]),
        ("?device=b-1", vec![2]),
        ("?source=service&limit=2", vec![0, 1]),
        ("?source=mqtt", vec![]),
        ("?from=2020-01-01T00:00:00Z", vec![0, 1, 2]),
        ("?from=2036-01-01T00:00:00Z", vec![]),
    ] {
        let page = world.request("GET", &format!("{MESSAGES}{query}")).token(&reader).send().await;
        let page = page.json();
        let seen = page["messages"].as_array().unwrap().iter().map(|it| it["offset"].as_u64());
        assert_eq!(seen.flatten().collect::<Vec<_>>(), offsets, "{query}");
        let next = if query.contains("limit=2") { 2 } else { 3 };
        assert_eq!(page["next"], json!(next), "{query}");
    }
    let page = world.get(&format!("{MESSAGES}?limit=2")).header("Accept", "application/x-ndjson");
    let page = page.send().await;
    assert_eq!(page.header("axle-next"), Some("2"));
    let text = page.text();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains("\"payload\":\"hot\""), "{text}");
    assert!(lines[1].contains("\"payload_base64\":\"/w==\""), "{text}");
}

#[tokio::test]
async fn a_key_lets_each_message_in_once() {
    let world = World::new().await;
    let body =
        json!({"messages": [{"topic": "a", "payload": "1"}, {"topic": "a", "payload": "2"}]});
    let send = |body| world.post(MESSAGES).header("Idempotency-Key", "day-1").json(body).send();
    let first = send(&body).await;
    let again = send(&body).await;
    assert_eq!(
        (first.json(), again.json()),
        (json!({"offsets": [0, 1]}), json!({"offsets": [0, 1]}))
    );
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(world.log.bounds().appended, Offset(2));
    let other = send(&json!({"messages": [{"topic": "a", "payload": "3"}]})).await;
    assert_eq!((other.status, other.code().as_str()), (409, "publish.idempotency_conflict"));
}

#[tokio::test]
async fn a_bad_message_keeps_the_whole_batch_out() {
    let world = World::new().await;
    for bad in [
        json!({"topic": "a/#", "payload": "x"}),
        json!({"topic": "a"}),
        json!({"topic": "$SYS/a", "payload": "x"}),
        json!({"topic": "v1/d/b-1/c/k-1/unlock", "payload": "x"}),
        json!({"topic": "a", "payload": "x", "payload_base64": "eA=="}),
        json!({"topic": "a", "payload_base64": "%"}),
        json!({"topic": "a", "payload": "x", "device": "no device"}),
        json!({"topic": "a", "payload": "x", "qos": 1}),
    ] {
        let body = json!({"messages": [{"topic": "a", "payload": "good"}, bad]});
        let answer = world.post(MESSAGES).json(&body).send().await;
        assert!([400, 422].contains(&answer.status), "{body} {}", answer.status);
    }
    let empty = world.post(MESSAGES).json(&json!({"messages": []})).send().await;
    assert_eq!((empty.status, empty.code().as_str()), (400, "publish.empty"));
    assert_eq!(world.log.bounds().appended, Offset(0));
}

#[tokio::test]
async fn a_waiting_reader_gets_the_message_that_comes() {
    let world = World::new().await;
    let request = world.get(&format!("{MESSAGES}?from=next&wait=60&topic=late"));
    let reading = tokio::spawn(request.send());
    world
        .post(MESSAGES)
        .json(&json!({"messages": [{"topic": "other", "payload": ""}]}))
        .send()
        .await;
    world
        .post(MESSAGES)
        .json(&json!({"messages": [{"topic": "late", "payload": ""}]}))
        .send()
        .await;
    let page = reading.await.unwrap().json();
    // Whether it began before or behind the message, it says where it has got to.
    let seen = page["messages"].as_array().unwrap().len();
    assert!(seen == 1 && page["next"] == json!(2), "{page}");
}

#[tokio::test]
async fn a_consumer_goes_on_where_it_committed() {
    let world = World::new().await;
    let made = world.post(CONSUMERS).json(&json!({"name": "export", "from": "first"})).send().await;
    assert_eq!((made.status, made.json()["position"].as_u64()), (201, Some(0)));
    let taken = world.post(CONSUMERS).json(&json!({"name": "export"})).send().await;
    assert_eq!((taken.status, taken.code().as_str()), (409, "consumer.exists"));
    for _ in 0..3 {
        world.publish("b-1", "ride", r#"{"lat":1}"#);
    }
    let read = format!("{MESSAGES}?consumer=export&limit=2");
    let page = world.get(&read).send().await.json();
    assert_eq!(page["next"], json!(2));
    let again = world.get(&read).send().await.json();
    assert_eq!(again["messages"], page["messages"], "nothing moves by itself");
    let at = format!("{CONSUMERS}/export/position");
    let put = |position| {
        world.request("PUT", &at).token(&world.admin).json(&json!({"position": position})).send()
    };
    let moved = put(2).await.json();
    assert_eq!((&moved["position"], &moved["lag"]), (&json!(2), &json!(1)));
    let page = world.get(&read).send().await.json();
    assert_eq!(page["messages"][0]["offset"], json!(2));
    let beyond = put(9).await;
    assert_eq!((beyond.status, beyond.code().as_str()), (404, "log.position_unknown"));
    assert_eq!(put(0).await.status, 200, "it may go back");
    let list = world.get(CONSUMERS).send().await.json();
    assert_eq!(
        (&list["items"][0]["name"], &list["items"][0]["lag"]),
        (&json!("export"), &json!(3))
    );
    let gone = world.request("DELETE", &format!("{CONSUMERS}/export")).token(&world.admin).send();
    assert_eq!(gone.await.status, 204);
    let read = world.get(&read).send().await;
    assert_eq!((read.status, read.code().as_str()), (404, "consumer.not_found"));
}

#[tokio::test]
async fn a_reader_behind_retention_is_told_what_is_gone() {
    let world = World::new().await;
    for _ in 0..5 {
        world.publish("b-1", "ride", r#"{"lat":1}"#);
    }
    world.post(CONSUMERS).json(&json!({"name": "slow", "from": 1})).send().await;
    world.log.0.release(Offset(3));
    for query in ["?from=1", "?consumer=slow"] {
        let gone = world.get(&format!("{MESSAGES}{query}")).send().await;
        assert_eq!((gone.status, gone.code().as_str()), (410, "log.position_gone"));
        assert_eq!((&gone.json()["limit"], &gone.json()["actual"]), (&json!(3), &json!(1)));
    }
    let first = world.get(&format!("{MESSAGES}?from=first")).send().await.json();
    assert_eq!(first["messages"][0]["offset"], json!(3));
}
