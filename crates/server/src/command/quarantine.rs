//! `axle quarantine`: what could not be understood or could not be true.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cli::{QuarantineCommand, QuarantineListArgs, QuarantineReplayArgs, ThingArgs};
use crate::client::{Client, encode_segment, encode_value};
use crate::failure::Failure;
use crate::output::{TextTable, items, note, print, print_json};

pub(super) async fn run(command: QuarantineCommand) -> Result<(), Failure> {
    match command {
        QuarantineCommand::List(args) => list(args).await,
        QuarantineCommand::Show(args) => show(args).await,
        QuarantineCommand::Replay(args) => replay(args).await,
    }
}

async fn list(args: QuarantineListArgs) -> Result<(), Failure> {
    let mut path = "/api/v1/quarantine".to_owned();
    if let Some(device) = &args.device {
        path.push_str(&format!("?device={}", encode_value(device)));
    }
    let answer = Client::find(&args.target)?.get(&path).await?;
    if args.json {
        return print_json(&answer);
    }
    let mut table =
        TextTable::new(&["ID", "DEVICE", "STREAM", "CODE", "RECEIVED", "STATE", "DETAIL"]);
    let fields = ["id", "device", "stream", "code", "received_at", "state", "detail"];
    for item in items(&answer) {
        table.push_fields(item, &fields);
    }
    print(&table.render())?;
    if answer.get("next").is_some_and(|next| !next.is_null()) {
        note("there are more; the API pages through them");
    }
    Ok(())
}

async fn show(args: ThingArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/quarantine/{}", encode_segment(&args.id));
    print_json(&Client::find(&args.target)?.get(&path).await?)
}

async fn replay(args: QuarantineReplayArgs) -> Result<(), Failure> {
    let mut body = Map::new();
    if let Some(path) = &args.payload {
        body.insert("payload".to_owned(), json!(read_payload(path)?));
    }
    if let Some(sent_at) = &args.sent_at {
        body.insert("sent_at".to_owned(), json!(sent_at));
    }
    let path = format!("/api/v1/quarantine/{}/replay", encode_segment(&args.id));
    let answer = Client::find(&args.target)?.post(&path, &Value::Object(body)).await?;
    print_json(&answer)
}

fn read_payload(path: &Path) -> Result<String, Failure> {
    const PAYLOAD_BYTES_MAX: u64 = axle_domain::limit::REQUEST_BYTES_MAX as u64;
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(PAYLOAD_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(PAYLOAD_BYTES_MAX + 1).read_to_string(&mut text))
    };
    let bytes = read.map_err(|error| {
        Failure::usage(format!("cannot read the payload {}: {error}", path.display()))
    })?;
    if bytes as u64 > PAYLOAD_BYTES_MAX {
        let message = format!("a mended payload is at most {PAYLOAD_BYTES_MAX} bytes");
        return Err(Failure::new(crate::failure::Exit::Refused, message));
    }
    Ok(text)
}
