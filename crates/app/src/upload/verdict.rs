//! What became of each record of an upload.

use std::borrow::Cow;
use std::collections::HashSet;

use axle_domain::{Row, Value, limit};
use serde::Serialize;

use crate::decode::{Decoded, SetAside};

/// Verdicts on the records of one upload. Computed from the message alone: the door and the
/// projection come to the same.
#[derive(Default)]
pub(crate) struct Verdicts {
    stored: usize,
    seen: HashSet<Vec<u8>>,
    /// Records that were not stored.
    records: Vec<NotStored>,
    quarantined: usize,
    duplicate: usize,
    /// The fault, where the body as a whole could not be understood.
    pub(crate) whole: Option<(&'static str, String)>,
}

/// Why a record was not stored.
#[derive(Serialize)]
struct NotStored {
    code: &'static str,
    detail: Cow<'static, str>,
    index: u64,
    verdict: &'static str,
}

#[derive(Serialize)]
struct Answer<'a> {
    duplicate: usize,
    quarantined: usize,
    records: &'a [NotStored],
    stored: usize,
    upload: &'a str,
}

impl Verdicts {
    /// Whether there are more records than an upload may have: then they are counted alone, or a
    /// small body of many records would buy much memory before it is refused.
    fn is_over(&self) -> bool {
        self.len() >= limit::UPLOAD_RECORDS_MAX
    }

    pub(crate) fn take(&mut self, decoded: &Decoded<'_>) {
        match decoded {
            Decoded::Row(row) => self.row(row),
            Decoded::SetAside(aside) => self.set_aside(aside),
            Decoded::Reply(_) | Decoded::Opaque => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.stored + self.duplicate + self.quarantined
    }

    fn row(&mut self, row: &Row<'_>) {
        let index = self.len();
        if self.is_over() || self.seen.insert(identity(row)) {
            self.stored += 1;
            return;
        }
        self.duplicate += 1;
        self.records.push(NotStored {
            code: "record.duplicate",
            detail: Cow::Borrowed("the same row stands earlier in this upload"),
            index: index as u64,
            verdict: "duplicate",
        });
    }

    fn set_aside(&mut self, aside: &SetAside<'_>) {
        // An empty array is a batch of nothing, not a fault.
        if aside.is_whole && aside.code != "payload.empty" {
            self.whole = Some((aside.code, aside.detail.clone()));
            return;
        }
        if aside.is_whole {
            return;
        }
        self.quarantined += 1;
        if self.len() > limit::UPLOAD_RECORDS_MAX {
            return;
        }
        self.records.push(NotStored {
            code: aside.code,
            detail: Cow::Owned(aside.detail.clone()),
            index: u64::from(aside.index),
            verdict: "quarantined",
        });
    }

    /// The answer's body.
    pub(crate) fn answer(self, upload: &str) -> String {
        let answer = Answer {
            duplicate: self.duplicate,
            quarantined: self.quarantined,
            records: &self.records,
            stored: self.stored,
            upload,
        };
        // Numbers and texts alone: this cannot fail.
        serde_json::to_string(&answer).unwrap_or_default()
    }
}

/// What tells a row from others of the same device and stream, as bytes.
fn identity(row: &Row<'_>) -> Vec<u8> {
    fn text(bytes: &mut Vec<u8>, text: &str) {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(128);
    bytes.extend(row.time_claimed.micros().to_le_bytes());
    row.keys.iter().for_each(|key| text(&mut bytes, key));
    for value in row.values {
        match value {
            None => bytes.push(0),
            Some(Value::Float(number)) => {
                bytes.push(1);
                bytes.extend(number.to_bits().to_le_bytes());
            }
            Some(Value::Bool(truth)) => bytes.extend([2, u8::from(*truth)]),
            Some(Value::Text(value)) => {
                bytes.push(3);
                text(&mut bytes, value);
            }
        }
    }
    text(&mut bytes, row.extra.unwrap_or(""));
    bytes
}
