//! `axle user`: who may sign in with a browser.

use axle_domain::{DeviceId, Role, UserName};
use hyper::Method;
use serde_json::{Value, json};

use crate::cli::{ListArgs, ThingArgs, UserAddArgs, UserCommand, UserRole};
use crate::client::{Call, Client, encode_segment, encode_value};
use crate::failure::{Exit, Failure};
use crate::output::{TextTable, items, note, print, print_json};

const PATH: &str = "/api/v1/users";
const FIELDS: [&str; 7] =
    ["name", "display_name", "role", "devices", "disabled", "has_password", "passkeys"];
const HEADING: [&str; 7] =
    ["NAME", "CALLED", "ROLE", "DEVICES", "DISABLED", "PASSWORD", "PASSKEYS"];

pub(super) async fn run(command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Add(args) => add(args).await,
        UserCommand::List(args) => list(args).await,
        UserCommand::Show(args) => show(args).await,
        UserCommand::Invite(args) => invite(args).await,
        UserCommand::Disable(args) => disable(args, true).await,
        UserCommand::Enable(args) => disable(args, false).await,
        UserCommand::Delete(args) => delete(args).await,
    }
}

async fn add(args: UserAddArgs) -> Result<(), Failure> {
    let name = UserName::parse(&args.name)?;
    for device in &args.devices {
        DeviceId::parse(device)?;
    }
    let body = json!({
        "name": name.as_str(),
        "display_name": args.display_name,
        "role": role(args.role).as_str(),
        "devices": args.devices,
    });
    let answer = Client::find(&args.target)?.post(PATH, &body).await?;
    if args.json {
        return print_json(&answer);
    }
    print_link(&name, answer.get("invitation").unwrap_or(&Value::Null))
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = Client::find(&args.target)?;
    let mut people: Vec<Value> = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("{PATH}?limit=1000&after={}", encode_value(&after));
        let path = if after.is_empty() { format!("{PATH}?limit=1000") } else { path };
        let answer = client.get(&path).await?;
        people.extend_from_slice(items(&answer));
        match answer.get("next").and_then(Value::as_str) {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    if args.json {
        return print_json(&json!({"items": people}));
    }
    if people.is_empty() {
        note("nobody has an account yet: `axle user add NAME --role admin` adds the first one");
    }
    let mut table = TextTable::new(&HEADING);
    people.iter().for_each(|person| table.push_fields(person, &FIELDS));
    print(&table.render())
}

async fn show(args: ThingArgs) -> Result<(), Failure> {
    let answer = Client::find(&args.target)?.get(&item(&args.id)).await?;
    if args.json {
        return print_json(&answer);
    }
    let mut table = TextTable::new(&HEADING);
    table.push_fields(&answer, &FIELDS);
    print(&table.render())
}

async fn invite(args: ThingArgs) -> Result<(), Failure> {
    let path = format!("{}/invitation", item(&args.id));
    let answer = Client::find(&args.target)?.post(&path, &json!({})).await?;
    if args.json {
        return print_json(&answer);
    }
    print_link(&UserName::parse(&args.id)?, &answer)
}

async fn disable(args: ThingArgs, is_disabled: bool) -> Result<(), Failure> {
    let (path, body) = (item(&args.id), json!({"disabled": is_disabled}));
    let call = Call { method: Method::PATCH, path: &path, body: Some(&body), ..Call::default() };
    let answer = Client::find(&args.target)?.json(call).await?;
    if args.json {
        return print_json(&answer);
    }
    let may = if is_disabled { "may not sign in any more" } else { "may sign in again" };
    note(&format!("{} {may}", args.id));
    Ok(())
}

async fn delete(args: ThingArgs) -> Result<(), Failure> {
    let path = item(&args.id);
    let call = Call { method: Method::DELETE, path: &path, ..Call::default() };
    Client::find(&args.target)?.json(call).await?;
    note(&format!("{} is forgotten", args.id));
    Ok(())
}

fn print_link(name: &UserName, invitation: &Value) -> Result<(), Failure> {
    let Some(link) = invitation.get("url").and_then(Value::as_str) else {
        return Err(Failure::new(Exit::Internal, "the server answered without a link"));
    };
    note(&format!(
        "send this link to {name}: it works once, for seven days, and is shown this once"
    ));
    print(&format!("{link}\n"))
}

fn item(name: &str) -> String {
    format!("{PATH}/{}", encode_segment(name))
}

fn role(role: UserRole) -> Role {
    match role {
        UserRole::Admin => Role::Admin,
        UserRole::Operator => Role::Operator,
        UserRole::Support => Role::Support,
        UserRole::Household => Role::Household,
    }
}
