//! Who may do what: every route of the contract, asked by everyone.

use std::collections::BTreeMap;

use axle_domain::Role;
use serde_json::{Value, json};

use crate::client::Events;
use crate::world::World;

/// Fills a path of the contract in with things that exist and belong to `b-1`.
async fn fill(world: &World, path: &str) -> String {
    let id = if path.contains("/commands/{id}") {
        let body = json!({"name": "unlock"});
        let made = world.post("/api/v1/devices/b-1/commands").json(&body).send().await.json();
        made["id"].as_str().unwrap().to_owned()
    } else if path.contains("/quarantine/{id}") {
        "q-0-0".to_owned()
    } else if path.contains("/review/{id}") {
        "r-1".to_owned()
    } else if path.contains("/tokens/{id}") {
        "t-none".to_owned()
    } else {
        "b-1".to_owned()
    };
    if path == "/api/v1/search" {
        return format!("{path}?q=b-1");
    }
    let filled = path.replace("{id}", &id).replace("{stream}", "ride");
    let filled = filled.replace("{fingerprint}", &"07".repeat(32));
    filled.replace("{plant}", "graz").replace("{serial}", "S1").replace("{name}", "anna")
}

fn body(operation: &str) -> Value {
    match operation {
        "createUpload" => json!({"device": "b-1", "stream": "ride", "samples": [{"lat": 1}]}),
        "runQuery" => json!({"sql": "SELECT 1"}),
        "createCommand" => json!({"name": "unlock"}),
        "createCertificate" => json!({"csr": "CSR"}),
        "createApplication" => json!({"name": "erp", "subscribe": ["v1/d/+/t/#"]}),
        "createApplicationCertificate" => json!({"csr": "CSR"}),
        "transferDevice" => json!({"to": null}),
        "createToken" => json!({"scopes": ["read:b-1"]}),
        "createUser" => json!({"name": "bert", "role": "support"}),
        "createBatch" => json!({"records": []}),
        "publishMessages" => json!({"messages": [{"topic": "a", "payload": "1"}]}),
        "createConsumer" => json!({"name": "export"}),
        "putConsumerPosition" => json!({"position": 0}),
        "decideReview" => json!({"decision": "reject"}),
        "replayQuarantineItem" => json!({"payload": {"lat": 1}}),
        _ => json!({}),
    }
}

/// Status for nobody, a reader of another device, an uploader, a reader, a commander and an
/// administrator.
fn expected(operation: &str) -> [u16; 6] {
    match operation {
        "createUpload" => [401, 404, 200, 404, 404, 200],
        "getDevice"
        | "getDeviceState"
        | "getTelemetry"
        | "getConsumption"
        | "listCommands"
        | "listCertificates"
        | "getCommand"
        | "getQuarantineItem"
        | "listDeviceConnections" => [401, 404, 404, 200, 200, 200],
        "listDeviceComponents" | "getComponent" | "getComponentHistory" => {
            [401, 404, 404, 200, 200, 200]
        }
        "createBatch" | "listBatches" | "listReviews" | "listComponents" | "decideReview" => {
            [401, 403, 403, 403, 403, 200]
        }
        "search" => [401, 200, 200, 200, 200, 200],
        "getReview" => [401, 404, 404, 404, 404, 200],
        "createCommand" => [401, 404, 404, 404, 202, 202],
        "cancelCommand" => [401, 404, 404, 404, 200, 200],
        "runQuery" => [401, 200, 403, 200, 200, 200],
        "listDevices" | "getPositions" | "getLimits" | "getCa" => [401, 200, 200, 200, 200, 200],
        "getMap" => [401, 200, 403, 200, 200, 200],
        "followEvents" => [401, 200, 403, 200, 200, 200],
        "putDevice" | "patchDevice" | "revokeDevice" | "listTokens" | "listQuarantine"
        | "listConnections" | "getSystem" | "getQuality" => [401, 403, 403, 403, 403, 200],
        "publishMessages"
        | "readMessages"
        | "listConsumers"
        | "getConsumer"
        | "putConsumerPosition" => [401, 403, 403, 403, 403, 200],
        "createConsumer" => [401, 403, 403, 403, 403, 201],
        "deleteConsumer" => [401, 403, 403, 403, 403, 204],
        "deleteDevice" => [401, 403, 403, 403, 403, 204],
        "createCertificate" | "createApplication" | "createToken" | "createLoginLink"
        | "createUser" | "inviteUser" => [401, 403, 403, 403, 403, 201],
        "listUsers" | "getUser" | "patchUser" => [401, 403, 403, 403, 403, 200],
        "deleteUser" => [401, 403, 403, 403, 403, 204],
        "replayQuarantineItem" => [401, 403, 403, 403, 403, 202],
        "retireDevice" | "transferDevice" => [401, 403, 403, 403, 403, 200],
        "revokeCertificate" => [401, 403, 403, 403, 403, 404],
        "listApplications" => [401, 403, 403, 403, 403, 200],
        "revokeApplication" | "createApplicationCertificate" => [401, 403, 403, 403, 403, 404],
        "deleteToken" => [401, 403, 403, 403, 403, 404],
        other => panic!("say who may do {other}"),
    }
}

