//! What a device goes through after it was added, by command.

use std::fs;

use serde_json::{Value, json};

use crate::device::Device;
use crate::server::TestServer;

fn status(server: &TestServer, id: &str) -> Value {
    server.json(&["device", "show", id, "--json"])["device"]["status"].clone()
}

#[test]
fn an_import_goes_on_where_it_was_interrupted() {
    let server = TestServer::start();
    let folder = server.folder();
    let lines: String = (0..40).map(|n| format!("m-{n},meter\n")).collect();
    fs::write(folder.path().join("meters.csv"), format!("id,kind\n{lines}")).unwrap();
    let import = || server.json(&["device", "import", "meters.csv", "--out", "keys", "--json"]);
    let summary = |registered, certified, unchanged, barred| {
        json!({"registered": registered, "certified": certified, "unchanged": unchanged,
               "barred": barred})
    };
    assert_eq!(import(), summary(40, 0, 0, 0));
    assert_eq!(import(), summary(0, 0, 40, 0), "there is nothing left to do");
    // As if it had been interrupted: a device without its certificate, with and without a key.
    let keys = folder.path().join("keys");
    fs::remove_file(keys.join("m-7.crt")).unwrap();
    fs::remove_file(keys.join("m-8.crt")).unwrap();
    fs::remove_file(keys.join("m-8.key")).unwrap();
    fs::remove_file(keys.join("m-9.crt")).unwrap();
    server.ok(&["device", "revoke", "m-9"]);
    assert_eq!(import(), summary(0, 2, 37, 1));
    assert!(!keys.join("m-9.crt").exists(), "a revoked device gets none");
    for id in ["m-0", "m-7", "m-8"] {
        Device::connect(&server.address("mqtts"), &keys, id)
            .publish(&format!("v1/d/{id}/t/status"), "{\"battery_pct\":1}");
    }
}

#[test]
fn a_rotation_overlaps_and_then_ends_what_was_before() {
    let server = TestServer::start();
    let keys = server.folder().path().join("keys");
    let add = server.ok(&["device", "add", "b-1", "--out", "keys"]);
    assert!(add.contains("mosquitto_pub"), "{add}");
    let old = server.folder().path().join("old");
    fs::create_dir(&old).unwrap();
    for file in ["b-1.key", "b-1.crt", "ca.crt"] {
        fs::copy(keys.join(file), old.join(file)).unwrap();
    }
    let rotate = |overlap: &str| {
        let out = ["device", "rotate", "b-1", "--out", "keys", "--overlap", overlap, "--json"];
        server.json(&out)
    };
    let answer = rotate("1h");
    assert_eq!(answer["ended"].as_array().unwrap().len(), 1, "{answer}");
    let mqtts = server.address("mqtts");
    Device::connect(&mqtts, &old, "b-1");
    Device::connect(&mqtts, &keys, "b-1");
    let answer = rotate("0s");
    assert_eq!(answer["ended"].as_array().unwrap().len(), 1, "the first one ends already");
    Device::connect(&mqtts, &keys, "b-1");
    let certificates = server.json(&["device", "show", "b-1", "--json"]);
    assert_eq!(certificates["device"]["status"], "active");
    let gone = server.run(&["device", "rotate", "nobody", "--out", "keys"]);
    assert_eq!(gone.status.code(), Some(3));
    assert!(!keys.join("nobody.key").exists(), "nothing is written for nobody");
}

#[test]
fn devices_change_hands_and_retire() {
    let server = TestServer::start();
    server.ok(&["device", "add", "b-1", "--out", "keys"]);
    for user in ["anna", "bert"] {
        server.ok(&["user", "add", user, "--role", "household"]);
    }
    let transfer =
        |to: &[&str]| server.json(&[&["device", "transfer", "b-1", "--json"][..], to].concat());
    assert_eq!(transfer(&["--to", "anna"])["former"], json!([]));
    assert_eq!(transfer(&["--to", "bert"])["former"], json!(["anna"]));
    let answer = transfer(&["--to-nobody"]);
    assert_eq!((&answer["former"], &answer["owner"]), (&json!(["bert"]), &Value::Null));
    for (arguments, code) in [
        (&["device", "transfer", "b-1", "--to", "carl"][..], 3),
        (&["device", "transfer", "b-2", "--to", "anna"], 3),
        (&["device", "transfer", "b-1"], 2),
        (&["device", "transfer", "b-1", "--to", "anna", "--to-nobody"], 2),
        (&["device", "retire", "b-2"], 3),
    ] {
        assert_eq!(server.run(arguments).status.code(), Some(code), "{arguments:?}");
    }
    server.ok(&["device", "retire", "b-1"]);
    assert_eq!(status(&server, "b-1"), "retired");
    server.ok(&["device", "retire", "b-1"]);
    let renewed = server.run(&["device", "rotate", "b-1", "--out", "keys"]);
    assert_eq!(renewed.status.code(), Some(5), "who is retired gets no certificate");
}

#[test]
fn the_authority_is_replaced_while_the_server_runs() {
    let server = TestServer::start();
    server.ok(&["device", "add", "b-1", "--out", "old"]);
    let (mqtts, folder) = (server.address("mqtts"), server.folder());
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let mut open = Device::connect(&mqtts, &old, "b-1");
    let signed_by = || server.json(&["authority", "show", "--json"])["ends"].clone();
    assert_eq!(signed_by().as_array().unwrap().len(), 2);
    server.ok(&["authority", "replace"]);
    assert_eq!(signed_by().as_array().unwrap().len(), 3, "the one before is there still");
    let again = server.run(&["authority", "replace"]);
    assert_eq!(again.status.code(), Some(4));
    // The server follows within a second or two.
    let authority = fs::read_to_string(server.data_dir().join("ca.crt")).unwrap();
    let follows = || {
        server.ok(&["device", "rotate", "b-1", "--out", "new"]);
        fs::read_to_string(new.join("ca.crt")).unwrap().contains(authority.trim())
    };
    assert!((0..400).any(|_| follows()), "new certificates are the new authority's");
    open.publish("v1/d/b-1/t/status", "{\"battery_pct\":1}");
    Device::connect(&mqtts, &old, "b-1");
    Device::connect(&mqtts, &new, "b-1");
    server.ok(&["authority", "finish"]);
    let finished = server.run(&["authority", "finish"]);
    assert_eq!(finished.status.code(), Some(4));
    assert_eq!(signed_by().as_array().unwrap().len(), 2);
    let lost = server.run(&["authority", "show", "--data-dir", "nowhere"]);
    assert_eq!(lost.status.code(), Some(3));
}
