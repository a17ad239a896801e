//! The fields of a JSON body, read one by one; every fault is named, not just the first.

use axle_app::parse_time;
use axle_domain::Timestamp;
use serde_json::{Map, Value};

use crate::parameter::nearest;
use crate::problem::{Fault, Problem};

/// A JSON object that is being read.
pub(crate) struct Fields {
    left: Map<String, Value>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl Fields {
    /// Reads a body; an empty one is an empty object.
    ///
    /// # Errors
    /// 400 where the body is no JSON, 422 where it is no object.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Problem> {
        let value = match body {
            [] => Value::Object(Map::new()),
            body => serde_json::from_slice(body).map_err(|error| {
                Problem::bad_request(
                    "request.json_invalid",
                    format!("the body is no JSON: {error}"),
                )
            })?,
        };
        let Value::Object(left) = value else {
            return Err(Problem::unprocessable(vec![Fault {
                pointer: String::new(),
                detail: "the body must be a JSON object".to_owned(),
            }]));
        };
        Ok(Self { left, known: Vec::new(), faults: Vec::new() })
    }

    /// Takes a field as it is.
    pub(crate) fn value(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name)
    }

    /// Takes a text that must be there.
    pub(crate) fn text(&mut self, name: &'static str) -> String {
        match self.value(name) {
            Some(Value::String(text)) => return text,
            Some(_) => self.fault(name, "must be a text"),
            None => self.fault(name, "is missing"),
        }
        String::new()
    }

    /// Takes a text that may be missing; `null` is a text of no characters.
    pub(crate) fn optional_text(&mut self, name: &'static str) -> Option<String> {
        let value = self.value(name)?;
        if value.is_null() {
            return Some(String::new());
        }
        let Value::String(text) = value else {
            self.fault(name, "must be a text");
            return None;
        };
        Some(text)
    }

    /// Takes a whole number.
    pub(crate) fn count(&mut self, name: &'static str, default: u64) -> u64 {
        match self.value(name) {
            None => default,
            Some(value) => value.as_u64().unwrap_or_else(|| {
                self.fault(name, "must be a whole number that is not negative");
                default
            }),
        }
    }

    /// Takes a truth; missing is false.
    pub(crate) fn switch(&mut self, name: &'static str) -> bool {
        match self.value(name) {
            None => false,
            Some(Value::Bool(value)) => value,
            Some(_) => {
                self.fault(name, "must be true or false");
                false
            }
        }
    }

    /// Takes a truth that may be missing.
    pub(crate) fn optional_switch(&mut self, name: &'static str) -> Option<bool> {
        self.has(name).then(|| self.switch(name))
    }

    /// Whether a field is there that was not taken yet; it is known from now on.
    pub(crate) fn has(&mut self, name: &'static str) -> bool {
        self.known.push(name);
        self.left.contains_key(name)
    }

    /// Takes a list of texts.
    pub(crate) fn texts(&mut self, name: &'static str) -> Vec<String> {
        let value = self.value(name);
        let list = match value {
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.fault(name, "must be a list of texts");
                return Vec::new();
            }
            None => {
                self.fault(name, "is missing");
                return Vec::new();
            }
        };
        let mut texts = Vec::with_capacity(list.len().min(64));
        for (index, value) in list.into_iter().enumerate() {
            let Value::String(text) = value else {
                self.fault(&format!("{name}/{index}"), "must be a text");
                continue;
            };
            texts.push(text);
        }
        texts
    }

    /// Takes a moment that may be missing.
    pub(crate) fn optional_time(&mut self, name: &'static str) -> Option<Timestamp> {
        let value = self.value(name)?;
        let time = value.as_str().and_then(parse_time);
        if time.is_none() && !value.is_null() {
            self.fault(name, "must be RFC 3339 with a time zone");
        }
        time
    }

    /// Names a fault of a field.
    pub(crate) fn fault(&mut self, name: &str, rule: &str) {
        let detail = format!("`{name}` {rule}");
        self.faults.push(Fault { pointer: format!("/{name}"), detail });
    }

    /// Takes an object that may be missing, to be read like the body.
    pub(crate) fn object(&mut self, name: &'static str) -> Option<Self> {
        if let Value::Object(left) = self.value(name)? {
            return Some(Self { left, known: Vec::new(), faults: Vec::new() });
        }
        self.fault(name, "must be an object");
        None
    }

    /// Ends reading the object of a field: its faults are the body's.
    pub(crate) fn absorb(&mut self, name: &'static str, object: Self) {
        let faults = object.into_faults().into_iter();
        self.faults.extend(faults.map(|fault| Fault {
            pointer: format!("/{name}{}", fault.pointer),
            detail: fault.detail,
        }));
    }

    /// Ends reading.
    ///
    /// # Errors
    /// 422 with every fault, unknown fields among them.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let faults = self.into_faults();
        if faults.is_empty() { Ok(()) } else { Err(Problem::unprocessable(faults)) }
    }

    fn into_faults(mut self) -> Vec<Fault> {
        for name in self.left.keys() {
            let shown: String = name.chars().take(64).collect();
            let hint = match nearest(name, &self.known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", self.known.join(", ")),
            };
            let pointer = format!("/{}", shown.replace('~', "~0").replace('/', "~1"));
            let detail = format!("`{}` is unknown: {hint}", shown.escape_debug());
            self.faults.push(Fault { pointer, detail });
        }
        self.faults
    }
}
