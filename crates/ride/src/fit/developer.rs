//! Developer fields: values of sensors that the profile does not know, described in the file.

use std::sync::Arc;

use super::definition::Definition;
use super::value::{Order, number, text};

/// Most descriptions of one file that are kept; values of others are passed over.
const DESCRIPTIONS_MAX: usize = 256;
/// Longest name, of what is left of it.
const NAME_CHARS_MAX: usize = 48;

/// A description.
struct Description {
    developer: u8,
    number: u8,
    kind: u8,
    name: Arc<str>,
    scale: f64,
    offset: f64,
}

/// The descriptions so far.
#[derive(Default)]
pub(super) struct Descriptions(Vec<Description>);

impl Descriptions {
    /// Takes a `field_description` message in; a later one stands in for an earlier.
    pub(super) fn learn(&mut self, definition: &Definition, data: &[u8]) {
        let byte = |field| definition.find(data, field)?.1.first().copied();
        let (Some(developer), Some(number), Some(kind)) = (byte(0), byte(1), byte(2)) else {
            return;
        };
        let name = definition.find(data, 3).and_then(|(_, bytes)| text(bytes));
        let Some(name) = name.map(|name| plain("dev_", &name)) else { return };
        let scale = definition.number(data, 6).filter(|scale| *scale != 0.0).unwrap_or(1.0);
        let offset = definition.number(data, 7).unwrap_or(0.0);
        self.0.retain(|it| (it.developer, it.number) != (developer, number));
        if self.0.len() < DESCRIPTIONS_MAX {
            self.0.push(Description { developer, number, kind, name, scale, offset });
        }
    }

    /// Name and value of a developer field.
    pub(super) fn value(
        &self,
        (developer, field): (u8, u8),
        bytes: &[u8],
        order: Order,
    ) -> Option<(Arc<str>, f64)> {
        let found = self.0.iter().find(|it| (it.developer, it.number) == (developer, field))?;
        let value = number(found.kind, bytes, order)? / found.scale - found.offset;
        value.is_finite().then(|| (Arc::clone(&found.name), value))
    }
}

/// A name in lower case with `_` for what is neither letter nor digit, behind a prefix that no
/// field of ours has.
pub(crate) fn plain(prefix: &str, name: &str) -> Arc<str> {
    let letters = name.chars().take(NAME_CHARS_MAX).map(|letter| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_lowercase(),
        _ => '_',
    });
    prefix.chars().chain(letters).collect::<String>().into()
}