#[tokio::test]
async fn every_route_lets_in_exactly_those_it_promises() {
    let contract = World::new().await.request("GET", "/openapi.json").send().await.json();
    let mut count = 0;
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            count += 1;
            check(path, &method.to_uppercase(), operation["operationId"].as_str().unwrap()).await;
        }
    }
    assert!(count >= 27, "{count}");
}

async fn check(path: &str, method: &str, operation: &str) {
    for (index, scope) in
        ["", "read:b-2", "upload:b-1", "read:b-1", "command:b-1", "admin"].iter().enumerate()
    {
        // A world of its own each: what one may do must not be in the way of the next.
        let world = World::new().await;
        world.publish("b-1", "ride", r#"{"time":"2036-01-01T00:00:00Z"}"#);
        world.settle().await;
        let records = json!({"records": [
            {"type": "component", "serial": "S1", "kind": "battery"},
            {"type": "installation", "serial": "S1", "device": "b-1", "from": "2026-01-01"},
            {"type": "installation", "serial": "S1", "device": "b-2", "from": "2026-02-01"},
        ]});
        world.post("/api/v1/feeds/graz/batches").json(&records).send().await;
        if operation != "createConsumer" {
            let consumer = json!({"name": "anna", "from": "first"});
            world.post("/api/v1/streams/consumers").json(&consumer).send().await;
        }
        world.user("anna", Role::Support, &[]).await;
        let path = fill(&world, path).await;
        let token = if scope.is_empty() { String::new() } else { world.token(scope).await };
        let mut request = world.request(method, &path).token(&token);
        let has_body = operation.starts_with("run")
            || operation.starts_with("put")
            || operation.starts_with("publish")
            || operation.starts_with("patch")
            || operation.starts_with("replay")
            || operation.starts_with("decide")
            || operation.starts_with("transfer")
            || (operation.starts_with("create") && operation != "createLoginLink");
        if has_body {
            request = request.json(&body(operation));
        }
        let is_stream = operation == "followEvents";
        let before = world.log_len();
        let status = if is_stream && expected(operation)[index] == 200 {
            Events::open(request).await.status().await
        } else {
            let status = request.send().await.status;
            if status >= 400 {
                assert_eq!(world.log_len(), before, "{operation} by {scope:?} left something");
            }
            status
        };
        assert_eq!(status, expected(operation)[index], "{operation} by {scope:?}");
    }
}

#[tokio::test]
async fn what_belongs_to_another_looks_like_what_does_not_exist() {
    let world = World::new().await;
    let mine = world.token("command:b-2").await;
    let made = world.post("/api/v1/devices/b-1/commands").json(&json!({"name": "unlock"}));
    let command = made.send().await.json()["id"].as_str().unwrap().to_owned();
    let missing: String = command.chars().rev().collect();
    let mut pairs = BTreeMap::new();
    for suffix in ["", "/state", "/telemetry/ride", "/commands", "/certificates"] {
        pairs
            .insert(format!("/api/v1/devices/b-1{suffix}"), format!("/api/v1/devices/b-9{suffix}"));
    }
    pairs.insert(format!("/api/v1/commands/{command}"), format!("/api/v1/commands/{missing}"));
    pairs.insert("/api/v1/quarantine?device=b-1".into(), "/api/v1/quarantine?device=b-9".into());
    pairs.insert("/api/v1/events?device=b-1".into(), "/api/v1/events?device=b-9".into());
    for (foreign, nowhere) in pairs {
        let foreign = world.request("GET", &foreign).token(&mine).send().await.shown();
        let nowhere = world.request("GET", &nowhere).token(&mine).send().await.shown();
        let nowhere = nowhere.replace("b-9", "b-1").replace(&missing, &command);
        assert!(foreign.starts_with("404"), "{foreign}");
        assert_eq!(foreign, nowhere);
    }
}
