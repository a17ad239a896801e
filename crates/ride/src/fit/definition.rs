//! Definition messages: what the data messages of a local type look like.
//!
//! ```text
//! reserved u8 · order u8 (0 little, 1 big) · message u16 · fields u8
//! · fields × (number u8, bytes u8, base type u8)
//! · with developer fields: count u8 · count × (number u8, bytes u8, developer u8)
//! ```

use super::cursor::Cursor;
use super::value::{Order, number};
use super::{Fault, TIMESTAMP};

/// A field of a message.
#[derive(Clone, Copy)]
pub(super) struct Field {
    /// Which, by the profile; of developer fields by their description.
    pub(super) number: u8,
    /// How many bytes it has.
    pub(super) bytes: u8,
    /// The base type; of developer fields the developer.
    pub(super) kind: u8,
}

/// What data messages of a type look like.
pub(super) struct Definition {
    /// The message, by the profile.
    pub(super) message: u16,
    /// The order of bytes in numbers.
    pub(super) order: Order,
    fields: Vec<Field>,
    developer_fields: Vec<Field>,
    /// How many bytes a data message has after its header.
    pub(super) data_bytes: usize,
}

impl Definition {
    pub(super) fn read(cursor: &mut Cursor<'_>, has_developer_fields: bool) -> Result<Self, Fault> {
        let head = cursor.take(5).and_then(|head| head.first_chunk::<5>()).ok_or(Fault::Ends)?;
        let [_, order, first, second, count] = *head;
        let (order, message) = match order {
            0 => (Order::Little, u16::from_le_bytes([first, second])),
            1 => (Order::Big, u16::from_be_bytes([first, second])),
            other => {
                let what = format!("a definition with byte order {other}: expected 0 or 1");
                return Err(Fault::Wrong(what));
            }
        };
        let fields = read_fields(cursor, count)?;
        let developer_fields = if has_developer_fields {
            let count = cursor.u8().ok_or(Fault::Ends)?;
            read_fields(cursor, count)?
        } else {
            Vec::new()
        };
        let all = fields.iter().chain(&developer_fields);
        let data_bytes = all.map(|field| usize::from(field.bytes)).sum();
        Ok(Self { message, order, fields, developer_fields, data_bytes })
    }

    /// Each field with its bytes.
    pub(super) fn fields<'a>(
        &'a self,
        data: &'a [u8],
    ) -> impl Iterator<Item = (Field, &'a [u8])> + 'a {
        split(&self.fields, data, 0)
    }

    /// Each developer field with its bytes.
    pub(super) fn developer_fields<'a>(
        &'a self,
        data: &'a [u8],
    ) -> impl Iterator<Item = (Field, &'a [u8])> + 'a {
        let before = self.fields.iter().map(|field| usize::from(field.bytes)).sum();
        split(&self.developer_fields, data, before)
    }

    /// The bytes of a field.
    pub(super) fn find<'a>(&'a self, data: &'a [u8], wanted: u8) -> Option<(Field, &'a [u8])> {
        self.fields(data).find(|(field, _)| field.number == wanted)
    }

    /// The number in a field, where it holds a single one and that is valid.
    pub(super) fn number(&self, data: &[u8], wanted: u8) -> Option<f64> {
        let (field, bytes) = self.find(data, wanted)?;
        number(field.kind, bytes, self.order)
    }

    /// The time of a message in seconds of FIT.
    pub(super) fn timestamp(&self, data: &[u8]) -> Option<u32> {
        let (_, bytes) = self.find(data, TIMESTAMP)?;
        let bytes = *<&[u8; 4]>::try_from(bytes).ok()?;
        let seconds = match self.order {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        };
        (seconds != u32::MAX).then_some(seconds)
    }
}

fn read_fields(cursor: &mut Cursor<'_>, count: u8) -> Result<Vec<Field>, Fault> {
    let bytes = cursor.take(usize::from(count) * 3).ok_or(Fault::Ends)?;
    let fields = bytes.chunks_exact(3).filter_map(|field| field.first_chunk::<3>());
    Ok(fields
        .map(|[number, bytes, kind]| Field { number: *number, bytes: *bytes, kind: *kind })
        .collect())
}

fn split<'a>(
    fields: &'a [Field],
    data: &'a [u8],
    mut at: usize,
) -> impl Iterator<Item = (Field, &'a [u8])> + 'a {
    fields.iter().map(move |field| {
        let end = at + usize::from(field.bytes);
        let bytes = data.get(at..end).unwrap_or_default();
        at = end;
        (*field, bytes)
    })
}
