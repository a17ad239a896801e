//! Configuration: precedence, and what each fault is answered with.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use axle_server::config::{Config, Loaded, Origin, Sources};

fn read(file: &[u8], variables: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("axle.toml");
    fs::write(&path, file).unwrap();
    let pair = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    let sources = Sources {
        file: Some(path),
        variables: variables.iter().map(pair).collect(),
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        allow_insecure: false,
    };
    let strip = format!("{}/", folder.path().display());
    Loaded::read(&sources).map_err(|failure| failure.message.replace(&strip, ""))
}

#[test]
fn starts_with_no_configuration_at_all() {
    let loaded = Loaded::read(&Sources::default()).unwrap();
    assert_eq!(loaded.config.http.listen, "127.0.0.1:8080");
    assert_eq!(loaded.config.mqtt.plain_listen, "off");
    assert_eq!(loaded.origin("http", "listen"), Origin::Default);
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = b"[http]\nlisten = \"127.0.0.1:1\"\n[ops]\nlisten = \"127.0.0.1:2\"\n\
        [log]\nretention_age = \"2d\"\n";
    let variables = [("AXLE_HTTP__LISTEN", "127.0.0.1:3"), ("AXLE_OPS__LISTEN", "127.0.0.1:4")];
    let loaded = read(file, &variables, &["http.listen=127.0.0.1:5"]).unwrap();
    let Config { http, ops, log, .. } = &loaded.config;
    assert_eq!((http.listen.as_str(), ops.listen.as_str()), ("127.0.0.1:5", "127.0.0.1:4"));
    assert_eq!(log.retention_age.0.as_secs(), 2 * 86_400);
    let text = loaded.print();
    assert!(text.contains("listen = \"127.0.0.1:5\" # --set http.listen\n"), "{text}");
    assert!(text.contains("listen = \"127.0.0.1:4\" # AXLE_OPS__LISTEN\n"), "{text}");
    assert!(text.contains("retention_age = \"2d\" # "), "{text}");
    assert!(text.contains("axle.toml:6:1\n"), "{text}");
    assert!(text.contains("retention_bytes = \"8GiB\" # default\n"), "{text}");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let text = Loaded::read(&Sources::default()).unwrap().print();
    let again = read(text.as_bytes(), &[], &[]).unwrap();
    assert_eq!(format!("{:?}", again.config), format!("{:?}", Config::default()));
}

