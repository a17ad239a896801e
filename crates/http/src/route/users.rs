//! `/users`: people and what they may do. For administrators alone.

use std::sync::Arc;

use axle_app::{NewUser, UserChange};
use axle_domain::port::{UserEntry, UserFilter};
use axle_domain::{DeviceId, Error, Kind, Role, UserName, limit};
use axum::extract::State;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::answer::{encode, json_answer, page, time};
use crate::api::Api;
use crate::call::{Answer, Call, precondition_failed};
use crate::field::Fields;
use crate::operation::{
    ADMINISTRATORS, IF_MATCH, JSON, LIMIT, OPERATION, Operation, Parameter, Reply, RequestBody,
    json_body, reply,
};
use crate::parameter::invalid;
use crate::problem::Problem;

const TAG: &str = "People";
const PATH: &str = "/api/v1/users";
const ITEM: &str = "/api/v1/users/{name}";
const RIGHTS: &str = "`admin`";
const PATCH_MEDIA: &[&str] = &["application/merge-patch+json", "application/json"];

pub(super) static LIST: Operation = Operation {
    id: "listUsers",
    path: PATH,
    tag: TAG,
    summary: "List people by name",
    rights: RIGHTS,
    roles: ADMINISTRATORS,
    query: &[
        Parameter {
            name: "search",
            schema: r#"{"type":"string","maxLength":128}"#,
            description: "Part of the name or of what the person is called, any case.",
        },
        LIMIT,
        Parameter {
            name: "after",
            schema: r#"{"type":"string"}"#,
            description: "Only names after this one: `next` of the page before.",
        },
    ],
    replies: &[reply(200, "UserPage", "A page of people.")],
    problems: &[403],
    ..OPERATION
};

pub(super) async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require_administrator()?;
    let limit = call.parameters.count("limit", 100, limit::PAGE_ITEMS_MAX)?;
    let search = call.parameters.find("search").unwrap_or_default().to_owned();
    let after = call.parameters.find("after").map(UserName::parse).transpose();
    let after = after.map_err(|_error| invalid("after", "must be `next` of the page before"))?;
    let filter = UserFilter { search: search.clone(), after, limit: limit + 1 };
    let mut entries = api.app.users.list(filter).await?;
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| has_more).map(|last| {
        let (after, search) = (last.user.name.to_string(), encode(&search));
        let address = format!("{PATH}?limit={limit}&search={search}&after={}", encode(&after));
        (after, address)
    });
    Ok(page(entries.iter().map(wire).collect(), next))
}

pub(super) static CREATE: Operation = Operation {
    id: "createUser",
    method: "POST",
    path: PATH,
    tag: TAG,
    summary: "Add a person",
    description: "The answer holds a one-time link, shown this once, where the person chooses a \
        password or registers a passkey.",
    rights: RIGHTS,
    roles: ADMINISTRATORS,
    body: json_body("UserInput"),
    replies: &[reply(201, "NewUser", "The person, and the link.")],
    problems: &[403, 404, 409, 413, 415, 422],
    ..OPERATION
};

