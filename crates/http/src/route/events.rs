//! `/events`: the log as it grows, as Server-Sent Events that carry CloudEvents.

use std::sync::Arc;
use std::time::Duration;

use axle_app::format_time;
use axle_domain::port::{Record, Visibility};
use axle_domain::{Access, DeviceId, Error, Kind, Offset, Source};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use crate::answer::body_answer;
use crate::api::Api;
use crate::call::{Answer, Call, Credential};
use crate::operation::{EVERYONE, OPERATION, Operation, Parameter, Reply};
use crate::problem::Problem;

/// What is read of the log at a time; a single record may be longer.
const READ_BYTES_MAX: usize = 256 * 1024;
/// Longest payload that an event carries; of longer ones only the size is told.
const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Something is sent at least so often, so that both sides notice a dead connection; the token
/// is recognised again as often.
const PULSE: Duration = Duration::from_secs(15);

pub(super) static FOLLOW: Operation = Operation {
    id: "followEvents",
    path: "/api/v1/events",
    tag: "Events",
    summary: "Follow the messages of devices as they come",
    description: "Server-Sent Events, each a CloudEvent 1.0 in JSON whose `id` is the offset in \
        the log. After an interruption `Last-Event-ID` goes on behind that event; without it the \
        stream begins with the next message. A reader that takes nothing for 30 seconds is \
        dropped, and goes on where it was. The stream ends when the token is withdrawn.",
    rights: "`admin`, or `read:DEVICE` for its messages",
    query: &[
        Parameter {
            name: "device",
            schema: r#"{"type":"string"}"#,
            description: "Only messages of this device.",
        },
        Parameter {
            name: "raw",
            schema: r#"{"type":"integer","enum":[0,1]}"#,
            description: "1: the payload as it came, in `data_base64`.",
        },
    ],
    headers: &[Parameter {
        name: "Last-Event-ID",
        schema: r#"{"type":"integer","minimum":0}"#,
        description: "Go on behind this event.",
    }],
    replies: &[Reply {
        status: 200,
        description: "The stream; it does not end by itself.",
        schema: Some("CloudEvent"),
        media: &["text/event-stream"],
    }],
    problems: &[403, 404],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn follow(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let device = call.parameters.find("device").map(DeviceId::parse).transpose()?;
    if let Some(device) = &device {
        call.require(Access::Read(device))?;
        api.require_registered(device)?;
    }
    let reads = call.principal.require_reading()?;
    let is_raw = call.parameters.switch("raw")?;
    let next = first(&api, &call.headers)?;
    let permit = Arc::clone(&api.events).try_acquire_owned().map_err(|_error| {
        let message = "too many readers follow the events: try again later";
        let error = Error::new(Kind::Busy, "events.too_many_readers", message);
        Problem::from(error.with_retry_after(Duration::from_secs(10)))
    })?;
    let follower = Follower {
        api,
        reads,
        credential: call.credential,
        device,
        is_raw,
        next,
        checked_at: Instant::now(),
        is_new: true,
        _permit: permit,
    };
    // The stream is asked for more only when the socket takes more: nothing queues up here.
    let events = stream::unfold(follower, |mut follower| async move {
        let chunk = follower.next().await?;
        Some((Ok::<_, Error>(chunk), follower))
    });
    Ok(body_answer(StatusCode::OK, "text/event-stream", Body::from_stream(events)))
}

fn first(api: &Api, headers: &HeaderMap) -> Result<Offset, Problem> {
    let bounds = api.app.ports.log.bounds();
    let Some(value) = headers.get("last-event-id") else { return Ok(bounds.durable) };
    let id = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    match id.and_then(|id| id.checked_add(1)) {
        Some(next) if next <= bounds.durable.0 => Ok(Offset(next).max(bounds.first)),
        _ => Err(Problem::bad_request(
            "events.id_unknown",
            "`Last-Event-ID` is no event of this log: leave it out to begin with the next one",
        )),
    }
}

struct Follower {
    api: Arc<Api>,
    reads: Visibility,
    credential: Credential,
    device: Option<DeviceId>,
    is_raw: bool,
    next: Offset,
    checked_at: Instant,
    is_new: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next piece of the stream, or its end.
    async fn next(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.is_new) {
            return Some(Bytes::from_static(b"retry: 2000\n: axle\n\n"));
        }
        let stop = self.api.stop.clone();
        loop {
            if self.checked_at.elapsed() >= PULSE {
                // A token that was withdrawn, or a session that is over, ends the stream.
                let principal = self.api.recognize(&self.credential).await.ok()?;
                self.reads = principal.reads();
                self.checked_at = Instant::now();
                return Some(Bytes::from_static(b": pulse\n\n"));
            }
            let log = Arc::clone(&self.api.app.ports.log);
            let records = match log.read(self.next, READ_BYTES_MAX).await {
                Ok(records) => records,
                // Retention was faster than this reader: go on with the oldest that is kept.
                Err(error) if error.kind == Kind::NotFound && self.next < log.bounds().first => {
                    self.next = log.bounds().first;
                    continue;
                }
                Err(_) => return None,
            };
            if records.is_empty() {
                let left = PULSE.saturating_sub(self.checked_at.elapsed());
                tokio::select! {
                    () = stop.cancelled() => return None,
                    grown = timeout(left, log.durable(self.next)) => {
                        if matches!(grown, Ok(Err(_))) {
                            return None;
                        }
                    }
                }
                continue;
            }
            let chunk = self.write(&records);
            if !chunk.is_empty() {
                return Some(Bytes::from(chunk));
            }
            if stop.is_cancelled() {
                return None;
            }
        }
    }

    fn write(&mut self, records: &[Record]) -> String {
        let mut chunk = String::new();
        for record in records {
            self.next = record.offset.next();
            if self.may_see(record) {
                write_event(&mut chunk, record, self.is_raw);
            }
        }
        chunk
    }

    fn may_see(&self, record: &Record) -> bool {
        // What the door counts is no message.
        if record.source == Source::Door {
            return false;
        }
        let device = record.message().device;
        let is_wanted = self.device.as_ref().is_none_or(|only| only.as_str() == device);
        is_wanted
            && match &self.reads {
                Visibility::All => true,
                Visibility::Devices(own) => own.iter().any(|own| own.as_str() == device),
            }
    }
}

