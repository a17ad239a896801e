//! Answers: JSON of domain values, pages of lists.

use axle_app::format_time;
use axle_domain::Timestamp;
use axle_domain::port::{Cell, Table};
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A JSON answer.
pub(crate) fn json_answer(status: StatusCode, body: &Value) -> Response {
    body_answer(status, "application/json", body.to_string())
}

/// An answer with a body of a media type.
pub(crate) fn body_answer(
    status: StatusCode,
    media: &'static str,
    body: impl Into<Body>,
) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static(media))], body.into()).into_response()
}

/// One page of a list: `{"items":[…],"next":cursor|null}`, with a `Link` to the next.
pub(crate) fn page(items: Vec<Value>, next: Option<(String, String)>) -> Response {
    let cursor = next.as_ref().map(|(cursor, _)| cursor);
    let mut response = json_answer(StatusCode::OK, &json!({"items": items, "next": cursor}));
    let link = next.map(|(_, address)| format!("<{address}>; rel=\"next\""));
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// RFC 3339 in UTC.
pub(crate) fn time(time: Timestamp) -> Value {
    Value::String(format_time(time))
}

/// RFC 3339 in UTC, or `null`.
pub(crate) fn optional_time(moment: Option<Timestamp>) -> Value {
    moment.map_or(Value::Null, time)
}

/// A table as the members `columns` and `rows`.
pub(crate) fn table(table: Table) -> (Value, Value) {
    let columns = table.columns.into_iter().map(|it| json!({"name": it.name, "type": it.kind}));
    let rows = table.rows.into_iter().map(|row| row.into_iter().map(cell).collect::<Value>());
    (columns.collect(), rows.collect())
}

fn cell(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Bool(value) => Value::Bool(value),
        Cell::Int(number) => json!(number),
        Cell::Float(number) => json!(number),
        Cell::Time(moment) => time(moment),
        Cell::Text(text) => Value::String(text),
    }
}

/// A text for use in a query string.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
