//! What each resource looks like.

use expect_test::expect;
use serde_json::json;

use crate::world::{NOW_TEXT, World};

#[tokio::test]
async fn registers_reads_changes_and_revokes_a_device() {
    let world = World::new().await;
    let path = "/api/v1/devices/car-7";
    let body = json!({"name": "Seven", "kind": "car"});
    let created = world.request("PUT", path).token(&world.admin).json(&body).send().await;
    assert_eq!(created.header("location"), Some(path));
    assert_eq!(created.header("etag"), Some("\"v1\""));
    expect![[r#"
        201 {
          "created_at": "2026-09-21T14:13:20Z",
          "id": "car-7",
          "kind": "car",
          "model": "",
          "name": "Seven",
          "online": false,
          "status": "active",
          "updated_at": "2026-09-21T14:13:20Z",
          "version": 1
        }"#]]
    .assert_eq(&created.shown());

    let patch = |tag: &str, body: &str| {
        let request = world.request("PATCH", path).token(&world.admin);
        request.header("If-Match", tag).body("application/merge-patch+json", body)
    };
    let patched = patch("\"v1\"", r#"{"name":null}"#).send().await;
    assert_eq!((patched.status, patched.header("etag")), (200, Some("\"v2\"")));
    assert_eq!((&patched.json()["name"], &patched.json()["kind"]), (&json!(""), &json!("car")));
    let stale = patch("\"v1\"", r#"{"name":"x"}"#).send().await;
    assert_eq!((stale.status, stale.code().as_str()), (412, "request.precondition_failed"));

    let replaced = world.request("PUT", path).token(&world.admin).json(&json!({})).send().await;
    assert_eq!((replaced.status, &replaced.json()["kind"]), (200, &json!("")));
    let only_new = world.request("PUT", path).token(&world.admin).json(&json!({}));
    assert_eq!(only_new.header("If-None-Match", "*").send().await.status, 412);

    let revoked = world.request("DELETE", path).token(&world.admin).send().await;
    assert_eq!((revoked.status, revoked.body.len()), (204, 0));
    assert_eq!(world.get(path).send().await.json()["status"], "revoked");
    let again = world.post("/api/v1/devices/car-7/revoke").send().await;
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("revoked")));
}

#[tokio::test]
async fn names_every_fault_of_a_body_with_its_place() {
    let world = World::new().await;
    let body = json!({"nmae": "x", "kind": 7, "owner": "me"});
    let reply = world.request("PUT", "/api/v1/devices/x").token(&world.admin).json(&body);
    expect![[r#"
        422 {
          "code": "request.body_invalid",
          "detail": "`kind` must be a text and 2 more",
          "errors": [
            {
              "detail": "`kind` must be a text",
              "pointer": "/kind"
            },
            {
              "detail": "`nmae` is unknown: did you mean `name`?",
              "pointer": "/nmae"
            },
            {
              "detail": "`owner` is unknown: there are name, kind, model",
              "pointer": "/owner"
            }
          ],
          "request_id": "…",
          "status": 422,
          "title": "Unprocessable Entity",
          "type": "urn:axle:problem:request.body_invalid"
        }"#]]
    .assert_eq(&reply.send().await.shown());
}

#[tokio::test]
async fn pages_through_devices_along_the_links() {
    let world = World::new().await;
    for index in 0..5 {
        let path = format!("/api/v1/devices/m-{index}");
        world.request("PUT", &path).token(&world.admin).json(&json!({})).send().await;
    }
    let (mut seen, mut path) = (Vec::new(), "/api/v1/devices?search=M-&limit=2".to_owned());
    loop {
        let reply = world.get(&path).send().await;
        let body = reply.json();
        let items = body["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(link) = reply.header("link") else {
            assert!(body["next"].is_null());
            break;
        };
        path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    assert_eq!(seen, ["m-0", "m-1", "m-2", "m-3", "m-4"]);
    let own = world.token("read:b-2").await;
    let reply = world.request("GET", "/api/v1/devices").token(&own).send().await;
    assert_eq!(reply.json()["items"][0]["id"], "b-2");
    assert_eq!(reply.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn issues_and_lists_certificates() {
    let world = World::new().await;
    let path = "/api/v1/devices/b-1/certificates";
    let issued = world.post(path).json(&json!({"csr": "CSR"})).send().await;
    expect![[r#"
        201 {
          "ca": "PEM of the authority",
          "certificate": "PEM of b-1",
          "fingerprint": "0707070707070707070707070707070707070707070707070707070707070707",
          "not_after": "2026-09-21T15:13:20Z"
        }"#]]
    .assert_eq(&issued.shown());
    let listed = world.get(path).send().await.json();
    assert_eq!(listed["items"][0]["revoked_at"], json!(null));
    let bound = world.post(path).json(&json!({"certificate": "PEM of acme"})).send().await;
    assert_eq!((bound.status, &bound.json()["certificate"]), (201, &json!("PEM of acme")));
    let bad = world.post(path).json(&json!({"certificate": "?"})).send().await;
    assert_eq!((bad.status, &bad.json()["errors"][0]["pointer"]), (422, &json!("/certificate")));
    for neither_nor in [json!({}), json!({"csr": "CSR", "certificate": "PEM"})] {
        let refused = world.post(path).json(&neither_nor).send().await;
        assert_eq!(refused.status, 422, "{neither_nor}");
    }
    let refused = world.post(path).json(&json!({"csr": "?"})).send().await;
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!("/csr")));
    assert_eq!(world.get("/api/v1/ca").send().await.text(), "PEM of the authority");
}

#[tokio::test]
async fn shows_latest_values_with_their_age() {
    let world = World::new().await;
    world.publish(
        "b-1",
        "status",
        r#"{"time":"2026-09-21T14:13:10Z","battery_pct":81,"locked":true}"#,
    );
    world.publish("b-1", "energy", r#"{"time":"2026-09-21T14:13:20Z","socket":"s-1","watts":1.5}"#);
    world.settle().await;
    expect![[r#"
        200 {
          "device": "b-1",
          "fields": {
            "energy.watts[s-1]": {
              "age_s": 0,
              "received_at": "2026-09-21T14:13:20Z",
              "time": "2026-09-21T14:13:20Z",
              "value": 1.5
            },
            "status.battery_pct": {
              "age_s": 10,
              "received_at": "2026-09-21T14:13:20Z",
              "time": "2026-09-21T14:13:10Z",
              "value": 81.0
            },
            "status.locked": {
              "age_s": 10,
              "received_at": "2026-09-21T14:13:20Z",
              "time": "2026-09-21T14:13:10Z",
              "value": true
            }
          },
          "last_seen": "2026-09-21T14:13:20Z",
          "online": false
        }"#]]
    .assert_eq(&world.get("/api/v1/devices/b-1/state").send().await.shown());
    let reply = world.get("/api/v1/positions").send().await.json();
    assert_eq!(reply, json!({"appended": 2, "applied": {"store": 2, "state": 2}}));
}

#[tokio::test]
async fn asks_the_store_for_a_history() {
    let world = World::new().await;
    let base = "/api/v1/devices/b-1/telemetry/ride";
    let reply = world.get(&format!("{base}?from=0&to={NOW_TEXT}&fields=lat,lon&bucket=5m&agg=max"));
    expect![[r#"
        200 {
          "columns": [
            {
              "name": "time",
              "type": "timestamp"
            },
            {
              "name": "n",
              "type": "bigint"
            },
            {
              "name": "t",
              "type": "text"
            }
          ],
          "device": "b-1",
          "reduced": false,
          "rows": [
            [
              "2026-09-21T14:13:20Z",
              -7,
              "=1+1"
            ],
            [
              null,
              0.5,
              true
            ]
          ],
          "stream": "ride",
          "truncated": false
        }"#]]
    .assert_eq(&reply.send().await.shown());
    let reply = world.get(&format!("{base}?max_points=100")).send().await;
    assert_eq!(reply.status, 200);
    expect![[r#"
        ("ride", Timestamp(0), Timestamp(1790000000000000), ["lat", "lon"], Bucket(300000000, Max))
        ("ride", Timestamp(1789913601000000), Timestamp(1790000001000000), [], Points(100))"#]]
    .assert_eq(&world.store.asked.lock().unwrap().join("\n"));
}

#[tokio::test]
async fn answers_sql_in_the_form_that_is_asked_for() {
    let world = World::new().await;
    let ask = |accept: &str| {
        world.post("/api/v1/query").header("Accept", accept).json(&json!({"sql": "SELECT 1"}))
    };
    let json = ask("application/json").send().await;
    assert_eq!(json.json()["rows"][0], json!([NOW_TEXT, -7, "=1+1"]));
    let csv = ask("text/csv").send().await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(csv.text(), format!("time,n,t\r\n{NOW_TEXT},-7,\"'=1+1\"\r\n,0.5,true\r\n"));
    let arrow = ask("application/vnd.apache.arrow.stream").send().await;
    assert_eq!((arrow.text().as_str(), arrow.header("axle-truncated")), ("ARROW", Some("true")));
    assert_eq!(ask("application/xml").send().await.code(), "request.not_acceptable");
    let reader = world.token("read:b-1").await;
    let own = world.request("POST", "/api/v1/query").token(&reader);
    assert_eq!(own.json(&json!({"sql": "SELECT 1"})).send().await.status, 200);
    assert_eq!(world.store.asked.lock().unwrap().last().unwrap(), r#"Devices(["b-1"])"#);
    let drop = world.post("/api/v1/query").json(&json!({"sql": "DROP TABLE ride"})).send().await;
    assert_eq!((drop.status, drop.code().as_str()), (403, "query.not_read_only"));
}

#[tokio::test]
async fn follows_a_command_from_creation_to_cancelation() {
    let world = World::new().await;
    let body = json!({"name": "unlock", "payload": {"slot": 2}, "timeout_s": 30});
    let created = world.post("/api/v1/devices/b-1/commands").json(&body).send().await;
    let (status, command) = (created.status, created.json());
    assert_eq!(
        (status, &command["status"], &command["payload"]),
        (202, &json!("waiting"), &json!({"slot": 2}))
    );
    let path = format!("/api/v1/commands/{}", command["id"].as_str().unwrap());
    assert_eq!(created.header("location"), Some(path.as_str()));
    let read = world.get(&path).send().await.json();
    assert_eq!(read["deadline"], "2026-09-21T14:13:50Z");
    assert_eq!(read["history"][0]["status"], "accepted");
    let listed = world.get("/api/v1/devices/b-1/commands?limit=1").send().await.json();
    assert_eq!(listed["items"][0]["id"], command["id"]);
    let canceled = world.post(&format!("{path}/cancel")).send().await;
    assert_eq!((canceled.status, &canceled.json()["status"]), (200, &json!("canceled")));
    let again = world.post(&format!("{path}/cancel")).send().await;
    assert_eq!((again.status, again.code().as_str()), (409, "command.finished"));
    let bad = json!({"name": "r", "timeout_s": 30});
    let bad = world.post("/api/v1/devices/b-1/commands").json(&bad).send().await;
    assert_eq!((bad.status, &bad.json()["errors"][0]["pointer"]), (422, &json!("/name")));
}

#[tokio::test]
async fn mends_and_replays_what_was_set_aside() {
    let world = World::new().await;
    world.publish("b-1", "ride", r#"{"time":"2036-01-01T00:00:00Z","lat":48.1}"#);
    world.settle().await;
    let listed = world.get("/api/v1/quarantine?device=b-1").send().await.json();
    let item = &listed["items"][0];
    assert_eq!((&item["code"], &item["stream"]), (&json!("time.future"), &json!("ride")));
    let path = format!("/api/v1/quarantine/{}", item["id"].as_str().unwrap());
    let read = world.get(&path).send().await.json();
    assert!(read["payload"].as_str().unwrap().contains("48.1"), "{read}");
    let as_it_is = world.post(&format!("{path}/replay")).send().await;
    assert_eq!((as_it_is.status, as_it_is.code().as_str()), (409, "quarantine.still_faulty"));
    let mend = json!({"payload": {"time": NOW_TEXT, "lat": 48.1}});
    let replayed = world.post(&format!("{path}/replay")).json(&mend).send().await;
    assert_eq!((replayed.status, &replayed.json()["offset"]), (202, &json!(1)));
    world.settle().await;
    assert_eq!(world.get(&path).send().await.json()["state"], "replayed");
    let empty = world.get("/api/v1/quarantine?device=b-2").send().await.json();
    assert_eq!(empty, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn makes_lists_and_withdraws_tokens() {
    let world = World::new().await;
    let body = json!({"scopes": ["upload:b-1", "read:b-1"]});
    let made = world.post("/api/v1/tokens").json(&body).send().await.json();
    let secret = made["token"].as_str().unwrap();
    let state = || world.request("GET", "/api/v1/devices/b-1/state").token(secret);
    assert_eq!(state().send().await.status, 200);
    let listed = world.get("/api/v1/tokens").send().await.text();
    assert!(listed.contains("read:b-1") && !listed.contains(secret));
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    let gone = world.request("DELETE", &path).token(&world.admin).send().await;
    assert_eq!((gone.status, state().send().await.code().as_str()), (204, "token.unknown"));
    let foreign =
        world.post("/api/v1/tokens").json(&json!({"scopes": ["read:nobody"]})).send().await;
    assert_eq!((foreign.status, foreign.code().as_str()), (404, "device.not_found"));
    let bad = world.post("/api/v1/tokens").json(&json!({"scopes": ["admin", "root"]})).send().await;
    assert_eq!(bad.json()["errors"][0]["pointer"], "/scopes/1");
    let admin = world.get("/api/v1/tokens").send().await.json()["items"][0]["id"].clone();
    let path = format!("/api/v1/tokens/{}", admin.as_str().unwrap());
    let last = world.request("DELETE", &path).token(&world.admin).send().await;
    assert_eq!((last.status, last.code().as_str()), (409, "token.last_admin"));
}

#[tokio::test]
async fn states_its_limits() {
    let world = World::new().await;
    let limits = world.get("/api/v1/limits").send().await.json();
    assert_eq!(limits["upload_encoded_bytes_max"], 1024 * 1024);
    assert_eq!(limits["query_seconds_max"], 10);
    world.stop().await;
}
