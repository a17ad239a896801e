//! `/devices`: the registry.

use std::sync::Arc;

use axle_app::{DeviceChange, NewDevice};
use axle_domain::port::DeviceFilter;
use axle_domain::{Access, Device, DeviceId, limit};
use axum::extract::State;
use axum::http::header::{ETAG, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::answer::{encode, json_answer, page, time};
use crate::api::Api;
use crate::call::{Answer, Call, precondition_failed};
use crate::field::Fields;
use crate::operation::{
    EVERYONE, IF_MATCH, LIMIT, OPERATION, Operation, Parameter, Reply, RequestBody, json_body,
    reply,
};
use crate::parameter::invalid;
use crate::problem::Problem;

const TAG: &str = "Devices";
const ITEM: &str = "/api/v1/devices/{id}";
const PATCH_MEDIA: &[&str] = &["application/merge-patch+json", "application/json"];

pub(super) static LIST: Operation = Operation {
    id: "listDevices",
    path: "/api/v1/devices",
    tag: TAG,
    summary: "List devices by id",
    description: "A token for single devices, and a person of a household, list those that they may read. The next page is in \
        `Link` and begins after `next`.",
    query: &[
        Parameter {
            name: "search",
            schema: r#"{"type":"string","maxLength":128}"#,
            description: "Part of the id or the name, any case.",
        },
        LIMIT,
        Parameter {
            name: "after",
            schema: r#"{"type":"string"}"#,
            description: "Only ids after this one: `next` of the page before.",
        },
    ],
    replies: &[reply(200, "DevicePage", "A page of devices.")],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let limit = call.parameters.count("limit", 100, limit::PAGE_ITEMS_MAX)?;
    let search = call.parameters.find("search").unwrap_or_default().to_owned();
    if search.len() > 128 {
        return Err(invalid("search", "is at most 128 bytes long"));
    }
    let after = call.parameters.find("after").map(DeviceId::parse).transpose();
    let after = after.map_err(|_error| invalid("after", "must be `next` of the page before"))?;
    let filter = DeviceFilter { search: search.clone(), after, limit: limit + 1 };
    let mut devices = api.app.devices.list_visible(&call.principal.reads(), filter).await?;
    let has_more = devices.len() > limit;
    devices.truncate(limit);
    let next = devices.last().filter(|_| has_more).map(|last| {
        let (after, search) = (last.id.to_string(), encode(&search));
        let address =
            format!("/api/v1/devices?limit={limit}&search={search}&after={}", encode(&after));
        (after, address)
    });
    Ok(page(devices.iter().map(|device| wire(&api, device)).collect(), next))
}

pub(super) static GET: Operation = Operation {
    id: "getDevice",
    path: ITEM,
    tag: TAG,
    summary: "Read a device",
    rights: "`read:DEVICE`, `command:DEVICE` or `admin`",
    replies: &[reply(200, "Device", "The device, with its `ETag`.")],
    problems: &[404],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn get(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let id = call.device_for(&api, |id| Access::Read(id))?;
    let device = api.app.devices.get(&id).await?;
    Ok(device_answer(&api, StatusCode::OK, &device))
}

pub(super) static PUT: Operation = Operation {
    id: "putDevice",
    method: "PUT",
    path: ITEM,
    tag: TAG,
    summary: "Register a device, or replace what is said of it",
    description: "Registered means that it may connect. `If-None-Match: *` refuses to replace.",
    rights: "`admin`",
    headers: &[IF_MATCH],
    body: json_body("DeviceInput"),
    replies: &[
        reply(200, "Device", "The device was there and has been replaced."),
        reply(201, "Device", "The device is registered."),
    ],
    problems: &[403, 409, 412, 415, 422],
    ..OPERATION
};

pub(super) async fn put(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require(Access::Operate)?;
    let id = call.device()?;
    let if_match = call.headers.get("if-match").is_some();
    let if_version = call.if_match()?;
    let body = call.json(crate::operation::JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let name = fields.optional_text("name").unwrap_or_default();
    let kind = fields.optional_text("kind").unwrap_or_default();
    let model = fields.optional_text("model").unwrap_or_default();
    fields.finish()?;
    if !api.app.registry.knows(id.as_str()) {
        if if_match {
            return Err(precondition_failed("the device is not registered yet"));
        }
        let new = NewDevice { id: id.clone(), name: name.clone(), kind: kind.clone() };
        match api.app.devices.register_model(new, model.clone()).await {
            Ok(device) => {
                let mut response = device_answer(&api, StatusCode::CREATED, &device);
                let address = format!("/api/v1/devices/{}", encode(id.as_str()));
                if let Ok(address) = HeaderValue::from_str(&address) {
                    response.headers_mut().insert(LOCATION, address);
                }
                return Ok(response);
            }
            // Someone else was faster: replace what they made.
            Err(error) if error.kind == axle_domain::Kind::Conflict => {}
            Err(error) => return Err(Problem::from(error).at("")),
        }
    }
    if call.headers.get(IF_NONE_MATCH).is_some() {
        return Err(precondition_failed("the device is registered already"));
    }
    let change =
        DeviceChange { name: Some(name), kind: Some(kind), model: Some(model), if_version };
    update(&api, &id, change, if_match).await
}

pub(super) static PATCH: Operation = Operation {
    id: "patchDevice",
    method: "PATCH",
    path: ITEM,
    tag: TAG,
    summary: "Change some of what is said of a device",
    description: "JSON merge patch (RFC 7396): fields that are missing stay, `null` empties one.",
    rights: "`admin`",
    headers: &[IF_MATCH],
    body: Some(RequestBody { schema: "DeviceInput", media: PATCH_MEDIA, is_required: true }),
    replies: &[reply(200, "Device", "The device as it is now.")],
    problems: &[403, 404, 409, 412, 415, 422],
    ..OPERATION
};

pub(super) async fn patch(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require(Access::Operate)?;
    let id = call.device()?;
    let if_match = call.headers.get("if-match").is_some();
    let if_version = call.if_match()?;
    let body = call.json(PATCH_MEDIA, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let (name, kind) = (fields.optional_text("name"), fields.optional_text("kind"));
    let model = fields.optional_text("model");
    fields.finish()?;
    update(&api, &id, DeviceChange { name, kind, model, if_version }, if_match).await
}

async fn update(api: &Api, id: &DeviceId, change: DeviceChange, if_match: bool) -> Answer {
    match api.app.devices.update(id, change).await {
        Ok(device) => Ok(device_answer(api, StatusCode::OK, &device)),
        Err(error) if error.kind == axle_domain::Kind::Conflict && if_match => {
            Err(precondition_failed(&error.message))
        }
        Err(error)
            if error.code == "device.text_invalid" || error.code == "device.text_too_long" =>
        {
            let fields = ["kind", "model"];
            let is_named = |it: &&&str| error.message.starts_with(&format!("`{it}`"));
            let field = format!("/{}", fields.iter().find(is_named).unwrap_or(&"name"));
            Err(Problem::from(error).at(&field))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) static DELETE: Operation = Operation {
    id: "deleteDevice",
    method: "DELETE",
    path: ITEM,
    tag: TAG,
    summary: "Revoke a device",
    description: "The same as `revoke`: its entry, its id and its data stay.",
    rights: "`admin`",
    headers: &[IF_MATCH],
    replies: &[Reply { status: 204, description: "Revoked.", schema: None, media: &[] }],
    problems: &[403, 404, 412],
    ..OPERATION
};

pub(super) async fn delete(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require(Access::Operate)?;
    let id = call.device()?;
    let device = api.app.devices.get(&id).await?;
    if call.if_match()?.is_some_and(|version| version != device.version) {
        return Err(precondition_failed("the device has another version: read it again"));
    }
    api.app.devices.revoke(&id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) static REVOKE: Operation = Operation {
    id: "revokeDevice",
    method: "POST",
    path: "/api/v1/devices/{id}/revoke",
    tag: TAG,
    summary: "Withdraw a device's right to connect",
    description: "Its certificates are revoked, its connections end before the answer, waiting \
        commands are not delivered. Its data stays.",
    rights: "`admin`",
    replies: &[reply(200, "Device", "The device, revoked.")],
    problems: &[403, 404],
    ..OPERATION
};

pub(super) async fn revoke(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require(Access::Operate)?;
    let device = api.app.devices.revoke(&call.device()?).await?;
    Ok(device_answer(&api, StatusCode::OK, &device))
}

fn device_answer(api: &Api, status: StatusCode, device: &Device) -> Response {
    let mut response = json_answer(status, &wire(api, device));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"v{}\"", device.version)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

pub(super) fn wire(api: &Api, device: &Device) -> Value {
    json!({
        "id": device.id.as_str(),
        "status": device.status.as_str(),
        "name": device.name,
        "kind": device.kind,
        "model": device.model,
        "online": api.app.ports.link.online_since(&device.id).is_some(),
        "created_at": time(device.created_at),
        "updated_at": time(device.updated_at),
        "version": device.version,
    })
}
