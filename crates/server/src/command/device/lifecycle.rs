//! `axle device rotate|retire|transfer|revoke`: as over HTTP, with the same rules.

use axle_app::format_time;
use axle_domain::DeviceId;
use axle_domain::port::Clock;
use hyper::Method;
use serde_json::{Value, json};

use super::credentials;
use crate::cli::{DeviceRotateArgs, DeviceTransferArgs, ThingArgs};
use crate::client::{Call, Client, encode_segment};
use crate::clock::SystemClock;
use crate::failure::Failure;
use crate::output::{cell, items, note, print_json};

/// A new certificate first, then an end for those before it: whatever fails in between, the
/// device is let in.
pub(super) async fn rotate(args: DeviceRotateArgs) -> Result<(), Failure> {
    let device = DeviceId::parse(&args.id)?;
    let client = Client::find(&args.target)?;
    let path = format!("/api/v1/devices/{}/certificates", encode_segment(device.as_str()));
    let before = client.get(&path).await?;
    let issued = credentials::issue(&client, &device, &args.out).await?;
    let end = format_time(SystemClock.now().after(args.overlap.0));
    let mut ended = Vec::new();
    for certificate in items(&before) {
        let is_revoked = certificate.get("revoked_at").is_some_and(Value::is_string);
        if is_revoked {
            continue;
        }
        let fingerprint = credentials::text(certificate, "fingerprint")?;
        let body = match args.overlap.0.is_zero() {
            true => json!({}),
            false => json!({"at": end}),
        };
        ended.push(client.post(&format!("{path}/{fingerprint}/revoke"), &body).await?);
    }
    if args.json {
        let fingerprint = credentials::text(&issued, "fingerprint")?;
        return print_json(&json!({
            "device": args.id,
            "fingerprint": fingerprint,
            "not_after": issued.get("not_after"),
            "ended": ended,
        }));
    }
    let files = credentials::Files::of(&device, &args.out);
    note(&format!("{} and {} are written", files.key.display(), files.certificate.display()));
    match (ended.len(), args.overlap.0.is_zero()) {
        (0, _) => note("there was no certificate before it"),
        (count, true) => note(&format!("{count} before it let the device in no more")),
        (count, false) => note(&format!(
            "{count} before it let the device in until {end}: put the new files on it by then"
        )),
    }
    Ok(())
}

pub(super) async fn retire(args: ThingArgs) -> Result<(), Failure> {
    let answer = post(&args, "retire").await?;
    if args.json {
        return print_json(&answer);
    }
    let canceled = cell(answer.get("commands_canceled"));
    note(&format!(
        "device {} is out of service for good; {canceled} commands were canceled; its data stays",
        args.id
    ));
    Ok(())
}

pub(super) async fn revoke(args: ThingArgs) -> Result<(), Failure> {
    let device = post(&args, "revoke").await?;
    if args.json {
        return print_json(&device);
    }
    note(&format!("device {} may not connect any more; its data stays", args.id));
    Ok(())
}

async fn post(args: &ThingArgs, verb: &str) -> Result<Value, Failure> {
    let path = format!("/api/v1/devices/{}/{verb}", encode_segment(&args.id));
    let call = Call { method: Method::POST, path: &path, ..Call::default() };
    Client::find(&args.target)?.json(call).await
}

pub(super) async fn transfer(args: DeviceTransferArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/devices/{}/transfer", encode_segment(&args.id));
    let answer = Client::find(&args.target)?.post(&path, &json!({"to": args.to})).await?;
    if args.json {
        return print_json(&answer);
    }
    let former: Vec<_> = answer
        .get("former")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let owner = args.to.as_deref().unwrap_or("nobody");
    let lost = if former.is_empty() { "nobody".to_owned() } else { former.join(", ") };
    note(&format!(
        "device {} belongs to {owner}; {lost} lost it; {} commands canceled, {} tokens withdrawn",
        args.id,
        cell(answer.get("commands_canceled")),
        cell(answer.get("tokens_withdrawn"))
    ));
    Ok(())
}
