//! `/streams`: the log itself, for programs: publish to it, read it from anywhere, and have a
//! position in it that retention respects.

use std::sync::Arc;
use std::time::Duration;

use axle_app::{NewMessage, Portion, ReadFrom, Selection, format_time, parse_time};
use axle_domain::port::Record;
use axle_domain::{
    Access, Consumer, ConsumerName, DeviceId, Error, Kind, Offset, Source, TopicFilter, limit,
};
use axum::extract::State;
use axum::http::header::{ACCEPT, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::answer::{body_answer, json_answer, optional_time, page, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::field::Fields;
use crate::operation::{
    ADMINISTRATORS, JSON, OPERATION, OPERATORS, Operation, Parameter, Reply, json_body, reply,
};
use crate::parameter::invalid;
use crate::problem::Problem;
use crate::route::uploads::idempotency_key;

const TAG: &str = "Streams";
const MESSAGES: &str = "/api/v1/streams/messages";
const CONSUMERS: &str = "/api/v1/streams/consumers";
const CONSUMER: &str = "/api/v1/streams/consumers/{name}";
const NDJSON: &str = "application/x-ndjson";
/// Where to read on, of an answer in NDJSON.
const NEXT: HeaderName = HeaderName::from_static("axle-next");
/// Messages of one answer where nothing is said.
const MESSAGES_DEFAULT: usize = 100;

const FROM: &str = r#"{"type":"string","examples":["first","next","4711","2026-11-20T10:00:00Z"]}"#;

pub(super) static PUBLISH: Operation = Operation {
    id: "publishMessages",
    method: "POST",
    path: MESSAGES,
    tag: TAG,
    summary: "Publish messages to the log",
    description: "Answers when all are durable, with the offset of each. On a topic of a device's \
        telemetry they become rows, as if the device had sent them. The same batch again (same \
        `Idempotency-Key`) gets the same offsets and is in the log once, wherever the first \
        attempt broke off.",
    rights: "`log:write` or `admin`",
    roles: ADMINISTRATORS,
    headers: &[Parameter {
        name: "Idempotency-Key",
        schema: r#"{"type":"string","minLength":1,"maxLength":128}"#,
        description: "Tells a repetition from a new batch; visible ASCII.",
    }],
    body: json_body("NewMessages"),
    replies: &[reply(200, "Published", "The messages are durable.")],
    problems: &[403, 409, 413, 415, 422],
    ..OPERATION
};

pub(super) async fn publish(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require(Access::PublishLog)?;
    let key = idempotency_key(&call.headers)?;
    let _permit = super::uploads::room(&api.reading, 1).await?;
    let body = call.json(JSON, limit::PUBLISH_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let messages = match fields.value("messages") {
        Some(Value::Array(list)) => new_messages(&mut fields, list),
        _ => {
            fields.fault("messages", "must be a list of messages");
            Vec::new()
        }
    };
    fields.finish()?;
    let published = api.app.publish.publish(&call.principal, &messages, key.as_deref()).await?;
    let offsets: Vec<u64> = published.offsets.iter().map(|offset| offset.0).collect();
    let mut response = json_answer(StatusCode::OK, &json!({"offsets": offsets}));
    if published.is_repeated {
        let name = HeaderName::from_static("idempotent-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn new_messages(fields: &mut Fields, list: Vec<Value>) -> Vec<NewMessage> {
    let mut messages = Vec::with_capacity(list.len().min(limit::PUBLISH_MESSAGES_MAX));
    for (index, value) in list.into_iter().enumerate().take(limit::PUBLISH_MESSAGES_MAX + 1) {
        match new_message(value) {
            Ok(message) => messages.push(message),
            Err(rule) => fields.fault(&format!("messages/{index}"), &rule),
        }
    }
    messages
}

fn new_message(value: Value) -> Result<NewMessage, String> {
    let Value::Object(mut fields) = value else { return Err("must be an object".to_owned()) };
    let topic = text(&mut fields, "topic")?.ok_or("needs a `topic`")?;
    let device = text(&mut fields, "device")?.unwrap_or_default();
    let content_type = text(&mut fields, "content_type")?.unwrap_or_default();
    let payload = match (fields.remove("payload"), text(&mut fields, "payload_base64")?) {
        (Some(Value::String(text)), None) => Bytes::from(text),
        // Whatever else it is, it is JSON that somebody would otherwise have quoted.
        (Some(value), None) => Bytes::from(value.to_string()),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text);
            Bytes::from(bytes.map_err(|_error| "`payload_base64` is no Base64".to_owned())?)
        }
        _ => return Err("needs either `payload` or `payload_base64`".to_owned()),
    };
    match fields.keys().next() {
        Some(name) => Err(format!("has an unknown field `{}`", name.escape_debug())),
        None => Ok(NewMessage { topic, device, content_type, payload }),
    }
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` must be a text")),
    }
}

pub(super) static READ: Operation = Operation {
    id: "readMessages",
    path: MESSAGES,
    tag: TAG,
    summary: "Read the log from anywhere",
    description: "Every message as it came, in the order of the log: from `from` on, or from the \
        position of a `consumer`. Read on at `next` (as NDJSON in the header `Axle-Next`); what \
        a consumer has worked off it commits by its position. Where retention was faster the \
        answer is 410 `log.position_gone`, with the next offset there is in `limit`; damaged \
        records are 500 `log.damaged`, with the next good offset in `limit`. The door's counts \
        of what it refused come with `source=door` alone.",
    rights: "`log:read` or `admin`",
    roles: OPERATORS,
    query: &[
        Parameter {
            name: "from",
            schema: FROM,
            description: "`first`, `next`, an offset, or a moment (RFC 3339); without it and \
                without a consumer `first`.",
        },
        Parameter {
            name: "consumer",
            schema: r#"{"type":"string"}"#,
            description: "Begin at the position of this consumer.",
        },
        Parameter {
            name: "topic",
            schema: r#"{"type":"string"}"#,
            description: "Only topics that match this filter of MQTT.",
        },
        Parameter {
            name: "device",
            schema: r#"{"type":"string"}"#,
            description: "Only messages of this device.",
        },
        Parameter {
            name: "source",
            schema: r#"{"type":"string","enum":["mqtt","upload","replay","service","door","presence"]}"#,
            description: "Only messages that came by this door.",
        },
        Parameter {
            name: "limit",
            schema: r#"{"type":"integer","minimum":1,"maximum":1000,"default":100}"#,
            description: "Most messages of the answer; it ends at 4 MiB too.",
        },
        Parameter {
            name: "wait",
            schema: r#"{"type":"integer","minimum":1,"maximum":60}"#,
            description: "Wait so many seconds for the first message, where there is none yet.",
        },
    ],
    replies: &[Reply {
        status: 200,
        description: "Messages, none where none came in time.",
        schema: Some("LogPage"),
        media: &["application/json", NDJSON],
    }],
    problems: &[403, 404, 410],
    ..OPERATION
};

pub(super) async fn read(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require(Access::ReadLog)?;
    let selection = selection(&call)?;
    let wait = match call.parameters.find("wait") {
        None => Duration::ZERO,
        Some(_) => {
            let most = usize::try_from(limit::CONSUME_WAIT_MAX.as_secs()).unwrap_or(usize::MAX);
            Duration::from_secs(call.parameters.count("wait", 1, most)? as u64)
        }
    };
    let messages_max = call.parameters.count("limit", MESSAGES_DEFAULT, limit::PAGE_ITEMS_MAX)?;
    let consumer = call.parameters.find("consumer").map(ConsumerName::parse).transpose()?;
    let from = call.parameters.find("from").map(read_from).transpose()?;
    let consumers = &api.app.consumers;
    let from = match (&consumer, from) {
        (Some(_), Some(_)) => return Err(invalid("from", "goes without `consumer`")),
        (Some(name), None) => consumers.get(name).await?.position,
        (None, from) => consumers.locate(from.unwrap_or(ReadFrom::First)).await.map_err(gone)?,
    };
    let _permit = Arc::clone(&api.consumes).try_acquire_owned().map_err(|_error| {
        let message = "too many readers of the log: try again later";
        let error = Error::new(Kind::Busy, "streams.too_many_readers", message);
        Problem::from(error.with_retry_after(Duration::from_secs(5)))
    })?;
    let reading = consumers.read(from, &selection, Portion { messages_max, wait });
    let page = tokio::select! {
        page = reading => page.map_err(gone)?,
        () = api.stop.cancelled() => {
            let message = "the server is stopping: read again in a moment";
            return Err(Error::unavailable("streams.stopping", message).into());
        }
    };
    let next = page.next.0;
    let lines: Vec<Value> = page.records.iter().map(wire).collect();
    if wants_ndjson(&call.headers) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let mut response = body_answer(StatusCode::OK, NDJSON, text);
        response.headers_mut().insert(NEXT, HeaderValue::from(next));
        return Ok(response);
    }
    let bounds = api.app.ports.log.bounds();
    let body = json!({
        "messages": lines, "next": next,
        "first": bounds.first.0, "durable": bounds.durable.0,
    });
    Ok(json_answer(StatusCode::OK, &body))
}

fn wants_ndjson(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|it| it.contains(NDJSON))
}

fn selection(call: &Call) -> Result<Selection, Problem> {
    let topic = call.parameters.find("topic").map(TopicFilter::parse).transpose()?;
    let device = call.parameters.find("device").map(DeviceId::parse).transpose()?;
    let source = match call.parameters.find("source") {
        None => None,
        Some(name) => {
            let source = Source::ALL.into_iter().find(|source| source.as_str() == name);
            Some(source.ok_or_else(|| {
                invalid("source", "must be mqtt, upload, replay, service, door or presence")
            })?)
        }
    };
    Ok(Selection { topic, source, device: device.map(|device| device.to_string()) })
}

fn read_from(text: &str) -> Result<ReadFrom, Problem> {
    let rule = "must be `first`, `next`, an offset, or a moment as RFC 3339";
    match text {
        "first" => Ok(ReadFrom::First),
        "next" => Ok(ReadFrom::Next),
        text => match text.parse() {
            Ok(offset) => Ok(ReadFrom::Offset(Offset(offset))),
            Err(_) => match parse_time(text) {
                Some(time) => Ok(ReadFrom::Time(time)),
                None => Err(invalid("from", rule)),
            },
        },
    }
}

/// What was there once is 410, not 404.
fn gone(error: Error) -> Problem {
    let problem = Problem::from(error);
    match problem.is("log.position_gone") {
        true => problem.with_status(StatusCode::GONE),
        false => problem,
    }
}

fn wire(record: &Record) -> Value {
    let message = record.message();
    let mut body = json!({
        "offset": record.offset.0,
        "source": message.source.as_str(),
        "device": message.device,
        "topic": message.topic,
        "content_type": message.content_type,
        "received_at": format_time(message.received_at),
        "sent_at": optional_time(message.sent_at),
    });
    let (name, payload) = match std::str::from_utf8(message.payload) {
        Ok(text) => ("payload", text.to_owned()),
        Err(_) => ("payload_base64", STANDARD.encode(message.payload)),
    };
    if let Some(body) = body.as_object_mut() {
        body.insert(name.to_owned(), Value::String(payload));
    }
    body
}

pub(super) static LIST: Operation = Operation {
    id: "listConsumers",
    path: CONSUMERS,
    tag: TAG,
    summary: "List the consumers of the log",
    description: "`lag` counts records; `is_holding` says whether retention waits for it.",
    rights: "`log:read` or `admin`",
    roles: OPERATORS,
    replies: &[reply(200, "ConsumerPage", "All consumers, by name.")],
    problems: &[403],
    ..OPERATION
};

pub(super) async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require(Access::ReadLog)?;
    let consumers = api.app.consumers.list().await?;
    Ok(page(consumers.iter().map(|it| consumer_wire(&api, it)).collect(), None))
}

pub(super) static CREATE: Operation = Operation {
    id: "createConsumer",
    method: "POST",
    path: CONSUMERS,
    tag: TAG,
    summary: "Register a consumer of the log",
    description: "From here on retention does not go past its position. One that is behind and \
        does not move for longer than `log.consumer_idle`, or is further behind than \
        `log.consumer_bytes`, is declared lost: then retention goes on without it, and its next \
        read says what is gone.",
    rights: "`log:read` or `admin`",
    roles: OPERATORS,
    body: json_body("ConsumerInput"),
    replies: &[reply(201, "Consumer", "The consumer.")],
    problems: &[403, 404, 409, 410, 415, 422],
    ..OPERATION
};

pub(super) async fn create(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require(Access::ReadLog)?;
    let body = call.json(JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let name = ConsumerName::parse(&fields.text("name"));
    if let Err(error) = &name {
        fields.fault("name", &error.message);
    }
    let from = match fields.value("from") {
        None => Ok(ReadFrom::Next),
        Some(Value::String(text)) => read_from(&text),
        Some(value) => read_from(&value.to_string()),
    };
    if from.is_err() {
        fields.fault("from", "must be `first`, `next`, an offset, or a moment as RFC 3339");
    }
    fields.finish()?;
    let consumer = api.app.consumers.create(name?, from?).await.map_err(gone)?;
    Ok(json_answer(StatusCode::CREATED, &consumer_wire(&api, &consumer)))
}

pub(super) static GET: Operation = Operation {
    id: "getConsumer",
    path: CONSUMER,
    tag: TAG,
    summary: "Read a consumer of the log",
    rights: "`log:read` or `admin`",
    roles: OPERATORS,
    replies: &[reply(200, "Consumer", "The consumer.")],
    problems: &[403, 404],
    ..OPERATION
};

pub(super) async fn get(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require(Access::ReadLog)?;
    let consumer = api.app.consumers.get(&name(&call)?).await?;
    Ok(json_answer(StatusCode::OK, &consumer_wire(&api, &consumer)))
}

pub(super) static MOVE: Operation = Operation {
    id: "putConsumerPosition",
    method: "PUT",
    path: "/api/v1/streams/consumers/{name}/position",
    tag: TAG,
    summary: "Commit the position of a consumer",
    description: "The next record that it needs: `next` of what it has worked off. It may go back \
        as far as the log is kept. Committing the same position again says that it is alive.",
    rights: "`log:read` or `admin`",
    roles: OPERATORS,
    body: json_body("ConsumerPosition"),
    replies: &[reply(200, "Consumer", "The consumer.")],
    problems: &[403, 404, 410, 415, 422],
    ..OPERATION
};

pub(super) async fn put_position(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require(Access::ReadLog)?;
    let name = name(&call)?;
    let body = call.json(JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    if !fields.has("position") {
        fields.fault("position", "is missing");
    }
    let position = Offset(fields.count("position", 0));
    fields.finish()?;
    let consumer = api.app.consumers.commit(&name, position).await.map_err(gone)?;
    Ok(json_answer(StatusCode::OK, &consumer_wire(&api, &consumer)))
}

pub(super) static DELETE: Operation = Operation {
    id: "deleteConsumer",
    method: "DELETE",
    path: CONSUMER,
    tag: TAG,
    summary: "Forget a consumer of the log",
    description: "Retention goes on without it.",
    rights: "`log:read` or `admin`",
    roles: OPERATORS,
    replies: &[Reply { status: 204, description: "Forgotten.", schema: None, media: &[] }],
    problems: &[403, 404],
    ..OPERATION
};

pub(super) async fn delete(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require(Access::ReadLog)?;
    api.app.consumers.delete(&name(&call)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn name(call: &Call) -> Result<ConsumerName, Error> {
    ConsumerName::parse(call.segment("name"))
}

fn consumer_wire(api: &Api, consumer: &Consumer) -> Value {
    let signs = api.app.consumers.sign(consumer);
    json!({
        "name": consumer.name.as_str(),
        "position": signs.position.0,
        "lag": signs.lag_records,
        "bytes": signs.bytes,
        "is_holding": signs.is_holding,
        "created_at": time(consumer.created_at),
        "moved_at": time(consumer.moved_at),
        "lost_at": optional_time(consumer.lost_at),
    })
}
