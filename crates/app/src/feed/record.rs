//! Batches and their records as JSON: read strictly, and what cannot be read keeps its reason.

use axle_domain::port::BatchRecord;
use axle_domain::{
    ComponentFacts, ComponentStatus, DeviceFacts, DeviceId, Error, FeedRecord, Installation, Kind,
    KindName, Reason, Serial, Timestamp, limit,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::time_text::parse_time;

/// How a batch is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForm {
    /// `{"records":[…]}`.
    Json,
    /// One record a line.
    Ndjson,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
}

/// Reads a batch. A record that cannot be understood stands in it with the reason.
///
/// # Errors
/// `Invalid` when the batch as a whole cannot be read; `TooLarge` when it has too many records.
pub fn read_batch(form: FeedForm, body: &[u8]) -> Result<Vec<BatchRecord>, Error> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let message = format!("the batch is no UTF-8: see byte {}", error.valid_up_to());
        Error::invalid("feed.encoding_invalid", message)
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let originals: Vec<&str> = match form {
        FeedForm::Json => {
            let batch: Batch<'_> = serde_json::from_str(text).map_err(|error| {
                let message =
                    format!("the batch must be a JSON object with `records`, a list: {error}");
                Error::invalid("feed.invalid", message)
            })?;
            batch.records.into_iter().map(RawValue::get).collect()
        }
        FeedForm::Ndjson => text.lines().map(str::trim).filter(|line| !line.is_empty()).collect(),
    };
    let (most, actual) = (limit::FEED_RECORDS_MAX, originals.len());
    if actual > most {
        let message = format!("a batch holds at most {most} records: split it");
        return Err(Error::new(Kind::TooLarge, "feed.too_many_records", message)
            .with_limit(most as u64, actual as u64));
    }
    Ok(originals.into_iter().map(judge_form).collect())
}

fn judge_form(original: &str) -> BatchRecord {
    let most = limit::FEED_RECORD_BYTES_MAX;
    if original.len() > most {
        let detail = format!("the record has {} bytes and may have {most}", original.len());
        let beginning = original.get(..original.floor_char_boundary(most)).unwrap_or_default();
        let record = Err(Reason::new("record.too_large", detail));
        return BatchRecord { original: beginning.to_owned(), record };
    }
    BatchRecord { original: original.to_owned(), record: read(original) }
}

/// Reads one record.
///
/// # Errors
/// The reason why it says nothing that could be understood.
pub fn read(original: &str) -> Result<FeedRecord, Reason> {
    let value: Value = serde_json::from_str(original)
        .map_err(|error| invalid(format!("the record is no JSON: {error}")))?;
    let Value::Object(fields) = value else {
        return Err(invalid("the record must be a JSON object"));
    };
    let mut fields = Fields(fields);
    let record = match fields.required("type")?.as_str() {
        "device" => FeedRecord::Device(DeviceFacts {
            id: parsed(DeviceId::parse(&fields.required("id")?))?,
            kind: parsed(KindName::parse(&fields.required("kind")?))?,
            name: fields.text("name")?,
            model: fields.text("model")?,
        }),
        "component" => FeedRecord::Component(ComponentFacts {
            serial: parsed(Serial::parse(&fields.required("serial")?))?,
            kind: parsed(KindName::parse(&fields.required("kind")?))?,
            model: fields.text("model")?,
            produced_at: fields.time("produced_at")?,
            status: fields.status()?,
        }),
        "installation" => FeedRecord::Installation(Installation {
            serial: parsed(Serial::parse(&fields.required("serial")?))?,
            device: parsed(DeviceId::parse(&fields.required("device")?))?,
            from: fields.time("from")?.ok_or_else(|| invalid("`from` is missing"))?,
            to: fields.time("to")?,
        }),
        _ => return Err(invalid("`type` must be device, component or installation")),
    };
    match fields.0.keys().next() {
        None => Ok(record),
        Some(unknown) => {
            let shown: String = unknown.chars().take(64).collect();
            Err(invalid(format!("`{}` is unknown here", shown.escape_debug())))
        }
    }
}

fn invalid(detail: impl Into<String>) -> Reason {
    Reason::new("record.invalid", detail)
}

fn parsed<T>(outcome: Result<T, Error>) -> Result<T, Reason> {
    outcome.map_err(|error| invalid(error.message))
}

