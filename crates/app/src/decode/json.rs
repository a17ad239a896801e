//! JSON telemetry: a sample, an array of samples, or `{"sent_at":…,"samples":[…]}`; and NDJSON.
//!
//! Values are looked at where they stand ([`RawValue`]); no tree is built but for unknown fields.

use std::borrow::Cow;
use std::fmt;

use axle_domain::{FieldKind, Timestamp, Value, limit};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::sample::{Context, Sample, Spot, text, wrong_type};
use super::{Decoded, Fault};
use crate::time_text::parse_time;

/// One member of an object.
struct Member<'a> {
    name: Cow<'a, str>,
    raw: &'a RawValue,
    /// The text, where it is one that holds escapes.
    unescaped: Option<String>,
}

impl<'a> Member<'a> {
    fn new<E: serde::de::Error>(name: Cow<'a, str>, raw: &'a RawValue) -> Result<Self, E> {
        let is_escaped = raw.get().starts_with('"') && raw.get().contains('\\');
        let unescaped = if is_escaped {
            Some(serde_json::from_str(raw.get()).map_err(E::custom)?)
        } else {
            None
        };
        Ok(Self { name, raw, unescaped })
    }

    /// The value, if it is a text.
    fn text(&self) -> Option<&str> {
        match &self.unescaped {
            Some(text) => Some(text),
            None => self.raw.get().strip_prefix('"')?.strip_suffix('"'),
        }
    }
}

/// The members of an object in their order.
struct Members<'a>(Vec<Member<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(12);
                while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
                    if members.len() >= MEMBERS_MAX {
                        return Err(serde::de::Error::custom("an object has too many members"));
                    }
                    members.push(Member::new(name, map.next_value()?)?);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Most members of one sample or envelope.
const MEMBERS_MAX: usize = 1024;

/// A member's name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

fn check_unique(members: &[Member<'_>]) -> Result<(), Fault> {
    let mut names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
    names.sort_unstable();
    for (name, next) in names.iter().zip(names.iter().skip(1)) {
        if name == next {
            let shown: String = name.chars().take(64).collect();
            let detail = format!("the member `{}` comes twice", shown.escape_debug());
            return Err(Fault::new("payload.duplicate_member", detail));
        }
    }
    Ok(())
}

fn syntax(error: &serde_json::Error) -> Fault {
    // The message of serde_json names positions and what was expected, and no values of ours.
    let detail = format!(
        "no valid JSON: {} at line {}, column {}",
        what(error),
        error.line(),
        error.column()
    );
    Fault::new("payload.invalid", detail)
}

fn what(error: &serde_json::Error) -> &'static str {
    use serde_json::error::Category;
    match error.classify() {
        Category::Eof => "it ends too early",
        Category::Data => "no object with valid text",
        Category::Syntax | Category::Io => "a syntax error",
    }
}

fn as_text(payload: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(payload).map_err(|error| {
        let detail = format!("no valid UTF-8 after {} bytes", error.valid_up_to());
        Fault::new("payload.invalid", detail)
    })
}

/// Decodes a JSON payload. A fault of the payload as a whole comes back; a fault of one sample
/// goes to the sink.
pub(super) fn decode_json(
    context: Context<'_>,
    sink: &mut dyn FnMut(Decoded<'_>),
) -> Result<(), Fault> {
    let payload = as_text(context.message.payload)?;
    if payload.trim_start().starts_with('[') {
        let samples: Vec<&RawValue> =
            serde_json::from_str(payload).map_err(|error| syntax(&error))?;
        return decode_samples(context, &samples, context.message.sent_at, sink);
    }
    let Members(members) = serde_json::from_str(payload).map_err(|error| syntax(&error))?;
    check_unique(&members)?;
    if !members.iter().any(|member| member.name == "samples") {
        let mut sample = Sample::new(context.schema);
        fill(context, &members, &mut sample)?;
        return context.row(&sample, context.message.sent_at, sink);
    }
    let envelope = read_envelope(context, &members)?;
    decode_samples(context, &envelope.samples, envelope.sent_at, sink)
}

struct Envelope<'a> {
    sent_at: Option<Timestamp>,
    samples: Vec<&'a RawValue>,
}

