//! The ways through the whole system: a message up, a command down, and both over restarts.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::{axle, text};
use crate::device::Device;
use crate::server::TestServer;

/// Rows of a question once everything that was acknowledged before is in it.
pub(crate) fn rows(server: &TestServer, sql: &str) -> Value {
    let client = |path: &str| get(server, path);
    let appended = client("/api/v1/positions")["appended"].as_u64().unwrap();
    let mut applied = 0;
    // Each look is a request of its own; projections need a few milliseconds.
    for _ in 0..1000 {
        let positions = client("/api/v1/positions");
        let parts = positions["applied"].as_object().unwrap().values();
        applied = parts.map(|part| part.as_u64().unwrap()).min().unwrap();
        if applied >= appended {
            return server.json(&["query", sql, "--json"])["rows"].clone();
        }
    }
    panic!("projections are at {applied} of {appended}");
}

/// GET with the administrator's token, over a plain socket.
pub(crate) fn get(server: &TestServer, path: &str) -> Value {
    use std::io::{Read, Write};
    let address = server.address("http");
    let token = std::fs::read_to_string(server.data_dir().join("admin.token")).unwrap();
    let mut socket = std::net::TcpStream::connect(&address).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Connection: close\r\n\r\n",
        token.trim()
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap()
}

/// What `axle log dump` prints.
fn dump(data: &std::path::Path, arguments: &[&str]) -> Vec<Value> {
    let mut command = axle();
    command.args(["log", "dump", "--json", "--data-dir"]).arg(data).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_message_goes_the_whole_way_and_survives_stop_and_kill() {
    let server = TestServer::start();
    let keys = server.folder().path().join("keys");
    let printed = server.ok(&["device", "add", "b-1", "--out", "keys", "--kind", "bike"]);
    assert!(printed.starts_with("mosquitto_pub -h 127.0.0.1 -p "), "{printed}");
    let mut device = Device::connect(&server.address("mqtts"), &keys, "b-1");
    let payload = json!({"time": "2026-01-02T03:04:05Z", "battery_pct": 81, "locked": true});
    device.publish("v1/d/b-1/t/status", &payload.to_string());
    let sql = "SELECT device, battery_pct, locked FROM status ORDER BY battery_pct";
    assert_eq!(rows(&server, sql), json!([["b-1", 81.0, true]]));
    assert!(server.ok(&["query", sql]).contains("b-1"));
    assert!(server.ok(&["device", "show", "b-1"]).contains("status.battery_pct"));
    let folder = server.stop();

    let server = TestServer::start_on(folder, &[]);
    assert_eq!(rows(&server, sql), json!([["b-1", 81.0, true]]));
    let mut device = Device::connect(&server.address("mqtts"), &keys, "b-1");
    let payload = json!({"time": "2026-01-02T03:05:05Z", "battery_pct": 82});
    device.publish("v1/d/b-1/t/status", &payload.to_string());
    device.publish("v1/d/b-1/t/status", "nonsense");
    let folder = server.kill();

    let server = TestServer::start_on(folder, &[]);
    assert_eq!(rows(&server, sql), json!([["b-1", 81.0, true], ["b-1", 82.0, null]]));
    let listed = server.json(&["quarantine", "list", "--json"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    let running = server.json(&["verify", "--json"]);
    assert_eq!(running["parts"]["replay"], json!(null), "not beside a server that writes");
    assert_eq!(dump(&server.data_dir(), &["--topic", "v1/d/+/t/status", "--from", "2"]).len(), 2);
    let folder = server.kill();
    let mut verify = axle();
    verify.args(["verify", "--json", "--data-dir"]).arg(folder.path().join("data"));
    let output = verify.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // With what the server says of the device's presence.
    let every = dump(&folder.path().join("data"), &[]).len();
    assert_eq!(report["parts"]["log"]["figures"]["records"], every, "{report}");
    let compared = &report["parts"]["replay"]["figures"];
    assert_eq!((&compared["records"], &compared["is_whole"]), (&json!(every), &json!(true)));
    let said = ["--device", "b-1", "--source", "mqtt"];
    let records = dump(&folder.path().join("data"), &said);
    assert_eq!((records.len(), &records[2]["payload"]), (3, &json!("nonsense")));
    assert_eq!((&records[0]["source"], &records[0]["qos"]), (&json!("mqtt"), &json!(1)));
}

#[test]
fn a_command_goes_down_and_its_answer_comes_back() {
    let server = TestServer::start();
    server.ok(&["device", "add", "b-2", "--out", "keys"]);
    let mut device =
        Device::connect(&server.address("mqtts"), &server.folder().path().join("keys"), "b-2");
    device.subscribe("v1/d/b-2/c/#");
    let mut send = axle();
    send.args(["command", "send", "b-2", "unlock", "minutes=5", "--wait", "--json"]);
    send.env("AXLE_DATA_DIR", server.data_dir()).stdout(std::process::Stdio::piped());
    let send = send.spawn().unwrap();
    let (topic, payload) = device.receive();
    let command: Value = serde_json::from_str(&payload).unwrap();
    assert_eq!(command["payload"], json!({"minutes": 5}));
    let id = command["id"].as_str().unwrap();
    assert_eq!(topic, format!("v1/d/b-2/c/{id}/unlock"));
    device.publish(&format!("v1/d/b-2/c/{id}/r"), r#"{"status":"succeeded","result":{"ok":1}}"#);
    let output = send.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["status"], "succeeded");

    let mut refused = axle();
    refused.args(["command", "send", "b-2", "unlock", "--wait"]);
    refused.env("AXLE_DATA_DIR", server.data_dir());
    let refused = refused.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let (_, payload) = device.receive();
    let command: Value = serde_json::from_str(&payload).unwrap();
    let topic = format!("v1/d/b-2/c/{}/r", command["id"].as_str().unwrap());
    device.publish(&topic, r#"{"status":"rejected","reason":"moving"}"#);
    assert_eq!(refused.wait_with_output().unwrap().status.code(), Some(5));
    server.stop();
}

#[test]
fn devices_can_be_added_before_the_first_start() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let keys = folder.path().join("keys");
    let add = |arguments: &[&str]| {
        let mut command = axle();
        command.args(["device", "add", "b-3", "--out"]).arg(&keys).args(arguments);
        command.arg("--data-dir").arg(folder.path().join("data")).output().unwrap()
    };
    let added = add(&[]);
    assert!(added.status.success(), "{}", text(&added.stderr));
    let again = add(&[]);
    assert_eq!(again.status.code(), Some(4), "{}", text(&again.stderr));
    assert!(add(&["--renew"]).status.success());
    let server = TestServer::start_on(Arc::clone(&folder), &[]);
    let mut device = Device::connect(&server.address("mqtts"), &keys, "b-3");
    device.publish("v1/d/b-3/t/status", r#"{"battery_pct":1}"#);
    let listed = server.json(&["device", "list", "--json"]);
    assert_eq!(listed[0]["id"], "b-3", "{listed}");
    let again = server.run(&["device", "add", "b-3", "--out", "elsewhere"]);
    assert_eq!(again.status.code(), Some(4), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("--renew"));
    server.ok(&["device", "add", "b-3", "--out", "elsewhere", "--renew"]);
    let elsewhere = folder.path().join("elsewhere");
    Device::connect(&server.address("mqtts"), &elsewhere, "b-3");
    server.ok(&["device", "revoke", "b-3"]);
    assert!(server.ok(&["device", "list"]).contains("revoked"));
    server.stop();
}

#[test]
fn tokens_are_made_listed_and_withdrawn() {
    let server = TestServer::start();
    assert_eq!(server.run(&["token", "create", "--scope", "read:b-9"]).status.code(), Some(3));
    server.ok(&["device", "add", "b-9", "--out", "keys"]);
    let made = server.json(&["token", "create", "--scope", "read:b-9", "--json"]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(server.ok(&["token", "list"]).contains(id));
    let remote = |arguments: &[&str]| {
        let mut command = axle();
        command.args(arguments).env("AXLE_URL", format!("http://{}", server.address("http")));
        command.env("AXLE_TOKEN", secret).output().unwrap()
    };
    assert!(remote(&["device", "show", "b-9"]).status.success());
    assert_eq!(remote(&["token", "list"]).status.code(), Some(5), "not entitled");
    server.ok(&["token", "revoke", id]);
    assert_eq!(remote(&["device", "show", "b-9"]).status.code(), Some(5), "not known any more");
    assert_eq!(server.run(&["token", "revoke", id]).status.code(), Some(3));
    server.stop();
}
