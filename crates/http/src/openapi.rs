//! `/openapi.json`: the contract of the API, made of the table of routes and the schemas beside
//! this file.

use axum::body::Bytes;
use serde_json::{Map, Value, json};

use crate::docs_page;
use crate::operation::{Operation, Parameter};
use crate::route;

const SCHEMAS: &str = include_str!("openapi/schemas.json");
const INTRODUCTION: &str = "Devices send messages, the log keeps them, projections make them \
    telemetry and latest values. Every request needs `Authorization: Bearer TOKEN`; the console's own pages use the cookie of \
    a person's session instead. Errors are \
    problem details (RFC 9457) with a stable `code`. What belongs to another answers exactly like \
    what does not exist. Times are RFC 3339 in UTC.";
/// Errors that every route may answer with.
const PROBLEMS: [u16; 5] = [400, 401, 429, 500, 503];

/// The contract in its two forms.
pub(crate) struct OpenApi {
    /// JSON.
    pub(crate) json: Bytes,
    /// A page to read.
    pub(crate) html: Bytes,
}

impl OpenApi {
    /// Writes both.
    pub(crate) fn build() -> Self {
        let operations = route::operations();
        let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
        let html = docs_page::write(INTRODUCTION, &operations, &schemas);
        let json = document(&operations, schemas).to_string();
        Self { json: Bytes::from(json), html: Bytes::from(html) }
    }
}

fn document(operations: &[&'static Operation], schemas: Value) -> Value {
    let mut paths = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.method.to_lowercase(), describe(operation));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "axle",
            "summary": "The cloud backend for connected fleets",
            "description": INTRODUCTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This server."}],
        "security": [{"bearer": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `POST /api/v1/tokens` or `axle token create`.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "axle_session",
                    "description": "Of a person who has signed in, from this server's own pages.",
                },
            },
            "schemas": schemas,
        },
    })
}

fn describe(operation: &Operation) -> Value {
    let mut description = operation.description.to_owned();
    if !description.is_empty() {
        description.push_str("\n\n");
    }
    let roles = operation.roles.iter().map(|role| format!("`{role}`")).collect::<Vec<_>>();
    let roles = roles.join(", ");
    description.push_str(&format!("Rights: {}. Roles of people: {roles}.", operation.rights));
    let path = path_variables(operation.path).map(|name| {
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": path_meaning(operation.path, name),
            "schema": {"type": "string"},
        })
    });
    let query = operation.query.iter().map(|parameter| describe_parameter(parameter, "query"));
    let headers = operation.headers.iter().map(|parameter| describe_parameter(parameter, "header"));
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": description,
        "parameters": path.chain(query).chain(headers).collect::<Vec<_>>(),
        "responses": responses(operation),
    });
    if let (Some(body), Some(described)) = (&operation.body, described.as_object_mut()) {
        let content = content(body.schema, body.media);
        let body = json!({"required": body.is_required, "content": content});
        described.insert("requestBody".to_owned(), body);
    }
    described
}

fn describe_parameter(parameter: &Parameter, place: &str) -> Value {
    let schema: Value = serde_json::from_str(parameter.schema).unwrap_or_default();
    json!({
        "name": parameter.name,
        "in": place,
        "required": false,
        "description": parameter.description,
        "schema": schema,
    })
}

fn responses(operation: &Operation) -> Value {
    let mut responses = Map::new();
    for reply in operation.replies {
        let mut response = json!({"description": reply.description});
        if let (Some(schema), Some(response)) = (reply.schema, response.as_object_mut()) {
            response.insert("content".to_owned(), content(schema, reply.media));
        }
        responses.insert(reply.status.to_string(), response);
    }
    for status in PROBLEMS.iter().chain(operation.problems) {
        let problem = content("Problem", &["application/problem+json"]);
        let response = json!({"description": problem_meaning(*status), "content": problem});
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

fn content(schema: &str, media: &[&str]) -> Value {
    let entries = media.iter().map(|media| {
        let schema = match *media {
            // The other forms of a body have no JSON schema.
            "application/x-ndjson" | "text/csv" | "application/vnd.apache.arrow.stream" => {
                json!({"type": "string"})
            }
            _ => json!({"$ref": format!("#/components/schemas/{schema}")}),
        };
        ((*media).to_owned(), json!({"schema": schema}))
    });
    Value::Object(entries.collect())
}

/// The names in braces of a path.
pub(crate) fn path_variables(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'))
}

/// What a variable of a path names.
pub(crate) fn path_meaning(path: &str, name: &str) -> &'static str {
    match name {
        "stream" => "A stream, such as `ride`.",
        "plant" => "A plant.",
        "serial" => "The serial of a component.",
        _ if path.contains("/review/") => "A review item.",
        _ if path.contains("/devices/") => "A device.",
        _ if path.contains("/commands/") => "A command.",
        _ if path.contains("/tokens/") => "A token's id.",
        _ if path.contains("/users/") => "The name that a person signs in with.",
        _ => "An item of the quarantine.",
    }
}

/// What an error status means.
pub(crate) fn problem_meaning(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be read: mend it.",
        401 => "No token and no session, or one that is not known.",
        403 => "The token or the role does not allow this.",
        404 => "There is no such thing, or none that the token may see.",
        406 => "None of the forms that `Accept` names.",
        408 => "The body came too slowly.",
        409 => "The thing has changed or exists already: read again, then decide.",
        412 => "The entry has changed since its `ETag` was read.",
        413 => "Over a size limit: send less.",
        415 => "A media type or content coding that this route does not take.",
        422 => "The body can be read, but says what cannot be; `errors` points at each fault.",
        429 => "Too often: wait for `Retry-After` seconds.",
        503 => "Not now: keep the data and try again after `Retry-After` seconds.",
        _ => "A mistake of axle's own; the server's log has more under `request_id`.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_resolves_and_every_schema_is_used() {
        let schemas: Value = serde_json::from_str(SCHEMAS).unwrap();
        let text = document(&route::operations(), schemas.clone()).to_string();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schemas.get(name).is_some(), "no schema {name}");
        }
        for name in schemas.as_object().unwrap().keys() {
            assert!(text.contains(&format!("\"#/components/schemas/{name}\"")), "{name} is unused");
        }
    }

    #[test]
    fn operations_are_complete_and_told_apart() {
        let mut seen = std::collections::BTreeSet::new();
        for operation in route::operations() {
            assert!(seen.insert(operation.id), "{} twice", operation.id);
            assert!(!operation.summary.is_empty() && !operation.tag.is_empty(), "{}", operation.id);
            assert!(!operation.replies.is_empty(), "{}", operation.id);
            assert!(operation.replies.iter().all(|reply| !reply.description.is_empty()));
            for parameter in operation.query.iter().chain(operation.headers) {
                let schema: Result<Value, _> = serde_json::from_str(parameter.schema);
                assert!(schema.is_ok() && !parameter.description.is_empty(), "{}", parameter.name);
            }
        }
    }
}