fn read_envelope<'a>(context: Context<'_>, members: &[Member<'a>]) -> Result<Envelope<'a>, Fault> {
    let mut envelope = Envelope { sent_at: context.message.sent_at, samples: Vec::new() };
    for member in members {
        match &*member.name {
            "samples" => {
                envelope.samples = serde_json::from_str(member.raw.get()).map_err(|_error| {
                    Fault::new("payload.invalid", "`samples` must be an array")
                })?;
            }
            "sent_at" => envelope.sent_at = read_time(member)?.or(envelope.sent_at),
            "device" => must_be(member, context.device)?,
            "stream" => must_be(member, context.schema.name.as_str())?,
            other => {
                let shown: String = other.chars().take(64).collect();
                let detail = format!(
                    "`{}` is no member of a batch: there are sent_at and samples",
                    shown.escape_debug()
                );
                return Err(Fault::new("payload.member_unknown", detail));
            }
        }
    }
    Ok(envelope)
}

fn must_be(member: &Member<'_>, expected: &str) -> Result<(), Fault> {
    if member.text() == Some(expected) {
        return Ok(());
    }
    let detail = format!("`{}` must be `{expected}` here", member.name);
    Err(Fault::new("payload.mismatch", detail))
}

fn decode_samples(
    context: Context<'_>,
    samples: &[&RawValue],
    sent_at: Option<Timestamp>,
    sink: &mut dyn FnMut(Decoded<'_>),
) -> Result<(), Fault> {
    if samples.is_empty() {
        return Err(Fault::new("payload.empty", "there are no samples"));
    }
    for (index, raw) in samples.iter().enumerate() {
        decode_one(context, Spot { index, payload: raw.get().as_bytes(), sent_at }, sink);
    }
    Ok(())
}

fn decode_one(context: Context<'_>, spot: Spot<'_>, sink: &mut dyn FnMut(Decoded<'_>)) {
    let result = as_text(spot.payload)
        .and_then(|text| serde_json::from_str(text).map_err(|error| syntax(&error)))
        .and_then(|Members(members)| {
            check_unique(&members)?;
            let mut sample = Sample::new(context.schema);
            fill(context, &members, &mut sample)?;
            context.row(&sample, spot.sent_at, sink)
        });
    if let Err(fault) = result {
        context.set_aside(spot, fault, sink);
    }
}

/// Decodes one sample a line; blank lines do not count.
pub(super) fn decode_ndjson(
    context: Context<'_>,
    sink: &mut dyn FnMut(Decoded<'_>),
) -> Result<(), Fault> {
    let lines = context.message.payload.split(|byte| *byte == b'\n');
    let lines = lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let sent_at = context.message.sent_at;
    let mut is_empty = true;
    for (index, payload) in lines.enumerate() {
        is_empty = false;
        decode_one(context, Spot { index, payload, sent_at }, sink);
    }
    if is_empty { Err(Fault::new("payload.empty", "there are no samples")) } else { Ok(()) }
}

/// Puts the members of an object where the schema wants them.
fn fill<'a>(
    context: Context<'_>,
    members: &'a [Member<'a>],
    sample: &mut Sample<'a>,
) -> Result<(), Fault> {
    let mut unknown = Vec::new();
    for member in members {
        if member.name == "time" {
            sample.time = read_time(member)?;
        } else if let Some(field) = context.schema.field(&member.name) {
            let value = read_value(context, field, member)?;
            if let Some(slot) = sample.values.get_mut(field) {
                *slot = value;
            }
        } else if let Some(key) = context.schema.key(&member.name) {
            let value = read_key(member)?;
            if let Some(slot) = sample.keys.get_mut(key) {
                *slot = value;
            }
        } else {
            unknown.push(member);
        }
    }
    if !unknown.is_empty() {
        sample.extra = Some(read_extra(&unknown)?);
    }
    Ok(())
}

fn read_key<'a>(member: &'a Member<'a>) -> Result<&'a str, Fault> {
    match member.text() {
        Some(key) => text(&member.name, key),
        None => Err(Fault::new("field.type", format!("`{}` must be text", member.name))),
    }
}

fn read_value<'a>(
    context: Context<'_>,
    field: usize,
    member: &'a Member<'a>,
) -> Result<Option<Value<'a>>, Fault> {
    let raw = member.raw.get();
    let Some(entry) = context.schema.fields.get(field) else { return Ok(None) };
    let (name, kind) = (entry.name, entry.kind);
    match (raw.bytes().next(), kind) {
        (Some(b'n'), _) => Ok(None),
        (Some(b't'), FieldKind::Bool) => Ok(Some(Value::Bool(true))),
        (Some(b'f'), FieldKind::Bool) => Ok(Some(Value::Bool(false))),
        (Some(b'-' | b'0'..=b'9'), FieldKind::Float { .. }) => {
            let number = raw.parse::<f64>().unwrap_or(f64::NAN);
            context.number(field, number).map(Some)
        }
        // A number in a text field (a fault code, say) is taken as it is written.
        (Some(b'-' | b'0'..=b'9'), FieldKind::Text) => Ok(Some(Value::Text(text(name, raw)?))),
        (Some(b'"'), FieldKind::Text) => {
            let inside = member.text().unwrap_or_default();
            Ok(Some(Value::Text(text(name, inside)?)))
        }
        (first, kind) => {
            let seen = match first {
                Some(b'"') => "text",
                Some(b't' | b'f') => "true or false",
                Some(b'{') => "an object",
                Some(b'[') => "an array",
                _ => "a number",
            };
            Err(wrong_type(name, kind, seen))
        }
    }
}

