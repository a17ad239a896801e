//! What a value must be, alone and beside the others.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use toml::{Table, Value};

use super::source::Setting;
use super::{Config, Loaded, PlainAccess};

/// What is wrong with one value, in words.
pub(super) fn value(known: &Table, section: &str, key: &str, setting: &Setting) -> Option<String> {
    let default = known.get(section)?.get(key)?;
    let fault = |reason: &str| {
        let Setting { value, origin } = setting;
        Some(format!("{origin}: `{section}.{key}` = {}: {reason}", shown(value)))
    };
    if !setting.value.same_type(default) {
        return fault(&format!("expected {}, such as {}", form(default), shown(default)));
    }
    if let (Value::Integer(number), Value::Integer(1..)) = (&setting.value, default)
        && *number <= 0
    {
        return fault("expected a whole number of 1 or more");
    }
    // All other settings are left at their defaults: what fails now is this value.
    let alone = Table::from_iter([(key.to_owned(), setting.value.clone())]);
    let alone = Table::from_iter([(section.to_owned(), Value::Table(alone))]);
    if let Err(error) = Config::deserialize(alone) {
        return fault(error.message());
    }
    if let (true, Value::String(text)) = (is_listener(key), &setting.value)
        && text != "off"
        && split_host(text).is_none()
    {
        return fault("expected \"host:port\" or \"off\", such as \"127.0.0.1:8080\"");
    }
    None
}

/// What is wrong with values that are right by themselves.
pub(super) fn together(loaded: &Loaded) -> Vec<String> {
    let listeners = listeners(&loaded.config);
    let origin = |path: &str| {
        let (section, key) = path.split_once('.').unwrap_or((path, ""));
        loaded.origin(section, key)
    };
    let mut faults = Vec::new();
    for (index, (path, host, port)) in listeners.iter().enumerate() {
        for (other, other_host, other_port) in listeners.iter().skip(index + 1) {
            if *port != 0 && port == other_port && overlap(host, other_host) {
                faults.push(format!(
                    "`{path}` ({}) and `{other}` ({}) both listen on port {port}",
                    origin(path),
                    origin(other)
                ));
            }
        }
    }
    let Config { http, ops, mqtt, .. } = &loaded.config;
    if let Err(error) = mqtt.layouts() {
        faults.push(format!("{}: `mqtt.layouts`: {}", origin("mqtt.layouts"), error.message));
    }
    for (path, host) in exposed(&loaded.config) {
        let (section, is_allowed) = match path.as_str() {
            "http.listen" => ("http", http.allow_insecure),
            "ops.listen" => ("ops", ops.allow_insecure),
            _ => ("mqtt", mqtt.allow_insecure),
        };
        if !is_allowed {
            faults.push(format!(
                "{}: `{path}` is on {host}, which others can reach, and has no TLS: bind it to \
                 loopback, or accept that with `--allow-insecure` or \
                 `{section}.allow_insecure = true`",
                origin(&path)
            ));
        }
        if path == "mqtt.plain_listen" && mqtt.plain_access == PlainAccess::All {
            faults.push(format!(
                "{}: `mqtt.plain_access` = \"all\" lets anyone publish anything; it needs \
                 `mqtt.plain_listen` on loopback, and that is {host}",
                origin("mqtt.plain_access")
            ));
        }
    }
    faults
}

/// Listeners without TLS that others can reach: path of the setting, and host.
pub(super) fn exposed(config: &Config) -> Vec<(String, String)> {
    let plain = |path: &str| matches!(path, "http.listen" | "ops.listen" | "mqtt.plain_listen");
    listeners(config)
        .into_iter()
        .filter(|(path, host, _)| plain(path) && !is_loopback(host))
        .map(|(path, host, _)| (path, host))
        .collect()
}

/// All listeners that are on: path of the setting, host, port.
fn listeners(config: &Config) -> Vec<(String, String, u16)> {
    let mut listeners = Vec::new();
    for (section, keys) in &config.to_table() {
        for (key, value) in keys.as_table().into_iter().flatten() {
            let address = value.as_str().filter(|_| is_listener(key)).and_then(split_host);
            listeners.extend(
                address.map(|(host, port)| (format!("{section}.{key}"), host.to_owned(), port)),
            );
        }
    }
    listeners
}

fn is_listener(key: &str) -> bool {
    key == "listen" || key.ends_with("_listen")
}

/// Host and port of `host:port`.
fn split_host(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    is_host.then_some(())?;
    port.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    Some((host, port.parse().ok()?))
}

/// Whether only this machine reaches a host.
fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_name) => {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
        }
    }
}

/// Whether two hosts may be one address.
fn overlap(one: &str, other: &str) -> bool {
    let any = |host: &str| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let both_loopback = is_loopback(one) && is_loopback(other);
    one == other
        || any(one)
        || any(other)
        || (both_loopback && (one == "localhost" || other == "localhost"))
}

fn form(default: &Value) -> &'static str {
    match default {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// A value as one would write it, cut where it is long.
fn shown(value: &Value) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return text;
    }
    text.chars().take(SHOWN_CHARS_MAX).chain(['…']).collect()
}
