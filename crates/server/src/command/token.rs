//! `axle token`: bearer tokens.

use hyper::Method;
use serde_json::{Value, json};

use crate::cli::{ListArgs, ThingArgs, TokenCommand, TokenCreateArgs};
use crate::client::{Call, Client, encode_segment};
use crate::failure::{Exit, Failure};
use crate::output::{TextTable, items, note, print, print_json};

pub(super) async fn run(command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(args) => create(args).await,
        TokenCommand::List(args) => list(args).await,
        TokenCommand::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: TokenCreateArgs) -> Result<(), Failure> {
    for scope in &args.scopes {
        axle_domain::Scope::parse(scope)?;
    }
    let client = Client::find(&args.target)?;
    let answer = client.post("/api/v1/tokens", &json!({"scopes": args.scopes})).await?;
    if args.json {
        return print_json(&answer);
    }
    let Some(secret) = ["token", "secret"].iter().find_map(|field| answer.get(field)?.as_str())
    else {
        return Err(Failure::new(Exit::Internal, "the server answered without a token"));
    };
    if let Some(id) = answer.get("id").and_then(Value::as_str) {
        note(&format!("token {id}; `axle token revoke {id}` withdraws it; it is shown this once:"));
    }
    print(&format!("{secret}\n"))
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let answer = Client::find(&args.target)?.get("/api/v1/tokens").await?;
    if args.json {
        return print_json(&answer);
    }
    let mut table = TextTable::new(&["ID", "SCOPES", "CREATED"]);
    for token in items(&answer) {
        table.push_fields(token, &["id", "scopes", "created_at"]);
    }
    print(&table.render())
}

async fn revoke(args: ThingArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/tokens/{}", encode_segment(&args.id));
    let call = Call { method: Method::DELETE, path: &path, ..Call::default() };
    Client::find(&args.target)?.json(call).await?;
    note(&format!("token {} is withdrawn", args.id));
    Ok(())
}