/// A time: RFC 3339, or epoch milliseconds.
fn read_time(member: &Member<'_>) -> Result<Option<Timestamp>, Fault> {
    let wrong = || {
        let name = &member.name;
        let detail = format!("`{name}` must be RFC 3339 with a time zone, or epoch milliseconds");
        Fault::new("time.format", detail)
    };
    let raw = member.raw.get();
    match raw.bytes().next() {
        Some(b'n') => Ok(None),
        Some(b'"') => {
            let text = member.text().ok_or_else(wrong)?;
            Ok(Some(parse_time(text).ok_or_else(wrong)?))
        }
        Some(b'-' | b'0'..=b'9') => {
            if let Ok(millis) = raw.parse::<i64>() {
                return Ok(Some(Timestamp::from_millis(millis).ok_or_else(wrong)?));
            }
            let micros = raw.parse::<f64>().map_err(|_error| wrong())? * 1000.0;
            // Within the range of f64's whole numbers; far beyond any time that can be true.
            if !micros.is_finite() || micros.abs() > 9.0e15 {
                return Err(wrong());
            }
            #[expect(clippy::cast_possible_truncation, reason = "the range was just checked")]
            let micros = micros.round() as i64;
            Ok(Some(Timestamp(micros)))
        }
        _ => Err(wrong()),
    }
}

/// Unknown members as a JSON object with sorted keys.
fn read_extra(unknown: &[&Member<'_>]) -> Result<String, Fault> {
    // serde_json keeps objects in a tree ordered by key, at every level.
    let mut object = serde_json::Map::new();
    for member in unknown {
        let raw = member.raw.get();
        if depth(raw) >= limit::JSON_DEPTH_MAX {
            let most = limit::JSON_DEPTH_MAX;
            let detail = format!("the payload is nested deeper than {most} levels");
            return Err(Fault::new("payload.too_deep", detail));
        }
        let value = serde_json::from_str(raw).map_err(|error| syntax(&error))?;
        object.insert(member.name.clone().into_owned(), value);
    }
    let extra = serde_json::Value::Object(object).to_string();
    if extra.len() > limit::EXTRA_BYTES_MAX {
        let (most, actual) = (limit::EXTRA_BYTES_MAX, extra.len());
        let detail = format!("unknown fields are {actual} bytes of JSON: at most {most}");
        return Err(Fault::new("payload.extra_too_large", detail));
    }
    Ok(extra)
}

/// How deep valid JSON is nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
