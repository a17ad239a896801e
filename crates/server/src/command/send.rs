//! `axle command`: what people ask of a device, and what became of it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::{CommandSendArgs, SendCommand, ThingArgs};
use crate::client::{Client, encode_segment};
use crate::failure::{Exit, Failure};
use crate::output::{ProgressLine, TextTable, cell, print, print_json};

/// How often a waiting command is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub(super) async fn run(command: SendCommand) -> Result<(), Failure> {
    match command {
        SendCommand::Send(args) => send(args).await,
        SendCommand::Show(args) => show(args).await,
    }
}

async fn send(args: CommandSendArgs) -> Result<(), Failure> {
    let payload = match &args.payload {
        Some(text) => serde_json::from_str(text)
            .map_err(|error| Failure::usage(format!("--payload is not JSON: {error}")))?,
        None => parameters(&args.parameters)?,
    };
    let client = Client::find(&args.target)?;
    let path = format!("/api/v1/devices/{}/commands", encode_segment(&args.device));
    let body = json!({
        "name": args.name,
        "payload": payload,
        "timeout_s": args.timeout.0.as_secs(),
        "dry_run": args.dry_run,
    });
    let mut command = client.post(&path, &body).await?;
    if args.wait {
        command = wait(&client, command).await?;
    }
    if args.json {
        print_json(&command)?;
    } else {
        print_command(&command)?;
    }
    let status = cell(command.get("status"));
    if args.wait && status != "succeeded" {
        let message = format!("the command {status}{}", reason(&command));
        return Err(Failure::new(Exit::Refused, message));
    }
    Ok(())
}

/// Looks until the command is at its end, which its deadline brings in any case.
async fn wait(client: &Client, mut command: Value) -> Result<Value, Failure> {
    let id = cell(command.get("id"));
    let path = format!("/api/v1/commands/{}", encode_segment(&id));
    let progress = ProgressLine::default();
    while !is_final(&command) {
        progress.show(&format!("{id}: {}", cell(command.get("status"))));
        tokio::time::sleep(LOOK_INTERVAL).await;
        command = client.get(&path).await?;
    }
    Ok(command)
}

fn is_final(command: &Value) -> bool {
    let status = command.get("status").and_then(Value::as_str);
    // A word that is not known will not change by waiting for it.
    status
        .and_then(axle_domain::CommandStatus::parse)
        .is_none_or(axle_domain::CommandStatus::is_final)
}

async fn show(args: ThingArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/commands/{}", encode_segment(&args.id));
    let command = Client::find(&args.target)?.get(&path).await?;
    if args.json {
        return print_json(&command);
    }
    print_command(&command)
}

fn print_command(command: &Value) -> Result<(), Failure> {
    let mut table = TextTable::new(&[cell(command.get("id")), cell(command.get("status"))]);
    for step in command.get("history").and_then(Value::as_array).into_iter().flatten() {
        table.push_fields(step, &["time", "status", "evidence"]);
    }
    print(&table.render())?;
    match command.get("result") {
        Some(result) if !result.is_null() => print(&format!("{result}\n")),
        _ => Ok(()),
    }
}

fn reason(command: &Value) -> String {
    let result = command.get("result");
    let given = command.get("reason").or_else(|| result?.get("reason")).map(|why| cell(Some(why)));
    given.filter(|why| !why.is_empty()).map(|why| format!(": {why}")).unwrap_or_default()
}

/// `k=v …` as a JSON object; what reads as JSON is JSON, anything else is text.
fn parameters(pairs: &[String]) -> Result<Value, Failure> {
    let mut object = Map::new();
    for pair in pairs {
        let Some((key, text)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("`{}` is not KEY=VALUE", pair.escape_debug()))
                .with_hint("`axle command send DEVICE NAME key=value`, or `--payload JSON`"));
        };
        let value = serde_json::from_str(text).unwrap_or_else(|_no_json| json!(text));
        if object.insert(key.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("`{}` is given twice", key.escape_debug())));
        }
    }
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_json_where_they_read_as_json() {
        let text = |pair: &str| pair.to_owned();
        let pairs = [text("n=1"), text("on=true"), text("who=me"), text("x=a=b"), text("e=")];
        let expected = json!({"n": 1, "on": true, "who": "me", "x": "a=b", "e": ""});
        assert_eq!(parameters(&pairs).unwrap(), expected);
        assert!(parameters(&[text("novalue")]).is_err());
        assert!(parameters(&[text("a=1"), text("a=2")]).is_err());
    }
}
