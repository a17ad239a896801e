//! The command line: what it prints, and what it ends with.

use std::process::{Command, Output};

/// The binary with an environment of its own.
pub(crate) fn axle() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_axle"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("AXLE_")) {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(folder: &std::path::Path, arguments: &[&str]) -> Output {
    axle().args(arguments).current_dir(folder).output().unwrap()
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.toml"), "[http]\nlisen = 1\n").unwrap();
    for (arguments, code, expected) in [
        (&["version"][..], 0, ""),
        (&["--version"], 0, ""),
        (&["config", "check"], 0, "valid"),
        (&[], 2, "Usage"),
        (&["frobnicate"], 2, "unrecognized"),
        (&["config", "check", "--config", "bad.toml"], 2, "bad.toml:2:1: unknown key"),
        (&["serve", "--config", "missing.toml"], 2, "missing.toml: No such file"),
        (&["device", "add", "a b"], 2, "no device id"),
        (&["token", "create"], 2, "--scope"),
        (&["token", "create", "--scope", "root"], 2, "`root` is no scope"),
        (&["verify", "--data-dir", "nowhere"], 3, "nowhere is no data directory"),
        (&["device", "list"], 6, "axle serve"),
        (&["query", "SELECT 1"], 6, "no server is ready on ./data"),
        (&["command", "send", "b-1", "unlock", "novalue"], 2, "KEY=VALUE"),
    ] {
        let output = run(folder.path(), arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    assert!(!folder.path().join("data").exists(), "nothing but a server makes a data directory");
}

#[test]
fn a_remote_server_that_is_not_there_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    for (url, code, expected) in [
        ("http://127.0.0.1:1", 6, "no server answers at http://127.0.0.1:1 (AXLE_URL)"),
        ("https://127.0.0.1:1", 2, "expected it to begin with http://"),
        ("http://a/b", 2, "expected host and port"),
    ] {
        let mut command = axle();
        command.args(["device", "list"]).env("AXLE_URL", url).env("AXLE_TOKEN", "x");
        let output = command.current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}
