//! `axle device`: the registry, with the server running or stopped.

mod credentials;
mod import;
mod lifecycle;

use std::fs;
use std::path::Path;
use std::time::Duration;

use axle_app::NewDevice;
use axle_domain::{DeviceId, Kind};
use hyper::Method;
use serde_json::{Value, json};

use crate::assemble::Assembly;
use crate::cli::{DeviceAddArgs, DeviceCommand, ListArgs, ServeArgs, ThingArgs};
use crate::client::{Call, Client, encode_segment, encode_value};
use crate::config::Config;
use crate::data_dir::{self, Addresses, DataDir};
use crate::failure::{Exit, Failure};
use crate::output::{TextTable, cell, items, note, print, print_json};

/// How long a server that is starting is waited for.
const START_TIME_MAX: Duration = Duration::from_secs(15);
/// How often it is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) async fn run(command: DeviceCommand) -> Result<(), Failure> {
    match command {
        DeviceCommand::Add(args) => add(args).await,
        DeviceCommand::Import(args) => import::run(args).await,
        DeviceCommand::List(args) => list(args).await,
        DeviceCommand::Show(args) => show(args).await,
        DeviceCommand::Connections(args) => super::connections::of_device(args).await,
        DeviceCommand::Rotate(args) => lifecycle::rotate(args).await,
        DeviceCommand::Revoke(args) => lifecycle::revoke(args).await,
        DeviceCommand::Transfer(args) => lifecycle::transfer(args).await,
        DeviceCommand::Retire(args) => lifecycle::retire(args).await,
    }
}

/// What a device needs to connect.
struct Credentials {
    certificate_pem: String,
    authority_pem: String,
    /// Where it connects to.
    mqtts: Option<String>,
}

async fn add(args: DeviceAddArgs) -> Result<(), Failure> {
    let device = DeviceId::parse(&args.id)?;
    let key_path = args.out.join(format!("{device}.key"));
    fs::create_dir_all(&args.out).map_err(|error| Failure::file("create", &args.out, &error))?;
    if key_path.exists() && !args.renew {
        let message = format!("{} exists already", key_path.display());
        return Err(Failure::new(Exit::Conflict, message).with_hint(
            "another `--out`, or `--renew` for one more certificate with a key that replaces it",
        ));
    }
    let (key_pem, request_pem) = axle_mqtt::new_key_and_request(&device)?;
    let credentials = match open(&args).await? {
        Desk::Running(client, addresses) => {
            enroll_over_api(&client, &device, &args, &request_pem, addresses).await?
        }
        Desk::Stopped(data) => enroll_in_place(data, &device, &args, &request_pem).await?,
    };
    let certificate_path = args.out.join(format!("{device}.crt"));
    let authority_path = args.out.join("ca.crt");
    data_dir::put(&key_path, key_pem.as_bytes(), 0o600)?;
    data_dir::put(&certificate_path, credentials.certificate_pem.as_bytes(), 0o644)?;
    data_dir::put(&authority_path, credentials.authority_pem.as_bytes(), 0o644)?;
    note(&format!(
        "device {device} is registered; {}, {} and {} are written; try:",
        key_path.display(),
        certificate_path.display(),
        authority_path.display()
    ));
    print(&recipe(&device, &args.out, credentials.mqtts.as_deref()))
}

/// Who registers the device.
enum Desk {
    /// The server, which says where its listeners are unless it is on another machine.
    Running(Client, Option<Addresses>),
    /// This process, on the data directory that nobody else holds.
    Stopped(DataDir),
}

