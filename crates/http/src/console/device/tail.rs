//! The messages of a device as they come, decoded for the eye.

use std::sync::Arc;

use axle_app::decode::{Decoded, decode};
use axle_domain::port::Record;
use axle_domain::{DeviceId, Kind, Message, Offset, Row, Schemas, Value};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream;
use maud::{Markup, html};

use super::payload;
use crate::api::Api;
use crate::console::feed::{self, Part};
use crate::console::viewer::Viewer;
use crate::console::written::{bytes, clock_time, float};
use crate::problem::Problem;

/// Messages that the page shows at first.
const SHOWN: usize = 20;
/// How far back they are looked for.
const RECORDS_BACK: u64 = 2000;
/// What is read of the log for that.
const LOOK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What is read of the log at a time while it is followed.
const READ_BYTES_MAX: usize = 256 * 1024;
/// Longer payloads are shown in part and not decoded.
const DECODED_BYTES_MAX: usize = 64 * 1024;
/// What is shown of a payload.
const SHOWN_CHARS_MAX: usize = 600;
/// Rows that are shown of one message.
const SHOWN_ROWS_MAX: usize = 40;

/// The newest messages of a device among the newest of all, newest first.
pub(super) async fn recent(api: &Api, device: &DeviceId) -> Vec<Markup> {
    let log = &api.app.ports.log;
    let bounds = log.bounds();
    let mut next = Offset(bounds.durable.0.saturating_sub(RECORDS_BACK)).max(bounds.first);
    let (mut lines, mut left) = (Vec::new(), LOOK_BYTES_MAX);
    while next < bounds.durable && left > 0 {
        // A log that cannot be read says so elsewhere; the page shows what it has.
        let Ok(records) = log.read(next, READ_BYTES_MAX.min(left)).await else { break };
        let Some(last) = records.last() else { break };
        next = last.offset.next();
        left = left.saturating_sub(READ_BYTES_MAX);
        let own = records.iter().filter(|record| record.message().device == device.as_str());
        lines.extend(own.map(|record| line(&api.app.schemas, record)));
        lines.drain(..lines.len().saturating_sub(SHOWN));
    }
    lines.reverse();
    lines
}

/// The section.
pub(super) fn section(device: &DeviceId, lines: &[Markup]) -> Markup {
    let source = format!("/live/devices/{}/tail", crate::answer::encode(device.as_str()));
    html! {
        section .panel #tail aria-labelledby="tail-title" data-live=(source) data-connection="#tail-connection" {
            div .bar {
                h2 #tail-title { "Messages" }
                span #tail-connection .pill.is-calm role="status" { "as of loading" }
                div .end { button type="button" data-pause="tail" aria-pressed="false" hidden { "Pause" } }
            }
            @if lines.is_empty() {
                p .quiet { "None among the newest " (RECORDS_BACK) " messages of all devices; new ones appear here." }
            }
            ol .tail tabindex="0" aria-label="Messages, newest first" data-part="tail" data-lines="200" {
                @for line in lines { (line) }
            }
        }
    }
}

/// `GET /live/devices/{id}/tail`.
pub(in crate::console) async fn live(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let device = super::find(&api, &viewer, &id).await?.id;
    let next = api.app.ports.log.bounds().durable;
    let tail = Tail { api: Arc::clone(&api), device, next };
    let source = stream::unfold(tail, |mut tail| async move {
        let parts = tail.next().await?;
        Some((parts, tail))
    });
    feed::answer(&api, &headers, source)
}

struct Tail {
    api: Arc<Api>,
    device: DeviceId,
    next: Offset,
}

impl Tail {
    /// The next messages; cutting this off in the middle loses none, since the place in the log
    /// moves on only when they are returned.
    async fn next(&mut self) -> Option<Vec<Part>> {
        let log = Arc::clone(&self.api.app.ports.log);
        loop {
            let records = match log.read(self.next, READ_BYTES_MAX).await {
                Ok(records) => records,
                // Retention was faster than this reader: go on with the oldest that is kept.
                Err(error) if error.kind == Kind::NotFound && self.next < log.bounds().first => {
                    self.next = log.bounds().first;
                    continue;
                }
                Err(_) => return None,
            };
            let Some(last) = records.last() else {
                log.durable(self.next).await.ok()?;
                continue;
            };
            self.next = last.offset.next();
            let own = |record: &&Record| record.message().device == self.device.as_str();
            let lines = records.iter().filter(own);
            let lines: Vec<_> =
                lines.map(|it| Part::line("tail", line(&self.api.app.schemas, it))).collect();
            if !lines.is_empty() {
                return Some(lines);
            }
        }
    }
}

/// One message.
fn line(schemas: &Schemas, record: &Record) -> Markup {
    let message = record.message();
    let meaning = meaning(schemas, record.offset, &message);
    html! {
        li {
            p .meta {
                (clock_time(message.received_at)) " " code { (message.topic) } " "
                (message.source.as_str()) " · " (bytes(message.payload.len() as u64))
                " · offset " (record.offset)
                @if let Some(fault) = &meaning.fault { " " span .pill.is-warn { (fault) } }
                @if meaning.rows > 0 { " · " (meaning.rows) @if meaning.rows == 1 { " row" } @else { " rows" } }
            }
            pre { (content(&message, &meaning)) }
        }
    }
}

/// What a message means, in short.
#[derive(Default)]
struct Meaning {
    rows: usize,
    texts: Vec<String>,
    fault: Option<&'static str>,
}

fn meaning(schemas: &Schemas, offset: Offset, message: &Message<'_>) -> Meaning {
    let mut meaning = Meaning::default();
    if message.payload.len() > DECODED_BYTES_MAX {
        return meaning;
    }
    decode(schemas, offset, message, &mut |decoded| match decoded {
        Decoded::Row(row) => {
            meaning.rows += 1;
            if meaning.texts.len() < SHOWN_ROWS_MAX {
                meaning.texts.push(row_text(row));
            }
        }
        Decoded::SetAside(aside) => {
            meaning.fault.get_or_insert(aside.code);
        }
        Decoded::Reply(_) | Decoded::Opaque => {}
    });
    meaning
}

/// The payload where it is text, else the rows in it, else its bytes.
fn content(message: &Message<'_>, meaning: &Meaning) -> String {
    // A cut may fall into a character; what stands before it is text still.
    let start = message.payload.get(..4 * SHOWN_CHARS_MAX).unwrap_or(message.payload);
    let start = match std::str::from_utf8(start) {
        Err(error) if error.error_len().is_none() => start.get(..error.valid_up_to()),
        Ok(_) | Err(_) => Some(start),
    };
    if let Some(text) = start.and_then(payload::readable) {
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        let is_cut = shown.len() < message.payload.len();
        return if is_cut { format!("{shown} …") } else { shown };
    }
    if meaning.texts.is_empty() {
        return payload::hexadecimal(message.payload);
    }
    let mut text = meaning.texts.join("\n");
    if meaning.texts.len() < meaning.rows {
        text.push_str("\n…");
    }
    text
}

fn row_text(row: &Row<'_>) -> String {
    let keys = row.schema.keys.iter().zip(row.keys).map(|(name, key)| format!("{name}={key}"));
    let values = row.schema.fields.iter().zip(row.values).filter_map(|(field, value)| {
        let text = match (*value)? {
            Value::Float(number) => float(number),
            Value::Bool(truth) => truth.to_string(),
            Value::Text(text) => text.to_owned(),
        };
        Some(format!("{}={text}", field.name))
    });
    let time = std::iter::once(axle_app::format_time(row.time));
    time.chain(keys).chain(values).collect::<Vec<_>>().join("  ")
}