fn write_event(chunk: &mut String, record: &Record, is_raw: bool) {
    let message = record.message();
    let source = match message.device {
        "" => "/api/v1/streams/messages".to_owned(),
        device => format!("/api/v1/devices/{device}"),
    };
    let mut event = json!({
        "specversion": "1.0",
        "id": record.offset.0.to_string(),
        "source": source,
        "type": format!("axle.message.{}", message.source.as_str()),
        "subject": message.topic,
        "time": format_time(message.received_at),
        "payloadbytes": message.payload.len(),
    })
    .to_string();
    event.pop();
    let fits = message.payload.len() <= PAYLOAD_BYTES_MAX;
    if fits && is_raw {
        event.push_str(",\"data_base64\":\"");
        STANDARD.encode_string(message.payload, &mut event);
        event.push('"');
    } else if let Some(text) = json_text(message.payload).filter(|_| fits) {
        event.push_str(",\"datacontenttype\":\"application/json\",\"data\":");
        // Line breaks stand only between tokens of JSON, and would break the event's line.
        event.extend(text.chars().map(|c| if c == '\n' || c == '\r' { ' ' } else { c }));
    }
    event.push('}');
    chunk.push_str(&format!("id: {}\ndata: {event}\n\n", record.offset));
}

fn json_text(payload: &[u8]) -> Option<&str> {
    if !matches!(payload.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return None;
    }
    let text = std::str::from_utf8(payload).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(text)
}
