//! Connection events over the API.

use axle_testkit::conformance::state::connection_journal::{ended, refused};
use expect_test::expect;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_device_shows_its_events_and_another_none() {
    let world = World::new().await;
    world.app.ports.connections.record(ended("b-1", 7));
    let reply = world.get("/api/v1/devices/b-1/connections").send().await;
    expect![[r#"
        200 {
          "dropped": 0,
          "items": [
            {
              "address": "127.0.0.1",
              "at": "2026-09-21T14:13:27Z",
              "client_id": "b-1/app",
              "code": "keep_alive",
              "count": 1,
              "device": "b-1",
              "fingerprint": "0303030303030303030303030303030303030303030303030303030303030303",
              "first_at": "2026-09-21T14:13:27Z",
              "is_proved": true,
              "kind": "disconnected",
              "lasted_s": 1.5,
              "next_step": "look at the radio",
              "protocol": "MQTT 5.0",
              "reason": "nothing was heard",
              "received": 7,
              "sent": 1,
              "stage": null
            }
          ]
        }"#]]
    .assert_eq(&reply.shown());
    let other = world.get("/api/v1/devices/b-2/connections").send().await;
    assert_eq!((other.status, &other.json()["items"]), (200, &json!([])));
    let unknown = world.get("/api/v1/devices/b-9/connections").send().await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "device.not_found"));
}

#[tokio::test]
async fn a_token_of_one_device_reads_its_events_alone() {
    let world = World::new().await;
    let token = world.token("read:b-1").await;
    for (path, status) in [
        ("/api/v1/devices/b-1/connections", 200),
        ("/api/v1/devices/b-2/connections", 404),
        ("/api/v1/connections", 403),
    ] {
        let reply = world.request("GET", path).token(&token).send().await;
        assert_eq!(reply.status, status, "{path}");
    }
}

#[tokio::test]
async fn strangers_are_found_by_address_and_certificate() {
    let world = World::new().await;
    let journal = &world.app.ports.connections;
    journal.record(ended("b-1", 1));
    let address = "2001:db8::1".parse().unwrap();
    journal.record(axle_domain::ConnectionEvent { address, ..refused("tls.expired", 2) });
    for (query, codes) in [
        ("", vec!["tls.expired", "keep_alive"]),
        ("?limit=1", vec!["tls.expired"]),
        ("?address=2001:db8::1", vec!["tls.expired"]),
        ("?address=::ffff:127.0.0.1", vec!["keep_alive"]),
        (&format!("?fingerprint={}", "03:".repeat(31) + "03"), vec!["keep_alive"]),
        (&format!("?fingerprint={}", "04".repeat(32)), vec![]),
    ] {
        let reply = world.get(&format!("/api/v1/connections{query}")).send().await;
        let items = reply.json()["items"].clone();
        let seen: Vec<_> = items.as_array().unwrap().iter().map(|it| it["code"].clone()).collect();
        assert_eq!(seen, codes, "{query}");
    }
    for query in ["?address=nowhere", "?fingerprint=03", "?limit=0", "?device=b-1"] {
        let reply = world.get(&format!("/api/v1/connections{query}")).send().await;
        assert!((400..=422).contains(&reply.status), "{query}: {}", reply.status);
    }
}
