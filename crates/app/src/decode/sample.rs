//! One sample: its fields checked against the schema, its time settled.

use axle_domain::{
    FieldKind, Message, Row, StreamSchema, TimeError, Timestamp, Value, limit, settle,
};

use super::{Decoded, Fault, SetAside};

/// What all samples of a message share.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) schema: &'a StreamSchema,
    pub(crate) device: &'a str,
    pub(crate) message: &'a Message<'a>,
}

/// Where a sample stands in its message.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub(crate) index: usize,
    pub(crate) payload: &'a [u8],
    pub(crate) sent_at: Option<Timestamp>,
}

/// A sample as its format gave it, on the way to a row.
pub(crate) struct Sample<'a> {
    pub(crate) time: Option<Timestamp>,
    pub(crate) keys: Vec<&'a str>,
    pub(crate) values: Vec<Option<Value<'a>>>,
    pub(crate) extra: Option<String>,
}

impl<'a> Sample<'a> {
    pub(crate) fn new(schema: &StreamSchema) -> Self {
        Self {
            time: None,
            keys: vec![""; schema.keys.len()],
            values: vec![None; schema.fields.len()],
            extra: None,
        }
    }

    /// Makes it empty again, to be used for the next sample.
    pub(crate) fn clear(&mut self) {
        self.time = None;
        self.keys.fill("");
        self.values.fill(None);
        self.extra = None;
    }
}

impl Context<'_> {
    /// Settles the time of a sample and hands the row on.
    pub(crate) fn row(
        &self,
        sample: &Sample<'_>,
        sent_at: Option<Timestamp>,
        sink: &mut dyn FnMut(Decoded<'_>),
    ) -> Result<(), Fault> {
        let received_at = self.message.received_at;
        let judged_at = self.message.replayed_at.unwrap_or(received_at).max(received_at);
        let settled =
            settle(sample.time, sent_at, received_at, judged_at).map_err(|error| match error {
                TimeError::Future => {
                    Fault::new(error.code(), "the time is more than 7 days ahead of the server's")
                }
                TimeError::Past => Fault::new(error.code(), "the time is before the year 2000"),
            })?;
        sink(Decoded::Row(&Row {
            schema: self.schema,
            device: self.device,
            time: settled.time,
            time_claimed: settled.time_claimed,
            received_at,
            quality: settled.quality,
            keys: &sample.keys,
            values: &sample.values,
            extra: sample.extra.as_deref(),
        }));
        Ok(())
    }

    /// Sets one sample aside.
    pub(crate) fn set_aside(
        &self,
        spot: Spot<'_>,
        fault: Fault,
        sink: &mut dyn FnMut(Decoded<'_>),
    ) {
        sink(Decoded::SetAside(SetAside {
            index: u32::try_from(spot.index).unwrap_or(u32::MAX),
            stream: self.schema.name.as_str(),
            code: fault.code,
            detail: fault.detail,
            payload: spot.payload,
            sent_at: spot.sent_at,
            is_whole: false,
        }));
    }

    /// Checks a number against a field.
    pub(crate) fn number(&self, field: usize, number: f64) -> Result<Value<'static>, Fault> {
        let Some(field) = self.schema.fields.get(field) else {
            return Err(Fault::new("field.unknown", "no such field"));
        };
        let FieldKind::Float { min, max, .. } = field.kind else {
            return Err(wrong_type(field.name, field.kind, "a number"));
        };
        if !number.is_finite() {
            let detail = format!("`{}` is no finite number", field.name);
            return Err(Fault::new("field.not_finite", detail));
        }
        if !(min..=max).contains(&number) {
            let detail = format!("`{}` must be from {min} to {max}", field.name);
            return Err(Fault::new("field.range", detail));
        }
        // -0 and 0 are one value, and so must be one row.
        Ok(Value::Float(if number == 0.0 { 0.0 } else { number }))
    }
}

/// Checks the length of a text.
pub(crate) fn text<'a>(name: &str, text: &'a str) -> Result<&'a str, Fault> {
    if text.len() > limit::TEXT_VALUE_BYTES_MAX {
        let most = limit::TEXT_VALUE_BYTES_MAX;
        let detail = format!("`{name}` is {} bytes long: at most {most}", text.len());
        return Err(Fault::new("field.too_long", detail));
    }
    Ok(text)
}

pub(crate) fn wrong_type(name: &str, kind: FieldKind, seen: &str) -> Fault {
    let wanted = match kind {
        FieldKind::Float { .. } => "a number",
        FieldKind::Bool => "true or false",
        FieldKind::Text => "text",
    };
    Fault::new("field.type", format!("`{name}` must be {wanted}, it is {seen}"))
}
