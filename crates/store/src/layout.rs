//! The columns of a stream: in memory, in SQL and in files.
//!
//! In memory and in SQL the columns stand in one order — `device`, `time`, keys, fields,
//! `time_claimed`, `received_at`, `time_quality`, `extra` — so that an index means the same in
//! both. In memory every text is coded by a dictionary. A file has the same columns, numbers as
//! decimals, followed by one `<field>__exact` for each number; see
//! `docs/formats/parquet-layout.md`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use axle_domain::{FieldKind, StreamSchema};

/// Digits of the decimals in files: what a 32-bit integer holds.
pub(crate) const DECIMAL_DIGITS: u8 = 9;

/// Where the columns of a stream stand and of which types they are.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The stream.
    pub(crate) stream: Arc<StreamSchema>,
    /// Columns in memory.
    pub(crate) memory: SchemaRef,
    /// Columns in SQL.
    pub(crate) sql: SchemaRef,
    /// Columns in files.
    pub(crate) file: SchemaRef,
}

impl Layout {
    /// The index of `device`.
    pub(crate) const DEVICE: usize = 0;
    /// The index of `time`.
    pub(crate) const TIME: usize = 1;

    pub(crate) fn new(stream: Arc<StreamSchema>) -> Self {
        let memory = logical(&stream, &coded());
        let sql = logical(&stream, &DataType::Utf8View);
        let file = stored(&stream);
        Self { stream, memory: Arc::new(memory), sql: Arc::new(sql), file: Arc::new(file) }
    }

    /// The name of the stream and of its table.
    pub(crate) fn name(&self) -> &str {
        self.stream.name.as_str()
    }

    /// The index of a key column.
    pub(crate) fn key(&self, index: usize) -> usize {
        2 + index
    }

    /// The indexes of all key columns.
    pub(crate) fn keys(&self) -> std::ops::Range<usize> {
        self.key(0)..self.key(self.stream.keys.len())
    }

    /// The index of a field.
    pub(crate) fn field(&self, index: usize) -> usize {
        2 + self.stream.keys.len() + index
    }

    /// The indexes of all fields.
    pub(crate) fn fields(&self) -> std::ops::Range<usize> {
        self.field(0)..self.field(self.stream.fields.len())
    }

    /// The index of `time_claimed`.
    pub(crate) fn claimed(&self) -> usize {
        self.field(self.stream.fields.len())
    }

    /// The index of `received_at`.
    pub(crate) fn received(&self) -> usize {
        self.claimed() + 1
    }

    /// The index of `time_quality`.
    pub(crate) fn quality(&self) -> usize {
        self.claimed() + 2
    }

    /// The index of `extra`.
    pub(crate) fn extra(&self) -> usize {
        self.claimed() + 3
    }

    /// How many columns there are in memory and in SQL.
    pub(crate) fn width(&self) -> usize {
        self.claimed() + 4
    }

    /// The scale of a number column, by its index; `None` for all other columns.
    pub(crate) fn scale(&self, column: usize) -> Option<u8> {
        let field = column.checked_sub(self.field(0))?;
        match self.stream.fields.get(field)?.kind {
            FieldKind::Float { scale, .. } => Some(scale.min(DECIMAL_DIGITS)),
            FieldKind::Bool | FieldKind::Text => None,
        }
    }

    /// The index in files of the column that holds what does not fit the decimal.
    pub(crate) fn exact(&self, column: usize) -> Option<usize> {
        self.scale(column)?;
        let before = self.fields().take_while(|field| *field < column);
        Some(self.width() + before.filter(|field| self.scale(*field).is_some()).count())
    }
}

/// The type of a moment, everywhere.
pub(crate) fn moment() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The type of text in memory.
pub(crate) fn coded() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The columns in memory and in SQL, which differ in how text is held.
fn logical(stream: &StreamSchema, text: &DataType) -> Schema {
    let mut fields = vec![Field::new("device", text.clone(), false), moment_field("time")];
    fields.extend(stream.keys.iter().map(|key| Field::new(*key, text.clone(), false)));
    fields.extend(stream.fields.iter().map(|field| {
        let kind = match field.kind {
            FieldKind::Float { .. } => DataType::Float64,
            FieldKind::Bool => DataType::Boolean,
            FieldKind::Text => text.clone(),
        };
        Field::new(field.name, kind, true)
    }));
    fields.push(moment_field("time_claimed"));
    fields.push(moment_field("received_at"));
    fields.push(Field::new("time_quality", text.clone(), false));
    fields.push(Field::new("extra", text.clone(), true));
    Schema::new(fields)
}

fn moment_field(name: &str) -> Field {
    Field::new(name, moment(), false)
}

/// The columns in files.
fn stored(stream: &StreamSchema) -> Schema {
    let mut exact = Vec::new();
    let mut fields: Vec<Field> = Vec::new();
    for field in logical(stream, &coded()).fields() {
        let declared = stream.field(field.name()).and_then(|index| stream.fields.get(index));
        match declared.map(|declared| declared.kind) {
            Some(FieldKind::Float { scale, .. }) => {
                let scale = i8::try_from(scale.min(DECIMAL_DIGITS)).unwrap_or(0);
                let kind = DataType::Decimal32(DECIMAL_DIGITS, scale);
                fields.push(Field::new(field.name(), kind, true));
                let name = format!("{}__exact", field.name());
                exact.push(Field::new(name, DataType::Float64, true));
            }
            // Absent where it equals `time`, which is nearly always.
            _ if field.name() == "time_claimed" => {
                fields.push(Field::new(field.name(), moment(), true));
            }
            _ => fields.push(field.as_ref().clone()),
        }
    }
    fields.extend(exact);
    Schema::new(fields)
}

#[cfg(test)]
mod tests {
    use axle_domain::Schemas;

    use super::*;

    #[test]
    fn indexes_name_the_columns_they_say() {
        for stream in Schemas::builtin().iter() {
            let layout = Layout::new(Arc::clone(stream));
            let name = |index: usize| layout.sql.field(index).name().clone();
            assert_eq!(name(Layout::DEVICE), "device");
            assert_eq!(name(Layout::TIME), "time");
            assert_eq!(name(layout.claimed()), "time_claimed");
            assert_eq!(name(layout.received()), "received_at");
            assert_eq!(name(layout.quality()), "time_quality");
            assert_eq!(name(layout.extra()), "extra");
            assert_eq!(layout.sql.fields().len(), layout.width());
            for (index, field) in stream.fields.iter().enumerate() {
                assert_eq!(name(layout.field(index)), field.name);
                if let Some(exact) = layout.exact(layout.field(index)) {
                    let expected = format!("{}__exact", field.name);
                    assert_eq!(layout.file.field(exact).name(), &expected);
                }
            }
        }
    }
}
