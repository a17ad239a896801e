//! `axle consumer`: programs that follow the log.

use axle_domain::ConsumerName;
use hyper::Method;
use serde_json::{Value, json};

use crate::cli::{ConsumerCommand, ConsumerCreateArgs, ListArgs, ThingArgs};
use crate::client::{Call, Client, encode_segment};
use crate::failure::Failure;
use crate::output::{TextTable, items, note, print, print_json};

const CONSUMERS: &str = "/api/v1/streams/consumers";

pub(super) async fn run(command: ConsumerCommand) -> Result<(), Failure> {
    match command {
        ConsumerCommand::Create(args) => create(args).await,
        ConsumerCommand::List(args) => list(args).await,
        ConsumerCommand::Remove(args) => remove(args).await,
    }
}

async fn create(args: ConsumerCreateArgs) -> Result<(), Failure> {
    let name = ConsumerName::parse(&args.name)?;
    let body = json!({"name": name.as_str(), "from": args.from});
    let answer = Client::find(&args.target)?.post(CONSUMERS, &body).await?;
    if args.json {
        return print_json(&answer);
    }
    let position = answer.get("position").and_then(Value::as_u64).unwrap_or_default();
    note(&format!(
        "consumer {name} begins at offset {position}; it reads \
         `/api/v1/streams/messages?consumer={name}` with a token of `axle token create --scope \
         log:read`"
    ));
    Ok(())
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let answer = Client::find(&args.target)?.get(CONSUMERS).await?;
    if args.json {
        return print_json(&answer);
    }
    let mut table =
        TextTable::new(&["NAME", "POSITION", "BEHIND", "BYTES", "HOLDS", "MOVED", "LOST"]);
    for consumer in items(&answer) {
        let fields = ["name", "position", "lag", "bytes", "is_holding", "moved_at", "lost_at"];
        table.push_fields(consumer, &fields);
    }
    print(&table.render())
}

async fn remove(args: ThingArgs) -> Result<(), Failure> {
    let path = format!("{CONSUMERS}/{}", encode_segment(&args.id));
    let call = Call { method: Method::DELETE, path: &path, ..Call::default() };
    Client::find(&args.target)?.json(call).await?;
    note(&format!("consumer {} is forgotten", args.id));
    Ok(())
}
