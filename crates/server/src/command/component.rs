//! `axle component`: batteries, motors, displays, and where they sit and sat.

use crate::cli::{ComponentCommand, ComponentListArgs, ThingArgs};
use crate::client::{Client, encode_segment, encode_value};
use crate::failure::Failure;
use crate::output::{TextTable, cell, items, note, print, print_json};

pub(super) async fn run(command: ComponentCommand) -> Result<(), Failure> {
    match command {
        ComponentCommand::List(args) => list(args).await,
        ComponentCommand::Show(args) => show(args).await,
        ComponentCommand::History(args) => history(args).await,
    }
}

async fn list(args: ComponentListArgs) -> Result<(), Failure> {
    let mut path = "/api/v1/components?limit=1000".to_owned();
    if let Some(device) = &args.device {
        path = format!("/api/v1/devices/{}/components", encode_segment(device));
    }
    for (name, value) in [("kind", &args.kind), ("status", &args.status)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encode_value(value)));
        }
    }
    let answer = Client::find(&args.target)?.get(&path).await?;
    if args.json {
        return print_json(&answer);
    }
    let mut columns = vec!["serial", "kind", "model", "status", "produced_at"];
    if args.device.is_some() {
        columns.extend(["from", "to"]);
    }
    let mut table = TextTable::new(&columns.iter().map(|it| it.to_uppercase()).collect::<Vec<_>>());
    for item in items(&answer) {
        table.push_fields(item, &columns);
    }
    print(&table.render())?;
    if answer.get("next").is_some_and(|next| !next.is_null()) {
        note("there are more; narrow the list, or page through the API");
    }
    Ok(())
}

async fn show(args: ThingArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/components/{}", encode_segment(&args.id));
    let answer = Client::find(&args.target)?.get(&path).await?;
    if args.json {
        return print_json(&answer);
    }
    let mut table = TextTable::default();
    for field in ["serial", "kind", "model", "produced_at", "status", "device", "installed_at"] {
        table.push(vec![field.to_owned(), cell(answer.get(field))]);
    }
    print(&table.render())
}

async fn history(args: ThingArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/components/{}/history", encode_segment(&args.id));
    let answer = Client::find(&args.target)?.get(&path).await?;
    if args.json {
        return print_json(&answer);
    }
    let mut table = TextTable::new(&["DEVICE", "FROM", "TO"]);
    for item in items(&answer) {
        table.push_fields(item, &["device", "from", "to"]);
    }
    print(&table.render())
}
