//! What a message means: rows, an answer, or something to set aside with its reason.
//!
//! [`decode`] is a pure function of the schemas and the message as the log holds it, so that the
//! door (for verdicts), the projection and a rebuild years later come to the same result.

mod container;
mod json;
mod reply;
mod sample;

use axle_domain::{Message, Reply, Row, Schemas, Source, StreamSchema, Timestamp, Topic};

/// The stream that presence is written to.
const PRESENCE: &str = "presence";

/// Something a message holds, in the order in which it stands there.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// A row of a stream.
    Row(&'a Row<'a>),
    /// A device's answer to a command.
    Reply(Reply),
    /// What could not be understood or cannot be true.
    SetAside(SetAside<'a>),
    /// Durable, but not projected: an event, or a topic that no mapping knows.
    Opaque,
}

/// Why something is set aside, and the bytes it consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside<'a> {
    /// The index of the sample within the message; 0 for a message as a whole.
    pub index: u32,
    /// The stream; empty where the topic names none.
    pub stream: &'a str,
    /// A stable code such as `time.future`.
    pub code: &'static str,
    /// The reason in words, naming the field and the value's form, never the value.
    pub detail: String,
    /// The sample, or the whole message; decodable by itself under the message's media type.
    pub payload: &'a [u8],
    /// The sender's clock when it sent, if it said so.
    pub sent_at: Option<Timestamp>,
    /// Whether the message as a whole is meant, not one of its samples.
    pub is_whole: bool,
}

/// Why a sample is set aside; the caller adds where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

impl Fault {
    pub(crate) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// Tells `sink` what a message holds. Every message yields at least one call.
pub fn decode(
    schemas: &Schemas,
    offset: axle_domain::Offset,
    message: &Message<'_>,
    sink: &mut dyn FnMut(Decoded<'_>),
) {
    let whole = |stream, code, detail| {
        Decoded::SetAside(SetAside {
            index: 0,
            stream,
            code,
            detail,
            payload: message.payload,
            sent_at: message.sent_at,
            is_whole: true,
        })
    };
    if message.source == Source::Presence {
        match schemas.find(PRESENCE) {
            Some(schema) => decode_telemetry(schema, message.device, message, sink),
            None => sink(Decoded::Opaque),
        }
        return;
    }
    if let Some(stream) = Topic::own_stream(message.device, message.topic)
        && let Some(schema) = schemas.find(stream)
    {
        return decode_telemetry(schema, message.device, message, sink);
    }
    match Topic::parse(message.topic) {
        Ok(Topic::Telemetry(device, stream)) => match schemas.find(stream.as_str()) {
            Some(schema) if device.as_str() == message.device || message.device.is_empty() => {
                decode_telemetry(schema, device.as_str(), message, sink);
            }
            Some(_) => {
                let detail = "the topic names another device than the credential".to_owned();
                sink(whole(stream.as_str(), "topic.foreign", detail));
            }
            None => {
                let writable = schemas.iter().filter(|schema| !schema.is_servers);
                let known: Vec<_> = writable.map(|schema| schema.name.as_str()).collect();
                let detail =
                    format!("stream `{stream}` is not known: there are {}", known.join(", "));
                sink(whole(stream.as_str(), "stream.unknown", detail));
            }
        },
        Ok(Topic::Reply(device, command)) => {
            match reply::decode_reply(device, command, message, offset) {
                Ok(reply) => sink(Decoded::Reply(reply)),
                Err(fault) => sink(whole("", fault.code, fault.detail)),
            }
        }
        Ok(Topic::Event(..) | Topic::Command(..) | Topic::Other) => sink(Decoded::Opaque),
        Err(error) => sink(whole("", "topic.invalid", error.to_string())),
    }
}

/// The form of a telemetry payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Ndjson,
    Container,
}

fn decode_telemetry(
    schema: &StreamSchema,
    device: &str,
    message: &Message<'_>,
    sink: &mut dyn FnMut(Decoded<'_>),
) {
    let context = sample::Context { schema, device, message };
    let result = match form(schema, message) {
        _ if schema.is_servers && message.source != Source::Presence => Err(Fault::new(
            "stream.reserved",
            format!("stream `{}` is written by the server alone", schema.name),
        )),
        Ok(Form::Json) => json::decode_json(context, sink),
        Ok(Form::Ndjson) => json::decode_ndjson(context, sink),
        Ok(Form::Container) => container::decode_container(context, sink),
        Err(fault) => Err(fault),
    };
    if let Err(Fault { code, detail }) = result {
        sink(Decoded::SetAside(SetAside {
            index: 0,
            stream: schema.name.as_str(),
            code,
            detail,
            payload: message.payload,
            sent_at: message.sent_at,
            is_whole: true,
        }));
    }
}

/// Finds the form by the declared media type, else by the first byte.
fn form(schema: &StreamSchema, message: &Message<'_>) -> Result<Form, Fault> {
    let declared = message.content_type.split(';').next().unwrap_or_default().trim();
    match declared.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Form::Json),
        "application/x-ndjson" => Ok(Form::Ndjson),
        "application/x-protobuf" | "application/protobuf" | "application/vnd.google.protobuf"
            if schema.has_container =>
        {
            Ok(Form::Container)
        }
        "" | "application/octet-stream" | "text/plain" => guess(schema, message.payload),
        _ => Err(Fault::new(
            "payload.type_unknown",
            format!("stream `{}` has no decoder for the declared content type", schema.name),
        )),
    }
}

fn guess(schema: &StreamSchema, payload: &[u8]) -> Result<Form, Fault> {
    match payload.iter().find(|byte| !byte.is_ascii_whitespace()) {
        // A container begins with the tag 0x0A, which is also a line feed: JSON may begin with
        // white space, so the first byte that is none decides, except right at the start.
        _ if schema.has_container && payload.first() == Some(&0x0A) => Ok(Form::Container),
        Some(b'{' | b'[') => Ok(Form::Json),
        None => Err(Fault::new("payload.empty", "the payload is empty")),
        Some(_) if schema.has_container => Ok(Form::Container),
        Some(_) => {
            Err(Fault::new("payload.invalid", "the payload is not JSON: it must begin with { or ["))
        }
    }
}

#[cfg(test)]
mod mutation;
#[cfg(test)]
mod tests;
