//! `/devices/{id}/retire` and `/devices/{id}/transfer`: the end of a device's service, and its
//! change of owner.

use std::sync::Arc;

use axle_domain::{Access, UserName, limit};
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;

use crate::answer::json_answer;
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::field::Fields;
use crate::operation::{ADMINISTRATORS, JSON, OPERATION, Operation, json_body, reply};
use crate::problem::Problem;
use crate::route::devices::wire;

const TAG: &str = "Devices";

pub(super) static RETIRE: Operation = Operation {
    id: "retireDevice",
    method: "POST",
    path: "/api/v1/devices/{id}/retire",
    tag: TAG,
    summary: "Take a device out of service for good",
    description: "Its certificates are revoked, its connections end before the answer, and its \
        open commands are canceled. Its data and its id stay. Again changes nothing.",
    rights: "`admin`",
    replies: &[reply(200, "Retired", "The device, and how many commands were canceled.")],
    problems: &[403, 404],
    ..OPERATION
};

pub(super) async fn retire(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require(Access::Operate)?;
    let (device, canceled) = api.app.retire(&call.device()?).await?;
    let body = json!({"device": wire(&api, &device), "commands_canceled": canceled});
    Ok(json_answer(StatusCode::OK, &body))
}

pub(super) static TRANSFER: Operation = Operation {
    id: "transferDevice",
    method: "POST",
    path: "/api/v1/devices/{id}/transfer",
    tag: TAG,
    summary: "Give a device to another household",
    description: "Everybody who had the device loses it and is signed out, tokens with a scope \
        for it are withdrawn, and its open commands are canceled. With `to` null it belongs to \
        nobody then. Its data stays; what the new owner may see of it is everything.",
    rights: "`admin`",
    body: json_body("TransferInput"),
    replies: &[reply(200, "Transfer", "What was cut.")],
    problems: &[403, 404, 415, 422],
    roles: ADMINISTRATORS,
    ..OPERATION
};

pub(super) async fn transfer(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require_administrator()?;
    let id = call.device()?;
    let body = call.json(JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let to = if fields.has("to") {
        fields.optional_text("to")
    } else {
        fields.fault("to", "is missing: a person's name, or null");
        None
    };
    fields.finish()?;
    let to = to.filter(|name| !name.is_empty()).map(|name| UserName::parse(&name)).transpose();
    let to = to.map_err(|error| Problem::from(error).at("/to"))?;
    let cut = api.app.transfer(&id, to.as_ref()).await;
    let cut = cut.map_err(|error| Problem::from(error).at("/to"))?;
    let body = json!({
        "device": id.as_str(),
        "owner": to.as_ref().map(UserName::as_str),
        "former": cut.former.iter().map(UserName::as_str).collect::<Vec<_>>(),
        "commands_canceled": cut.commands,
        "tokens_withdrawn": cut.tokens,
    });
    Ok(json_answer(StatusCode::OK, &body))
}
