//! `/search`: devices, components and people by whatever somebody has at hand.

use std::sync::Arc;

use axle_app::Found;
use axle_domain::{DeviceId, limit};
use axum::extract::State;
use serde_json::{Value, json};

use crate::answer::page;
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::operation::{EVERYONE, OPERATION, Operation, Parameter, reply};
use crate::parameter::invalid;

pub(super) static FIND: Operation = Operation {
    id: "search",
    path: "/api/v1/search",
    tag: "Search",
    summary: "Find devices, components and people",
    description: "By id, serial, name, model or kind; in any case, with or without dashes, by a \
        part of three characters or more, and with one character wrong, missing, too much or \
        swapped with its neighbor. Each item says in which field it matched and how: `exact`, \
        `prefix`, `part` or `fuzzy`, in this order.",
    rights: "any token; it finds what the token may read",
    roles: EVERYONE,
    query: &[
        Parameter {
            name: "q",
            schema: r#"{"type":"string","minLength":1,"maxLength":128}"#,
            description: "What to look for; it must be there. The first 64 characters count.",
        },
        Parameter {
            name: "limit",
            schema: r#"{"type":"integer","minimum":1,"maximum":100,"default":20}"#,
            description: "Most items.",
        },
    ],
    replies: &[reply(200, "SearchPage", "What matches, the best first.")],
    ..OPERATION
};

pub(super) async fn find(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let limit = call.parameters.count("limit", 20, limit::SEARCH_HITS_MAX)?;
    let text = match call.parameters.find("q") {
        None | Some("") => return Err(invalid("q", "is missing: say what to look for")),
        Some(text) if text.len() > 128 => return Err(invalid("q", "is at most 128 bytes long")),
        Some(text) => text,
    };
    let found = api.app.search.find(&call.principal, text, limit).await?;
    Ok(page(found.iter().map(wire).collect(), None))
}

fn wire(found: &Found) -> Value {
    let (entry, reason) = (&found.hit.entry, found.hit.reason);
    let devices: Vec<_> = found.devices.iter().map(DeviceId::as_str).collect();
    json!({
        "type": entry.kind.as_str(),
        "id": entry.id,
        "name": entry.name,
        "model": entry.model,
        "kind": entry.what,
        "matched": reason.matched.as_str(),
        "field": reason.field.as_str(),
        "devices": devices,
    })
}