pub(super) async fn create(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require_administrator()?;
    let body = call.json(JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let name = fields.text("name");
    let name = parsed(&mut fields, "name", UserName::parse(&name));
    let display_name = fields.optional_text("display_name").unwrap_or_default();
    let role = fields.text("role");
    let role = parsed(&mut fields, "role", parse_role(&role));
    let devices = device_ids(&mut fields).unwrap_or_default();
    fields.finish()?;
    let (Some(name), Some(role)) = (name, role) else {
        return Err(Problem::unprocessable(Vec::new()));
    };
    let new = NewUser { name, display_name, role, devices };
    let (entry, code) = api.app.users.create(new).await.map_err(pointed)?;
    let name = &entry.user.name;
    tracing::info!(user.name = %name, role = %entry.user.role, by = call.principal.id(), "user added");
    let mut response = with_link(&call, StatusCode::CREATED, wire(&entry), &code);
    if let Ok(address) = HeaderValue::from_str(&format!("{PATH}/{}", encode(name.as_str()))) {
        response.headers_mut().insert(LOCATION, address);
    }
    Ok(response)
}

pub(super) static GET: Operation = Operation {
    id: "getUser",
    path: ITEM,
    tag: TAG,
    summary: "Read a person",
    rights: RIGHTS,
    roles: ADMINISTRATORS,
    replies: &[reply(200, "User", "The person, with the `ETag`.")],
    problems: &[403, 404],
    ..OPERATION
};

pub(super) async fn get(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require_administrator()?;
    Ok(answer(&api.app.users.get(&name(&call)?).await?))
}

pub(super) static PATCH: Operation = Operation {
    id: "patchUser",
    method: "PATCH",
    path: ITEM,
    tag: TAG,
    summary: "Change what a person may do",
    description: "JSON merge patch (RFC 7396). Who is disabled is signed out at once.",
    rights: RIGHTS,
    roles: ADMINISTRATORS,
    headers: &[IF_MATCH],
    body: Some(RequestBody { schema: "UserChange", media: PATCH_MEDIA, is_required: true }),
    replies: &[reply(200, "User", "The person as it is now.")],
    problems: &[403, 404, 409, 412, 413, 415, 422],
    ..OPERATION
};

pub(super) async fn patch(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require_administrator()?;
    let name = name(&call)?;
    let has_match = call.headers.contains_key("if-match");
    let if_version = call.if_match()?;
    let body = call.json(PATCH_MEDIA, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let display_name = fields.optional_text("display_name");
    let role = fields.optional_text("role");
    let role = role.and_then(|role| parsed(&mut fields, "role", parse_role(&role)));
    let devices = device_ids(&mut fields);
    let is_disabled = fields.optional_switch("disabled");
    fields.finish()?;
    let change = UserChange { display_name, role, devices, is_disabled, if_version };
    let entry = api.app.users.update(&name, change).await.map_err(|error| {
        match error.kind == Kind::Conflict && has_match {
            true => precondition_failed(&error.message),
            false => pointed(error),
        }
    })?;
    tracing::info!(user.name = %name, by = call.principal.id(), "user changed");
    Ok(answer(&entry))
}

pub(super) static DELETE: Operation = Operation {
    id: "deleteUser",
    method: "DELETE",
    path: ITEM,
    tag: TAG,
    summary: "Forget a person",
    description: "With all that the person signs in with; sessions end at once.",
    rights: RIGHTS,
    roles: ADMINISTRATORS,
    replies: &[Reply { status: 204, description: "Forgotten.", schema: None, media: &[] }],
    problems: &[403, 404],
    ..OPERATION
};

pub(super) async fn delete(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require_administrator()?;
    let name = name(&call)?;
    api.app.users.delete(&name).await?;
    tracing::info!(user.name = %name, by = call.principal.id(), "user deleted");
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) static INVITE: Operation = Operation {
    id: "inviteUser",
    method: "POST",
    path: "/api/v1/users/{name}/invitation",
    tag: TAG,
    summary: "Make a new one-time link for a person",
    description: "It takes the place of an earlier link. Whoever uses it begins anew: the old \
        password, passkeys and sessions end then.",
    rights: RIGHTS,
    roles: ADMINISTRATORS,
    replies: &[reply(201, "Invitation", "The link, shown this once.")],
    problems: &[403, 404, 409],
    ..OPERATION
};

pub(super) async fn invite(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require_administrator()?;
    let name = name(&call)?;
    let code = api.app.users.invite(&name).await?;
    tracing::info!(user.name = %name, by = call.principal.id(), "user invited again");
    Ok(json_answer(StatusCode::CREATED, &link(&call, &code)))
}

fn name(call: &Call) -> Result<UserName, Problem> {
    let text = call.segment("name");
    // What cannot be a name is nobody's.
    UserName::parse(text).map_err(|_error| {
        let shown: String = text.chars().take(64).collect();
        let message = format!("user `{}` not found", shown.escape_debug());
        Error::not_found("user.not_found", message).into()
    })
}

fn parse_role(text: &str) -> Result<Role, Error> {
    let words = Role::ALL.map(Role::as_str).join(", ");
    Role::parse(text)
        .ok_or_else(|| Error::invalid("user.role_invalid", format!("must be one of {words}")))
}

fn parsed<T>(fields: &mut Fields, field: &str, result: Result<T, Error>) -> Option<T> {
    result.map_err(|error| fields.fault(field, &format!("is refused: {error}"))).ok()
}

/// The devices of a body; `None` where it does not speak of them.
fn device_ids(fields: &mut Fields) -> Option<Vec<DeviceId>> {
    if !fields.has("devices") {
        return None;
    }
    let mut devices = Vec::new();
    for (index, text) in fields.texts("devices").iter().enumerate() {
        devices.extend(parsed(fields, &format!("devices/{index}"), DeviceId::parse(text)));
    }
    Some(devices)
}

/// An error of the use case, at the field that it is about.
fn pointed(error: Error) -> Problem {
    match error.code {
        "device.not_found" => {
            let problem = Problem::from(error);
            problem.with_status(StatusCode::BAD_REQUEST).at("/devices")
        }
        "user.devices_not_for_role" | "user.too_many_devices" => {
            Problem::from(error).at("/devices")
        }
        "user.text_invalid" | "user.text_too_long" => Problem::from(error).at("/display_name"),
        _ => error.into(),
    }
}

fn answer(entry: &UserEntry) -> Response {
    let mut response = json_answer(StatusCode::OK, &wire(entry));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"v{}\"", entry.user.version)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn link(call: &Call, code: &str) -> Value {
    let url = call.visitor.invitation_link(code);
    json!({
        "path": format!("/welcome?code={code}"),
        "url": url,
        "expires_in_s": limit::INVITATION_TIME_MAX.as_secs(),
    })
}

fn with_link(call: &Call, status: StatusCode, mut body: Value, code: &str) -> Response {
    if let Some(body) = body.as_object_mut() {
        body.insert("invitation".to_owned(), link(call, code));
    }
    json_answer(status, &body)
}

fn wire(entry: &UserEntry) -> Value {
    let user = &entry.user;
    json!({
        "name": user.name.as_str(),
        "display_name": user.display_name,
        "role": user.role.as_str(),
        "devices": user.devices.iter().map(DeviceId::as_str).collect::<Vec<_>>(),
        "disabled": user.disabled_at.is_some(),
        "has_password": entry.has_password,
        "passkeys": entry.passkey_count,
        "created_at": time(user.created_at),
        "updated_at": time(user.updated_at),
        "version": user.version,
    })
}
