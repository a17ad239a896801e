//! Rows of one stream, column by column, on their way into the telemetry store.
//!
//! Columns are plain vectors, so that a store can take them over without copying; text is coded
//! by a dictionary of the batch, since devices and keys repeat.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{FieldKind, Row, StreamSchema, TimeQuality, Value};

/// Repeated text: a code per row and the texts by code.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    /// One code per row, an index into `texts`.
    pub codes: Vec<i32>,
    /// The distinct texts.
    pub texts: Vec<Arc<str>>,
    index: HashMap<Arc<str>, i32>,
    /// Per code the one that followed it last.
    successors: Vec<i32>,
}

/// No code.
const NONE: i32 = -1;

impl Dictionary {
    /// Adds a row. Neighbouring rows mostly carry the same text, or the one that followed last
    /// time: devices report the same keys in the same order. Texts lie in memory as they came, so
    /// that these two looks are cheap where a look into the index waits for memory three times.
    fn push(&mut self, text: &str) {
        let last = self.codes.last().copied();
        if let Some(last) = last {
            for likely in [last, self.successor(last)] {
                if self.text(likely) == Some(text) {
                    self.codes.push(likely);
                    return;
                }
            }
        }
        let code = match self.index.get(text) {
            Some(code) => *code,
            None => self.add(text),
        };
        let last = last.and_then(|last| usize::try_from(last).ok());
        if let Some(slot) = last.and_then(|last| self.successors.get_mut(last)) {
            *slot = code;
        }
        self.codes.push(code);
    }

    fn text(&self, code: i32) -> Option<&str> {
        let code = usize::try_from(code).ok()?;
        self.texts.get(code).map(|text| &**text)
    }

    fn successor(&self, code: i32) -> i32 {
        let code = usize::try_from(code).ok();
        code.and_then(|code| self.successors.get(code)).copied().unwrap_or(NONE)
    }

    fn add(&mut self, text: &str) -> i32 {
        let text: Arc<str> = Arc::from(text);
        // A batch holds far fewer rows than i32 counts; RowBatch::is_full sees to it.
        let code = i32::try_from(self.texts.len()).unwrap_or(i32::MAX);
        self.texts.push(Arc::clone(&text));
        self.successors.push(NONE);
        self.index.insert(text, code);
        code
    }

    /// The text of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        self.text(*self.codes.get(row)?)
    }
}

/// Numbers; rows without one hold 0 and are marked.
#[derive(Clone, Debug, Default)]
pub struct FloatColumn {
    /// One number per row.
    pub values: Vec<f64>,
    /// One mark per row: whether there is a value.
    pub valid: Vec<bool>,
    /// How many rows have no value.
    pub null_count: usize,
}

/// Text; rows without one hold the empty text and are marked.
#[derive(Clone, Debug, Default)]
pub struct TextColumn {
    /// One text per row.
    pub texts: Dictionary,
    /// One mark per row: whether there is a value.
    pub valid: Vec<bool>,
    /// How many rows have no value.
    pub null_count: usize,
}

/// The values of one field.
#[derive(Clone, Debug)]
pub enum Column {
    /// Numbers.
    Float(FloatColumn),
    /// True or false; `None` where a row has no value.
    Bool(Vec<Option<bool>>),
    /// Text.
    Text(TextColumn),
}

impl Column {
    fn new(kind: FieldKind) -> Self {
        match kind {
            FieldKind::Float { .. } => Self::Float(FloatColumn::default()),
            FieldKind::Bool => Self::Bool(Vec::new()),
            FieldKind::Text => Self::Text(TextColumn::default()),
        }
    }

    fn push(&mut self, value: Option<Value<'_>>) {
        match self {
            Self::Float(column) => {
                let number = match value {
                    Some(Value::Float(number)) => Some(number),
                    _ => None,
                };
                column.null_count += usize::from(number.is_none());
                column.values.push(number.unwrap_or(0.0));
                column.valid.push(number.is_some());
            }
            Self::Bool(column) => column.push(match value {
                Some(Value::Bool(value)) => Some(value),
                _ => None,
            }),
            Self::Text(column) => {
                let text = match value {
                    Some(Value::Text(text)) => Some(text),
                    _ => None,
                };
                column.null_count += usize::from(text.is_none());
                column.texts.push(text.unwrap_or(""));
                column.valid.push(text.is_some());
            }
        }
    }
}

/// Rows of one stream by column; all columns have [`RowBatch::len`] entries.
#[derive(Clone, Debug)]
pub struct RowBatch {
    /// The stream.
    pub schema: Arc<StreamSchema>,
    /// The device of each row.
    pub device: Dictionary,
    /// Event time, microseconds since the epoch.
    pub time: Vec<i64>,
    /// Event time as claimed, microseconds since the epoch.
    pub time_claimed: Vec<i64>,
    /// Time of arrival, microseconds since the epoch.
    pub received_at: Vec<i64>,
    /// How far to trust the event time.
    pub quality: Vec<TimeQuality>,
    /// One column per key of the schema.
    pub keys: Vec<Dictionary>,
    /// One column per field of the schema.
    pub values: Vec<Column>,
    /// Unknown fields: row index (ascending) and JSON object with sorted keys.
    pub extra: Vec<(usize, String)>,
}

impl RowBatch {
    /// Most rows of one batch.
    pub const ROWS_MAX: usize = 1 << 20;

    /// A batch without rows.
    #[must_use]
    pub fn new(schema: Arc<StreamSchema>) -> Self {
        Self {
            device: Dictionary::default(),
            time: Vec::new(),
            time_claimed: Vec::new(),
            received_at: Vec::new(),
            quality: Vec::new(),
            keys: schema.keys.iter().map(|_| Dictionary::default()).collect(),
            values: schema.fields.iter().map(|field| Column::new(field.kind)).collect(),
            extra: Vec::new(),
            schema,
        }
    }

    /// Adds a row. The row must be of the batch's stream, with one entry per key and field.
    pub fn push(&mut self, row: &Row<'_>) {
        debug_assert_eq!(self.schema.name, row.schema.name);
        if let Some(extra) = row.extra {
            self.extra.push((self.time.len(), extra.to_owned()));
        }
        self.device.push(row.device);
        self.time.push(row.time.micros());
        self.time_claimed.push(row.time_claimed.micros());
        self.received_at.push(row.received_at.micros());
        self.quality.push(row.quality);
        for (index, key) in self.keys.iter_mut().enumerate() {
            key.push(row.keys.get(index).copied().unwrap_or(""));
        }
        for (index, column) in self.values.iter_mut().enumerate() {
            column.push(row.values.get(index).copied().flatten());
        }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// Whether no further row should be added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= Self::ROWS_MAX
    }
}

#[cfg(test)]
mod props {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_dictionary_gives_back_what_was_pushed_with_each_text_once(
            texts in proptest::collection::vec("[ab]{0,3}", 0..60)
        ) {
            let mut dictionary = Dictionary::default();
            texts.iter().for_each(|text| dictionary.push(text));
            for (row, text) in texts.iter().enumerate() {
                prop_assert_eq!(dictionary.get(row), Some(text.as_str()));
            }
            let mut distinct = dictionary.texts.clone();
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), dictionary.texts.len());
        }
    }
}
