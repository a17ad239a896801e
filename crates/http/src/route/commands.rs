//! Commands: sending them to devices and following their life.

use std::sync::Arc;
use std::time::Duration;

use axle_app::NewCommand;
use axle_domain::{Access, Command, CommandId, Error, limit};
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::answer::{json_answer, page, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::field::Fields;
use crate::operation::{EVERYONE, JSON, LIMIT, OPERATION, Operation, json_body, reply};
use crate::problem::Problem;

const TAG: &str = "Commands";
const OF_DEVICE: &str = "/api/v1/devices/{id}/commands";
/// Room for a payload of the greatest size and what surrounds it.
const BODY_BYTES_MAX: usize = limit::REQUEST_BYTES_MAX;
const TIMEOUT_DEFAULT_S: u64 = 60;

pub(super) static CREATE: Operation = Operation {
    id: "createCommand",
    method: "POST",
    path: OF_DEVICE,
    tag: TAG,
    summary: "Send a command to a device",
    description: "Stored first, then sent as soon as the device is there, at most once for a \
        device that honors id and deadline. Follow it at `Location`.",
    rights: "`command:DEVICE` or `admin`",
    body: json_body("CommandInput"),
    replies: &[reply(202, "Command", "Stored; it waits for the device or is on its way.")],
    problems: &[404, 409, 413, 415, 422],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn create(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    let device = call.device_for(&api, |id| Access::Command(id))?;
    let body = call.json(JSON, BODY_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let name = fields.text("name");
    let payload = fields.value("payload").unwrap_or(json!({})).to_string();
    let timeout = Duration::from_secs(fields.count("timeout_s", TIMEOUT_DEFAULT_S));
    let is_dry_run = fields.switch("dry_run");
    fields.finish()?;
    let new = NewCommand { name, payload, timeout, is_dry_run };
    let command =
        api.app.commands.create(&device, new).await.map_err(|error| match error.code {
            "command.name_invalid" => Problem::from(error).at("/name"),
            "command.timeout_invalid" => Problem::from(error).at("/timeout_s"),
            _ => error.into(),
        })?;
    let mut response = json_answer(StatusCode::ACCEPTED, &wire(&command));
    if let Ok(address) = HeaderValue::from_str(&format!("/api/v1/commands/{}", command.id)) {
        response.headers_mut().insert(LOCATION, address);
    }
    Ok(response)
}

pub(super) static LIST: Operation = Operation {
    id: "listCommands",
    path: OF_DEVICE,
    tag: TAG,
    summary: "List the newest commands of a device",
    rights: "`read:DEVICE`, `command:DEVICE` or `admin`",
    query: &[LIMIT],
    replies: &[reply(200, "CommandPage", "Commands, newest first.")],
    problems: &[404],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let device = call.device_for(&api, |id| Access::Read(id))?;
    let limit = call.parameters.count("limit", 100, limit::PAGE_ITEMS_MAX)?;
    let commands = api.app.commands.list(&device, limit).await?;
    Ok(page(commands.iter().map(wire).collect(), None))
}

pub(super) static GET: Operation = Operation {
    id: "getCommand",
    path: "/api/v1/commands/{id}",
    tag: TAG,
    summary: "Read a command and its life so far",
    rights: "`read:DEVICE`, `command:DEVICE` or `admin`",
    replies: &[reply(200, "Command", "The command.")],
    problems: &[404],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn get(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let id = call.command()?;
    let command = api.app.commands.get(&id).await?;
    require(&call, &command, Access::Read(&command.device))?;
    Ok(json_answer(StatusCode::OK, &wire(&command)))
}

pub(super) static CANCEL: Operation = Operation {
    id: "cancelCommand",
    method: "POST",
    path: "/api/v1/commands/{id}/cancel",
    tag: TAG,
    summary: "Take a command back",
    description: "One that was sent may be executed all the same; its history tells.",
    rights: "`command:DEVICE` or `admin`",
    replies: &[reply(200, "Command", "The command, canceled.")],
    problems: &[404, 409],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn cancel(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let id = call.command()?;
    let command = api.app.commands.get(&id).await?;
    require(&call, &command, Access::Command(&command.device))?;
    Ok(json_answer(StatusCode::OK, &wire(&api.app.commands.cancel(&id).await?)))
}

/// A command of another's device looks exactly like one that does not exist.
fn require(call: &Call, command: &Command, access: Access<'_>) -> Result<(), Error> {
    match call.principal.allows(access) {
        true => Ok(()),
        false => Err(command_not_found(&command.id)),
    }
}

fn command_not_found(id: &CommandId) -> Error {
    Error::not_found("command.not_found", format!("command `{id}` not found"))
}

fn wire(command: &Command) -> Value {
    let json = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    let history = command.history.iter().map(|step| {
        json!({
            "status": step.status.as_str(),
            "time": time(step.time),
            "evidence": step.evidence,
        })
    });
    json!({
        "id": command.id.as_str(),
        "device": command.device.as_str(),
        "name": command.name,
        "payload": json(&command.payload),
        "dry_run": command.is_dry_run,
        "status": command.status().as_str(),
        "deadline": time(command.deadline),
        "history": history.collect::<Value>(),
        "result": command.result.as_deref().map_or(Value::Null, json),
    })
}