/// Finds the server, waits for one that is starting, or takes the data directory.
async fn open(args: &DeviceAddArgs) -> Result<Desk, Failure> {
    if args.target.is_remote() {
        return Ok(Desk::Running(Client::find(&args.target)?, None));
    }
    let path = args.target.data_dir();
    let deadline = tokio::time::Instant::now() + START_TIME_MAX;
    loop {
        let conflict = match DataDir::open(&path, "device add") {
            Ok(data) => return Ok(Desk::Stopped(data)),
            Err(failure) if failure.exit == Exit::Conflict => failure,
            Err(failure) => return Err(failure),
        };
        if let Some(addresses) = data_dir::find_addresses(&path)? {
            let client = Client::local(&path, &addresses)?;
            return Ok(Desk::Running(client, Some(addresses)));
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(conflict);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn enroll_over_api(
    client: &Client,
    device: &DeviceId,
    args: &DeviceAddArgs,
    request_pem: &str,
    addresses: Option<Addresses>,
) -> Result<Credentials, Failure> {
    let path = format!("/api/v1/devices/{}", encode_segment(device.as_str()));
    let body = json!({"name": args.name, "kind": args.kind});
    let call = Call {
        method: Method::PUT,
        path: &path,
        body: Some(&body),
        is_new: true,
        ..Call::default()
    };
    match client.json(call).await {
        Ok(_device) => {}
        Err(failure) if failure.exit == Exit::Conflict && args.renew => {}
        Err(failure) if failure.exit == Exit::Conflict => return Err(registered(device)),
        Err(failure) => return Err(failure),
    }
    let issued = client.post(&format!("{path}/certificates"), &json!({"csr": request_pem})).await?;
    Ok(Credentials {
        certificate_pem: credentials::text(&issued, "certificate")?.to_owned(),
        authority_pem: credentials::text(&issued, "ca")?.to_owned(),
        mqtts: addresses.and_then(|addresses| addresses.get("mqtts").cloned()),
    })
}

async fn enroll_in_place(
    data: DataDir,
    device: &DeviceId,
    args: &DeviceAddArgs,
    request_pem: &str,
) -> Result<Credentials, Failure> {
    let config =
        ServeArgs::default().load().map_or_else(|_invalid| Config::default(), |it| it.config);
    let assembly = Assembly::open(&data, &config).await?;
    let new = NewDevice { id: device.clone(), name: args.name.clone(), kind: args.kind.clone() };
    let devices = &assembly.app.devices;
    let issued = match devices.register(new).await {
        Err(error) if error.kind == Kind::Conflict && !args.renew => Err(registered(device)),
        Err(error) if error.kind != Kind::Conflict => Err(error.into()),
        _registered => devices.issue_certificate(device, request_pem).await.map_err(Failure::from),
    };
    let closed = assembly.close().await;
    let issued = issued?;
    closed?;
    Ok(Credentials {
        certificate_pem: issued.pem,
        authority_pem: issued.authority_pem,
        mqtts: Some(config.mqtt.listen).filter(|listen| listen != "off"),
    })
}

fn registered(device: &DeviceId) -> Failure {
    Failure::new(Exit::Conflict, format!("device `{device}` is registered already"))
        .with_hint(format!("`axle device add {device} --renew` for one more certificate"))
}

/// Lines that work as they stand.
fn recipe(device: &DeviceId, out: &Path, mqtts: Option<&str>) -> String {
    let reachable = crate::client::reachable(mqtts.unwrap_or("localhost:8883"));
    let (host, port) = reachable.rsplit_once(':').unwrap_or((&reachable, "8883"));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let file = |name: &str| quote(&out.join(name).display().to_string());
    let common = format!(
        "-h {host} -p {port} --cafile {} --cert {} --key {}",
        file("ca.crt"),
        file(&format!("{device}.crt")),
        file(&format!("{device}.key")),
    );
    format!(
        "mosquitto_pub {common} -i {device} -q 1 -t v1/d/{device}/t/status \
         -m '{{\"battery_pct\":81,\"locked\":true}}'\n\
         mosquitto_sub {common} -i {device}/listen -q 1 -t 'v1/d/{device}/c/#' -v\n"
    )
}

/// A word for the shell.
fn quote(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:+,@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = Client::find(&args.target)?;
    let mut devices = Vec::new();
    let mut after = String::new();
    loop {
        let page = format!("/api/v1/devices?limit=1000{after}");
        let answer = client.get(&page).await?;
        devices.extend_from_slice(items(&answer));
        match answer.get("next").and_then(Value::as_str) {
            Some(next) => after = format!("&after={}", encode_value(next)),
            None => break,
        }
    }
    if args.json {
        return print_json(&Value::Array(devices));
    }
    let mut table = TextTable::new(&["ID", "KIND", "NAME", "STATUS", "ONLINE"]);
    for device in &devices {
        table.push_fields(device, &["id", "kind", "name", "status", "online"]);
    }
    print(&table.render())
}

async fn show(args: ThingArgs) -> Result<(), Failure> {
    let client = Client::find(&args.target)?;
    let path = format!("/api/v1/devices/{}", encode_segment(&args.id));
    let device = client.get(&path).await?;
    let state = client.get(&format!("{path}/state")).await?;
    if args.json {
        return print_json(&json!({"device": device, "state": state}));
    }
    let mut table = TextTable::default();
    for name in ["id", "name", "kind", "status", "created_at"] {
        table.push(vec![name.to_owned(), cell(device.get(name))]);
    }
    for name in ["online", "last_seen"] {
        table.push(vec![name.to_owned(), cell(state.get(name))]);
    }
    for (field, latest) in state.get("fields").and_then(Value::as_object).into_iter().flatten() {
        table.push(vec![field.clone(), cell(latest.get("value")), cell(latest.get("time"))]);
    }
    print(&table.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_survives_odd_paths_and_wildcard_addresses() {
        let device = DeviceId::parse("b-1").unwrap();
        let text = recipe(&device, Path::new("my certs"), Some("0.0.0.0:8883"));
        assert!(text.starts_with("mosquitto_pub -h 127.0.0.1 -p 8883 --cafile 'my certs/ca.crt'"));
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
