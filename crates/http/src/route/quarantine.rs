//! `/quarantine`: what was set aside, and sending it in again.

use std::sync::Arc;

use axle_app::Mend;
use axle_domain::port::Visibility;
use axle_domain::{Access, DeviceId, Error, QuarantineId, QuarantineItem, QuarantineState, limit};
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::answer::{encode, json_answer, optional_time, page, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::field::Fields;
use crate::operation::{
    EVERYONE, JSON, LIMIT, OPERATION, Operation, Parameter, RequestBody, reply,
};
use crate::parameter::invalid;

const TAG: &str = "Quarantine";
/// A mended sample may be as long as one that is kept, and a little more around it.
const BODY_BYTES_MAX: usize = 2 * limit::QUARANTINE_PAYLOAD_BYTES_MAX;

pub(super) static LIST: Operation = Operation {
    id: "listQuarantine",
    path: "/api/v1/quarantine",
    tag: TAG,
    summary: "List what was set aside, newest first",
    description: "A token for single devices must name one of them in `device`; a person of a \
        household sees the items of its devices.",
    rights: "`admin`, or `read:DEVICE` with `device`",
    query: &[
        Parameter {
            name: "device",
            schema: r#"{"type":"string"}"#,
            description: "Only items of this device.",
        },
        LIMIT,
        Parameter {
            name: "before",
            schema: r#"{"type":"string"}"#,
            description: "Only items before this one: `next` of the page before.",
        },
    ],
    replies: &[reply(200, "QuarantinePage", "A page of items.")],
    problems: &[403, 404],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let device = call.parameters.find("device").map(DeviceId::parse).transpose()?;
    match &device {
        Some(device) => {
            call.require(Access::Read(device))?;
            api.require_registered(device)?;
        }
        None if call.principal.role().is_some() => {}
        None => call.require(Access::ReadAll)?,
    }
    let limit = call.parameters.count("limit", 100, limit::PAGE_ITEMS_MAX)?;
    let before = match call.parameters.find("before") {
        None => None,
        Some(text) => match QuarantineId::parse(text) {
            Some(id) => Some(id),
            None => return Err(invalid("before", "must be `next` of the page before")),
        },
    };
    let items = match (&device, call.principal.reads()) {
        (None, Visibility::Devices(own)) => of_devices(&api, &own, before, limit).await?,
        _ => api.app.quarantine.list(device.as_ref(), before, limit).await?,
    };
    let next = items.last().filter(|_| items.len() >= limit).map(|last| {
        let id = last.id.to_string();
        let of =
            device.as_ref().map_or(String::new(), |id| format!("&device={}", encode(id.as_str())));
        let address = format!("/api/v1/quarantine?limit={limit}{of}&before={id}");
        (id, address)
    });
    Ok(page(items.iter().map(|item| wire(item).into()).collect(), next))
}

/// The newest items of a household's devices.
async fn of_devices(
    api: &Api,
    own: &[DeviceId],
    before: Option<QuarantineId>,
    limit: usize,
) -> Result<Vec<QuarantineItem>, Error> {
    let mut items = Vec::new();
    for device in own {
        items.extend(api.app.quarantine.list(Some(device), before, limit).await?);
        items.sort_by_key(|item: &QuarantineItem| std::cmp::Reverse(item.id));
        items.truncate(limit);
    }
    Ok(items)
}

pub(super) static GET: Operation = Operation {
    id: "getQuarantineItem",
    path: "/api/v1/quarantine/{id}",
    tag: TAG,
    summary: "Read an item with its payload",
    rights: "`admin`, or `read:DEVICE` for its items",
    replies: &[reply(200, "QuarantineItem", "The item.")],
    problems: &[404],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn get(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let id = item_id(&call)?;
    let item = api.app.quarantine.get(id).await?;
    if !call.principal.may_read(&item.device) {
        return Err(item_not_found(&id.to_string()).into());
    }
    let mut body = wire(&item);
    let (name, payload) = match std::str::from_utf8(&item.payload) {
        Ok(text) => ("payload", text.to_owned()),
        Err(_) => ("payload_base64", STANDARD.encode(&item.payload)),
    };
    body.insert(name.to_owned(), Value::String(payload));
    Ok(json_answer(StatusCode::OK, &body.into()))
}

pub(super) static REPLAY: Operation = Operation {
    id: "replayQuarantineItem",
    method: "POST",
    path: "/api/v1/quarantine/{id}/replay",
    tag: TAG,
    summary: "Send an item in again",
    description: "As it is, after its cause was mended, or with a mended sample. Refused with \
        409 where it would be set aside again.",
    rights: "`admin`",
    body: Some(RequestBody { schema: "Mend", media: JSON, is_required: false }),
    replies: &[reply(202, "Replay", "It is in the log again; the item is settled in a moment.")],
    problems: &[403, 404, 409, 413, 415, 422],
    ..OPERATION
};

pub(super) async fn replay(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require(Access::Operate)?;
    let id = item_id(&call)?;
    let body = call.json(JSON, BODY_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    // A text is the payload itself, as `payload` of the item shows it.
    let payload = fields
        .value("payload")
        .map(|payload| payload.as_str().map_or_else(|| payload.to_string(), str::to_owned));
    let sent_at = fields.optional_time("sent_at");
    fields.finish()?;
    let offset = api.app.quarantine.replay(id, Mend { payload, sent_at }).await?;
    let body = json!({"id": id.to_string(), "offset": offset.0});
    Ok(json_answer(StatusCode::ACCEPTED, &body))
}

fn item_id(call: &Call) -> Result<QuarantineId, Error> {
    let text = call.segment("id");
    QuarantineId::parse(text).ok_or_else(|| item_not_found(text))
}

fn item_not_found(id: &str) -> Error {
    let shown: String = id.chars().take(64).collect();
    let shown = shown.escape_debug();
    Error::not_found("quarantine.not_found", format!("quarantine item `{shown}` not found"))
}

fn wire(item: &QuarantineItem) -> serde_json::Map<String, Value> {
    let state = match item.state {
        QuarantineState::Waiting => "waiting",
        QuarantineState::Replayed => "replayed",
    };
    let mut body = json!({
        "id": item.id.to_string(),
        "device": item.device,
        "stream": item.stream,
        "topic": item.topic,
        "content_type": item.content_type,
        "code": item.code,
        "detail": item.detail,
        "received_at": time(item.received_at),
        "sent_at": optional_time(item.sent_at),
        "offset": item.id.offset.0,
        "state": state,
    });
    body.as_object_mut().map(std::mem::take).unwrap_or_default()
}