#[test]
fn lists_come_from_variables_with_commas() {
    let loaded = read(b"", &[("AXLE_SERVER__NAMES", "a.example, b.example")], &[]).unwrap();
    assert_eq!(loaded.config.server.names, ["a.example", "b.example"]);
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_no_fault() {
    let loaded = read(b"\xef\xbb\xbf[http]\r\nlisten = \"off\"\r\n", &[], &[]).unwrap();
    assert_eq!(loaded.config.http.listen, "off");
}

#[test]
fn each_fault_names_its_place_and_what_would_be_right() {
    for (file, expected) in [
        (
            "[http]\nlisen = \"off\"",
            "axle.toml:2:1: unknown key `http.lisen`: did you mean `http.listen`?",
        ),
        ("[htpp]\n", "axle.toml:1:2: unknown section `htpp`: did you mean `http`?"),
        (
            "[mqtt]\n\n  max_conections = 5",
            "axle.toml:3:3: unknown key `mqtt.max_conections`: did you mean `mqtt.connections_max`?",
        ),
        ("listen = 1", "axle.toml:1:1: `listen` stands outside of a section"),
        ("[http]\nlisten = ", "axle.toml:2:10: "),
        (
            "[http]\nlisten = 8080",
            "axle.toml:2:1: `http.listen` = 8080: expected text, such as \"127.0.0.1:8080\"",
        ),
        (
            "[http]\nlisten = \"8080\"",
            "`http.listen` = \"8080\": expected \"host:port\" or \"off\"",
        ),
        ("[http]\nlisten = \"127.0.0.1:99999\"", "expected \"host:port\" or \"off\""),
        (
            "[http]\nconnections_max = 0",
            "`http.connections_max` = 0: expected a whole number of 1 or more",
        ),
        ("[http]\nconnections_max = -5", "expected a whole number of 1 or more"),
        (
            "[http]\nconnections_max = 99999999999999999999",
            "axle.toml:2:1: the value of `http.connections_max` is too large",
        ),
        ("[http]\nuploads_per_minute_and_token = 5000000000", "expected u32"),
        ("[http]\nconnections_max = nan", "`http.connections_max` = nan: expected a whole number"),
        ("[http]\ntrusted_proxies = [\"x\"]", "`http.trusted_proxies` = [\"x\"]: "),
        ("[log]\nretention_age = 10", "`log.retention_age` = 10: expected text, such as \"1d\""),
        ("[log]\nretention_age = \"10\"", "expected a duration such as"),
        (
            "[log]\nretention_bytes = \"5MB\"",
            "`log.retention_bytes` = \"5MB\": expected a size such as \"64KiB\"",
        ),
        (
            "[mqtt]\nplain_access = \"some\"",
            "`mqtt.plain_access` = \"some\": unknown variant `some`, expected `device` or `all`",
        ),
        (
            "[http]\nlisten = \"127.0.0.1:7000\"\n[ops]\nlisten = \"127.0.0.1:7000\"",
            "`http.listen` (axle.toml:2:1) and `ops.listen` (axle.toml:4:1) both listen on port 7000",
        ),
        (
            "[mqtt]\nplain_listen = \"0.0.0.0:1883\"",
            "axle.toml:2:1: `mqtt.plain_listen` is on 0.0.0.0, which others can reach, and has no TLS",
        ),
        ("[http]\nlisten = \"[::]:8080\"", "`http.listen` is on ::"),
        (
            "[mqtt]\nplain_listen = \"10.0.0.1:1883\"\nallow_insecure = true\nplain_access = \"all\"",
            "axle.toml:4:1: `mqtt.plain_access` = \"all\"",
        ),
    ] {
        let message = read(file.as_bytes(), &[], &[]).unwrap_err();
        assert!(message.contains(expected), "{file:?}\n is answered with {message}");
    }
}

#[test]
fn faults_of_layouts_name_their_place() {
    for (file, expected) in [
        (
            "[mqtt]\nlayouts = [\"bikes/{device}/up -> nowhere/{device}\"]",
            "axle.toml:2:1: `mqtt.layouts` = [\"bikes/{device}/up -> nowhere/{device}\"]: \
             `bikes/{device}/up -> nowhere/{device}`: what comes up becomes",
        ),
        (
            "[mqtt]\nlayouts = [\"b/{device} -> v1/d/{device}/t/ride\", \
             \"b/{device} -> v1/d/{device}/t/status\"]",
            "axle.toml:2:1: `mqtt.layouts`: `b/{device} -> v1/d/{device}/t/ride` and \
             `b/{device} -> v1/d/{device}/t/status` map the same topics",
        ),
    ] {
        let message = read(file.as_bytes(), &[], &[]).unwrap_err();
        assert!(message.contains(expected), "{file:?}\n is answered with {message}");
    }
}

#[test]
fn faults_of_variables_and_flags_name_them() {
    for (name, value, expected) in [
        (
            "AXLE_HTTP__LISEN",
            "off",
            "AXLE_HTTP__LISEN: unknown key `http.lisen`: did you mean `AXLE_HTTP__LISTEN`?",
        ),
        (
            "AXLE_MQT__LISTEN",
            "off",
            "AXLE_MQT__LISTEN: unknown section `mqt`: did you mean `mqtt`?",
        ),
        (
            "AXLE_HTTP_LISTEN",
            "off",
            "AXLE_HTTP_LISTEN: unknown variable: did you mean `AXLE_HTTP__LISTEN`?",
        ),
        (
            "AXLE_HTTP__CONNECTIONS_MAX",
            "many",
            "AXLE_HTTP__CONNECTIONS_MAX: `http.connections_max` = \"many\": expected a whole number",
        ),
        ("AXLE_HTTP__ALLOW_INSECURE", "maybe", "expected true or false"),
    ] {
        let message = read(b"", &[(name, value)], &[]).unwrap_err();
        assert!(message.contains(expected), "{name}={value}\n is answered with {message}");
    }
    let message = read(b"", &[], &["http"]).unwrap_err();
    assert_eq!(message, "--set http: expected SECTION.KEY=VALUE");
    let message = read(b"", &[], &["http.names2=x"]).unwrap_err();
    assert!(message.starts_with("--set http.names2: unknown key"), "{message}");
}

#[test]
fn all_faults_are_told_at_once() {
    let message = read(b"[http]\nlisen = 1\nconnections_max = 0\n", &[], &[]).unwrap_err();
    assert_eq!(message.lines().count(), 2, "{message}");
}

#[test]
fn a_file_that_is_none_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.toml");
    fs::File::create(&large).unwrap().set_len(1 << 30).unwrap();
    let binary = folder.path().join("binary.toml");
    fs::write(&binary, b"[http]\n\xff\xfe").unwrap();
    let circle = folder.path().join("circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    for (path, expected) in [
        (folder.path().join("missing"), "No such file"),
        (folder.path().to_owned(), "it is not a file"),
        (large, "it is 1073741824 bytes long"),
        (binary, "line 2 is not UTF-8"),
        (circle, "symbolic links"),
        (PathBuf::from("/dev/null"), "it is not a file"),
    ] {
        let sources = Sources { file: Some(path.clone()), ..Sources::default() };
        let message = Loaded::read(&sources).unwrap_err().message;
        assert!(message.starts_with(&path.display().to_string()), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn beyond_loopback_is_a_choice() {
    let variables = [("AXLE_MQTT__PLAIN_LISTEN", "0.0.0.0:1883")];
    let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let sources = Sources { variables: variables.to_vec(), ..Sources::default() };
    assert!(Loaded::read(&sources).is_err());
    let loaded = Loaded::read(&Sources { allow_insecure: true, ..sources }).unwrap();
    assert!(loaded.config.mqtt.allow_insecure && loaded.config.http.allow_insecure);
    assert_eq!(loaded.origin("mqtt", "allow_insecure").to_string(), "--allow-insecure");
}
