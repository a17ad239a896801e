//! One wrong bit in the state: nobody is served from it, and everybody is told.

use std::fs;
use std::path::Path;

use crate::cli::{axle, text};
use crate::server::TestServer;

/// Another kind of device than was registered, in a file that stays well-formed.
fn spoil(path: &Path) -> Vec<u8> {
    let whole = fs::read(path).unwrap();
    let at = whole.windows(4).rposition(|bytes| bytes == b"bike").unwrap();
    let mut spoilt = whole.clone();
    spoilt[at + 1] ^= 1;
    fs::write(path, spoilt).unwrap();
    whole
}

/// What `serve` and `verify` say of a directory that they must refuse.
fn refused(folder: &Path) -> [String; 2] {
    let data = folder.join("data");
    let mut serve = axle();
    serve.args(["serve", "--data-dir"]).arg(&data);
    for listener in ["HTTP", "OPS", "MQTT", "DEVICE_HTTPS"] {
        serve.env(format!("AXLE_{listener}__LISTEN"), "127.0.0.1:0");
    }
    let serve = serve.output().unwrap();
    assert!(!serve.status.success());
    let verify = axle().args(["verify", "--data-dir"]).arg(&data).output().unwrap();
    assert_eq!(verify.status.code(), Some(5));
    [text(&serve.stderr), text(&verify.stdout)]
}

#[test]
fn a_server_does_not_start_on_a_wrong_bit_of_its_state_or_of_the_states_log() {
    let server = TestServer::start();
    server.ok(&["device", "add", "b-1", "--out", "keys", "--kind", "bike"]);
    let folder = server.stop();
    let path = folder.path().join("data/state.db");
    let whole = spoil(&path);
    for said in refused(folder.path()) {
        assert!(said.contains("is not what was written there"), "{said}");
    }
    fs::write(&path, whole).unwrap();

    let server = TestServer::start_on(folder, &[]);
    server.ok(&["device", "add", "b-2", "--out", "keys", "--kind", "bike"]);
    let folder = server.kill();
    let path = folder.path().join("data/state.db-wal");
    let whole = spoil(&path);
    for said in refused(folder.path()) {
        assert!(said.contains("of the write-ahead log"), "{said}");
    }
    fs::write(&path, whole).unwrap();

    let server = TestServer::start_on(folder, &[]);
    for id in ["b-1", "b-2"] {
        assert!(server.ok(&["device", "show", id]).contains("bike"));
    }
}
