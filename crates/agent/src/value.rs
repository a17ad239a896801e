//! A line that a program or a file gives us, read as the fields of one sample.
//!
//! Three forms: a JSON object `{"socket":"s-1","name":"power","watts":12.5}`, pairs
//! `socket=s-1 name=power watts=12.5`, and with a header line CSV. `time` is optional: RFC 3339 or
//! epoch milliseconds.

use axle_domain::{Timestamp, limit};
use serde_json::{Map, Value};

use crate::time_text::parse_time;

/// Longest line.
pub(crate) const LINE_BYTES_MAX: usize = 16 * 1024;
/// Most fields of a line.
const FIELDS_MAX: usize = 64;
/// Longest text of a key column.
const KEY_BYTES_MAX: usize = 128;

/// One sample as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Its own time, where the line brought one.
    pub(crate) time: Option<Timestamp>,
    /// Its fields, a JSON object with sorted keys.
    pub(crate) body: String,
}

/// Reads lines of one stream.
#[derive(Clone, Debug)]
pub(crate) struct LineReader {
    is_energy: bool,
    header: Option<Vec<String>>,
}

impl LineReader {
    /// For a stream.
    pub(crate) fn new(stream: &str) -> Self {
        Self { is_energy: stream == "energy", header: None }
    }

    /// From now on lines are CSV with these columns.
    pub(crate) fn set_header(&mut self, line: &str) {
        self.header = Some(cells(line).map(str::to_owned).collect());
    }

    /// Whether a header was read.
    pub(crate) fn has_header(&self) -> bool {
        self.header.is_some()
    }

    /// Reads a line; `None` for an empty one or a comment (`#`).
    ///
    /// # Errors
    /// What is wrong with it, without its values.
    pub(crate) fn read(&self, line: &str) -> Result<Option<Sample>, String> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
        }
        let mut fields = match &self.header {
            Some(header) => read_csv(header, line)?,
            None if line.starts_with('{') => serde_json::from_str(line)
                .map_err(|error| format!("no JSON object: see column {}", error.column()))?,
            None => read_pairs(line)?,
        };
        let time = fields.remove("time").map(|time| read_time(&time)).transpose()?;
        if fields.is_empty() {
            return Err("no fields".to_owned());
        }
        if fields.len() > FIELDS_MAX {
            return Err(format!("more than {FIELDS_MAX} fields"));
        }
        if self.is_energy {
            check_energy(&fields)?;
        }
        Ok(Some(Sample { time, body: Value::Object(fields).to_string() }))
    }
}

fn read_time(value: &Value) -> Result<Timestamp, String> {
    let time = match value {
        Value::String(text) => parse_time(text),
        Value::Number(number) => number.as_i64().and_then(Timestamp::from_millis),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    time.ok_or_else(|| "`time` must be RFC 3339 with a time zone, or epoch milliseconds".to_owned())
}

fn read_pairs(line: &str) -> Result<Map<String, Value>, String> {
    let mut fields = Map::new();
    for word in line.split_ascii_whitespace() {
        let Some((name, text)) = word.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err("neither a JSON object nor name=value pairs".to_owned());
        };
        if fields.insert(name.to_owned(), scalar(text)).is_some() {
            return Err(format!("`{}` stands there twice", name.escape_debug()));
        }
    }
    Ok(fields)
}

fn read_csv(header: &[String], line: &str) -> Result<Map<String, Value>, String> {
    let count = cells(line).count();
    if count != header.len() {
        return Err(format!("{count} cells where the header has {}", header.len()));
    }
    let filled = header.iter().zip(cells(line)).filter(|(_, cell)| !cell.is_empty());
    Ok(filled.map(|(name, cell)| (name.clone(), scalar(cell))).collect())
}

fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.trim_end().split(',').map(|cell| cell.trim().trim_matches('"'))
}

/// A number or a truth value where it reads as one, else text.
fn scalar(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(text.trim_matches('"').to_owned()),
    }
}

/// The container has room for exactly these.
fn check_energy(fields: &Map<String, Value>) -> Result<(), String> {
    for name in ["socket", "name"] {
        let is_good = |value: &&Value| {
            let text = match value {
                Value::String(text) => text.len(),
                Value::Number(number) => number.to_string().len(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => 0,
            };
            (1..=KEY_BYTES_MAX).contains(&text)
        };
        if fields.get(name).filter(is_good).is_none() {
            return Err(format!("`{name}` must be a text of 1 to {KEY_BYTES_MAX} bytes"));
        }
    }
    if !fields.get("watts").is_some_and(Value::is_number) {
        return Err("`watts` must be a number".to_owned());
    }
    if fields.len() > 3 {
        return Err("stream `energy` has socket, name, watts and time alone".to_owned());
    }
    Ok(())
}

// A line fits into a packet with room to spare.
const _: () = assert!(LINE_BYTES_MAX * 2 < limit::PACKET_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stream: &str, line: &str, expected: Result<Option<(Option<i64>, &str)>, &str>) {
        let seen = LineReader::new(stream).read(line);
        let expected = expected.map(|sample| {
            sample.map(|(time, body)| Sample { time: time.map(Timestamp), body: body.to_owned() })
        });
        match (seen, expected) {
            (Err(seen), Err(part)) => assert!(seen.contains(part), "{line}: {seen}"),
            (seen, expected) => assert_eq!(seen, expected.map_err(str::to_owned), "{line}"),
        }
    }

    #[test]
    fn reads_json_and_pairs_alike() {
        let body = r#"{"name":"power","socket":"s-1","watts":12.5}"#;
        let json = r#"{"socket":"s-1","name":"power","watts":12.5}"#;
        check("energy", json, Ok(Some((None, body))));
        check("energy", "  socket=s-1 name=power\twatts=12.5\r\n", Ok(Some((None, body))));
        let timed = "time=2025-01-01T00:00:00.000001Z locked=true battery_pct=7";
        let expected = r#"{"battery_pct":7,"locked":true}"#;
        check("status", timed, Ok(Some((Some(1_735_689_600_000_001), expected))));
        let millis = r#"{"time":1735689600123,"battery_pct":7}"#;
        check("status", millis, Ok(Some((Some(1_735_689_600_123_000), r#"{"battery_pct":7}"#))));
        check("status", "", Ok(None));
        check("status", "# a comment", Ok(None));
    }

    #[test]
    fn says_what_is_wrong_without_the_values() {
        check("energy", "{oops", Err("no JSON object: see column 2"));
        check("energy", "secret", Err("neither"));
        check("energy", "socket=s-1 watts=1", Err("`name` must be"));
        check("energy", "socket=s-1 name=p watts=high", Err("`watts` must be a number"));
        check("energy", "socket=s-1 name=p watts=1 volts=2", Err("alone"));
        check("status", "a=1 a=2", Err("twice"));
        check("status", "time=yesterday a=1", Err("`time` must be"));
        check("status", r#"{"time":5}"#, Err("no fields"));
        check("status", &format!("a={}", "x".repeat(LINE_BYTES_MAX)), Err("longer"));
    }

    #[test]
    fn reads_csv_by_its_header() {
        let mut reader = LineReader::new("energy");
        reader.set_header("socket,name,watts\n");
        let body = r#"{"name":"power","socket":"s-1","watts":12.5}"#.to_owned();
        assert_eq!(reader.read("s-1,\"power\", 12.5"), Ok(Some(Sample { time: None, body })));
        assert!(reader.read("s-1,power").unwrap_err().contains("2 cells"));
    }
}
