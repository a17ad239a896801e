//! `axle connections` and `axle device connections`: why a device cannot connect.

use serde_json::Value;

use crate::cli::{ConnectionsArgs, ThingArgs};
use crate::client::{Client, encode_segment, encode_value};
use crate::failure::Failure;
use crate::output::{TextTable, cell, items, note, print, print_json};

pub(super) async fn run(args: ConnectionsArgs) -> Result<(), Failure> {
    let mut path = format!("/api/v1/connections?limit={}", args.limit);
    if let Some(address) = &args.address {
        path.push_str(&format!("&address={}", encode_value(address)));
    }
    if let Some(fingerprint) = &args.fingerprint {
        path.push_str(&format!("&fingerprint={}", encode_value(fingerprint)));
    }
    let answer = Client::find(&args.target)?.get(&path).await?;
    show(&answer, args.json, "nobody has connected or tried to")
}

pub(super) async fn of_device(args: ThingArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/devices/{}/connections", encode_segment(&args.id));
    let answer = Client::find(&args.target)?.get(&path).await?;
    show(
        &answer,
        args.json,
        "the device has not been heard of: look at `axle connections` for what strangers tried",
    )
}

fn show(answer: &Value, is_json: bool, nothing: &str) -> Result<(), Failure> {
    if is_json {
        return print_json(answer);
    }
    let events = items(answer);
    if events.is_empty() {
        note(nothing);
        return Ok(());
    }
    let heading = ["LAST AT", "TIMES", "WHAT", "DEVICE", "ADDRESS", "CLIENT ID", "WHY"];
    let mut table = TextTable::new(&heading);
    for event in events {
        table.push(row(event));
    }
    print(&table.render())?;
    // The newest refusal is what a person looks for here.
    let newest = events.first().filter(|event| event["kind"] == "refused");
    if let Some(step) = newest.and_then(|event| event["next_step"].as_str()) {
        note(&format!("next: {step}"));
    }
    Ok(())
}

fn row(event: &Value) -> Vec<String> {
    let text = |name: &str| cell(event.get(name));
    let mut device = text("device");
    if !device.is_empty() && event["is_proved"] == false {
        device.push_str(" (only named)");
    }
    let why = match event["kind"].as_str() {
        Some("connected") => text("protocol"),
        Some("disconnected") => format!(
            "{} (after {:.0} s, {} in, {} out)",
            text("reason"),
            event["lasted_s"].as_f64().unwrap_or_default(),
            text("received"),
            text("sent")
        ),
        _ => format!("{} [{}]", text("reason"), text("code")),
    };
    let (at, count, kind) = (text("at"), text("count"), text("kind"));
    vec![at, count, kind, device, text("address"), text("client_id"), why]
}
