//! The operators' listener, and what is not on the other one.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::client::Request;
use crate::world::World;

#[tokio::test]
async fn prints_the_law_of_the_door() {
    let world = World::new().await;
    world.publish("b-1", "ride", r#"[{"lat":1},{"lat":2}]"#);
    world.publish("b-1", "ride", "{");
    world.settle().await;
    let bad = world.post("/api/v1/uploads").body("text/plain", "x").send().await;
    assert_eq!(bad.status, 415);
    world.settle().await;
    let text = Request::new(world.ops, "GET", "/metrics").send().await.text();
    for line in [
        "axle_ingest_records_total{outcome=\"received\"} 4",
        "axle_ingest_records_total{outcome=\"stored\"} 2",
        "axle_ingest_records_total{outcome=\"quarantined\"} 1",
        "axle_ingest_records_total{outcome=\"rejected\"} 1",
        "axle_ingest_records_total{outcome=\"shed\"} 0",
        "axle_store_rows 2",
        "axle_store_collapsed_rows_total 0",
        "axle_log_durable_offset 3",
        "axle_projection_lag_records{projection=\"store\"} 0",
        "axle_http_requests_total{method=\"POST\",route=\"/api/v1/uploads\",status=\"4xx\"} 1",
        "axle_http_request_seconds_count{route=\"/api/v1/uploads\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let mut families: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count, "a family twice");
}

#[tokio::test]
async fn is_ready_until_the_log_fails() {
    let world = World::new().await;
    let ready = async || Request::new(world.ops, "GET", "/readyz").send().await;
    assert_eq!(ready().await.status, 200);
    world.log.0.hold();
    world.publish("b-1", "ride", "{}");
    world.log.0.fail();
    let reply = ready().await;
    assert_eq!((reply.status, &reply.json()["status"]), (503, &json!("not ready")));
    assert!(reply.json()["reasons"][0].as_str().unwrap().starts_with("log: "));
    assert_eq!(Request::new(world.ops, "GET", "/healthz").send().await.status, 200);
}

#[tokio::test]
async fn is_not_ready_while_the_disk_of_the_log_is_full() {
    let world = World::new().await;
    let ready = async || Request::new(world.ops, "GET", "/readyz").send().await;
    world.log.1.store(true, Ordering::SeqCst);
    let reply = ready().await;
    assert_eq!(reply.status, 503);
    let reason = "log: its disk is full, nothing is accepted; free some room, and it goes on \
                  without a restart";
    assert_eq!(reply.json()["reasons"], json!([reason]));
    world.log.1.store(false, Ordering::SeqCst);
    assert_eq!(ready().await.status, 200);
}

#[tokio::test]
async fn is_not_ready_once_the_state_is_known_to_be_damaged() {
    let world = World::new().await;
    let ask = async |path| Request::new(world.ops, "GET", path).send().await;
    assert!(ask("/metrics").await.text().contains("axle_state_damaged 0\n"));
    world.state.put_damage("page 7 is not what was written there");
    let reply = ask("/readyz").await;
    assert_eq!(reply.status, 503);
    let reason = "state: page 7 is not what was written there; run `axle verify`";
    assert_eq!(reply.json()["reasons"], json!([reason]));
    assert!(ask("/metrics").await.text().contains("axle_state_damaged 1\n"));
}

#[tokio::test]
async fn what_will_go_wrong_is_told_before_and_turns_nobody_away() {
    let world = World::new().await;
    let ready = Request::new(world.ops, "GET", "/readyz").send().await;
    assert_eq!((ready.status, &ready.json()["reasons"]), (200, &json!([])));
    let warnings = ready.json()["warnings"].clone();
    assert!(warnings[0].as_str().unwrap().contains("trust/acme.crl"), "{warnings}");
    assert_eq!(warnings[1], "authority acme: ends in 12 days");
    let text = Request::new(world.ops, "GET", "/metrics").send().await.text();
    for line in [
        "axle_identity_fault 1",
        "axle_identity_ends_seconds{part=\"authority\"} 1036800",
        "axle_identity_ends_seconds{part=\"listener\"} 25920000",
        "axle_devices_certificate_ending{days=\"30\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn nothing_of_operators_is_on_the_public_listener() {
    let world = World::new().await;
    for path in ["/metrics", "/readyz", "/debug", "/admin", "/api/v1/metrics"] {
        let reply = world.get(path).send().await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "route.not_found"), "{path}");
    }
    assert_eq!(world.request("GET", "/healthz").send().await.status, 200);
    assert_eq!(Request::new(world.ops, "GET", "/api/v1/devices").send().await.status, 404);
}