/// The fields of a record that were not read yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn text(&mut self, name: &str) -> Result<Option<String>, Reason> {
        let text = match self.0.remove(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text,
            Some(_) => return Err(invalid(format!("`{name}` must be a text"))),
        };
        if text.len() > limit::MASTER_TEXT_BYTES_MAX {
            let most = limit::MASTER_TEXT_BYTES_MAX;
            return Err(invalid(format!("`{name}` is longer than {most} bytes")));
        }
        if text.chars().any(char::is_control) {
            return Err(invalid(format!("`{name}` holds a control character")));
        }
        Ok(Some(text))
    }

    fn required(&mut self, name: &str) -> Result<String, Reason> {
        self.text(name)?.ok_or_else(|| invalid(format!("`{name}` is missing")))
    }

    /// A moment, or a day: its beginning in UTC.
    fn time(&mut self, name: &str) -> Result<Option<Timestamp>, Reason> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let time = parse_time(&text).or_else(|| parse_time(&format!("{text}T00:00:00Z")));
        let form = "must be RFC 3339 with a time zone, or a day such as 2026-11-20";
        time.map(Some).ok_or_else(|| invalid(format!("`{name}` {form}")))
    }

    fn status(&mut self) -> Result<Option<ComponentStatus>, Reason> {
        let Some(text) = self.text("status")? else { return Ok(None) };
        let status = ComponentStatus::parse(&text);
        let form = "must be in_use, spare, remanufactured or recycled";
        status.map(Some).ok_or_else(|| invalid(format!("`status` {form}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(form: FeedForm, body: &str) -> Vec<Result<(), &'static str>> {
        let records = read_batch(form, body.as_bytes()).unwrap();
        records.into_iter().map(|it| it.record.map(drop).map_err(|reason| reason.code)).collect()
    }

    #[test]
    fn reads_what_is_documented() {
        for good in [
            r#"{"type":"device","id":"b-1","kind":"bike"}"#,
            r#"{"type":"device","id":"b-1","kind":"bike","name":"Paula <b>","model":null}"#,
            r#"{"type":"component","serial":"BAT-1","kind":"battery","produced_at":"2026-11-20"}"#,
            r#"{"type":"component","serial":"B","kind":"battery","status":"recycled"}"#,
            r#"{"type":"installation","serial":"B","device":"b-1","from":"2026-11-20T10:00:00Z"}"#,
        ] {
            assert!(read(good).is_ok(), "{good}: {:?}", read(good));
        }
    }

    #[test]
    fn refuses_the_rest_with_a_reason_that_names_the_field() {
        for (bad, expected) in [
            ("7", "the record must be a JSON object"),
            ("{", "the record is no JSON: EOF while parsing an object at line 1 column 1"),
            ("{}", "`type` is missing"),
            (r#"{"type":"bike"}"#, "`type` must be device, component or installation"),
            (r#"{"type":"device","id":"b-1"}"#, "`kind` is missing"),
            (r#"{"type":"device","id":7,"kind":"bike"}"#, "`id` must be a text"),
            (
                r#"{"type":"device","id":"b-1","kind":"bike","colour":"red"}"#,
                "`colour` is unknown here",
            ),
            (
                r#"{"type":"device","id":"b-1","kind":"bike","name":"a\u0000"}"#,
                "`name` holds a control character",
            ),
            (
                r#"{"type":"component","serial":"1.23E+11","kind":"battery"}"#,
                "`1.23E+11` is no serial: it must match [A-Za-z0-9._:-]{1,128}",
            ),
            (
                r#"{"type":"installation","serial":"B","device":"b","from":"20/11/2026"}"#,
                "`from` must be RFC 3339 with a time zone, or a day such as 2026-11-20",
            ),
            (r#"{"type":"installation","serial":"B","device":"b"}"#, "`from` is missing"),
        ] {
            let reason = read(bad).unwrap_err();
            assert_eq!(
                (reason.code, reason.detail.as_str()),
                ("record.invalid", expected),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_batch_is_read_in_both_forms_and_bad_records_stay_in_their_places() {
        let device = r#"{"type":"device","id":"b-1","kind":"bike"}"#;
        let long = format!(r#"{{"type":"device","id":"{}"}}"#, "ü".repeat(4000));
        let json = format!(r#"{{"records":[{device},17,{long}]}}"#);
        let expected = [Ok(()), Err("record.invalid"), Err("record.too_large")];
        assert_eq!(codes(FeedForm::Json, &json), expected);
        let lines = format!("\u{feff}{device}\r\n\n17\n{long}\n");
        assert_eq!(codes(FeedForm::Ndjson, &lines), expected);
        for (bad, code) in [
            (&b"[]"[..], "feed.invalid"),
            (b"{\"records\":[],\"more\":1}", "feed.invalid"),
            (b"\xff", "feed.encoding_invalid"),
        ] {
            assert_eq!(read_batch(FeedForm::Json, bad).unwrap_err().code, code);
        }
        let many = "1\n".repeat(limit::FEED_RECORDS_MAX + 1);
        let error = read_batch(FeedForm::Ndjson, many.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::TooLarge, "feed.too_many_records"));
    }
}
