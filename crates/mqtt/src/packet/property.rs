//! The properties of MQTT 5 packets.

use axle_domain::limit;

use super::reader::Reader;
use super::refusal::Refusal;

/// Most bytes of the properties of one packet.
const PROPERTIES_BYTES_MAX: usize = 8 * 1024;

pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
pub(crate) const CONTENT_TYPE: u8 = 0x03;
pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
pub(crate) const CORRELATION_DATA: u8 = 0x09;
pub(crate) const SUBSCRIPTION_ID: u8 = 0x0b;
pub(crate) const SESSION_EXPIRY: u8 = 0x11;
pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(crate) const AUTH_METHOD: u8 = 0x15;
pub(crate) const AUTH_DATA: u8 = 0x16;
pub(crate) const REQUEST_PROBLEM: u8 = 0x17;
pub(crate) const WILL_DELAY: u8 = 0x18;
pub(crate) const REQUEST_RESPONSE: u8 = 0x19;
pub(crate) const REASON_STRING: u8 = 0x1f;
pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
pub(crate) const USER: u8 = 0x26;
pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// The value of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Zero or one.
    Flag(bool),
    /// A number of one, two or four bytes, or of variable length.
    Number(u32),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary,
    /// A name and a value.
    Pair,
}

/// Identifier, value, and all bytes of a property.
type RawProperty<'a> = (u8, Value<'a>, &'a [u8]);

/// The properties of one packet, in their order. None but user properties comes twice.
pub(crate) struct Properties<'a> {
    reader: Reader<'a>,
    seen: u64,
    user: usize,
}

impl<'a> Properties<'a> {
    /// Takes the properties off the start of what is left of a packet.
    pub(crate) fn take(packet: &mut Reader<'a>) -> Result<Self, Refusal> {
        Ok(Self::of(Self::take_raw(packet)?))
    }

    /// As they stand there.
    pub(crate) fn take_raw(packet: &mut Reader<'a>) -> Result<&'a [u8], Refusal> {
        let length = usize::try_from(packet.var_int()?).unwrap_or(usize::MAX);
        let bytes = packet.take(length)?;
        if length > PROPERTIES_BYTES_MAX {
            return Err(Refusal::PROPERTIES_LARGE);
        }
        Ok(bytes)
    }

    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes), seen: 0, user: 0 }
    }

    /// The next property: its identifier and value.
    pub(crate) fn next(&mut self) -> Result<Option<(u8, Value<'a>)>, Refusal> {
        Ok(self.next_raw()?.map(|(id, value, _)| (id, value)))
    }

    /// The next property, and all its bytes.
    pub(crate) fn next_raw(&mut self) -> Result<Option<RawProperty<'a>>, Refusal> {
        let before = self.reader.rest();
        if before.is_empty() {
            return Ok(None);
        }
        let id = self.reader.u8()?;
        let value = self.value(id)?;
        if id == USER {
            self.user += 1;
            if self.user > limit::USER_PROPERTIES_MAX {
                return Err(Refusal::PROPERTIES_MANY);
            }
        } else if self.seen & (1 << id) != 0 {
            return Err(Refusal::PROPERTY);
        }
        self.seen |= 1 << id;
        let length = before.len() - self.reader.rest().len();
        Ok(Some((id, value, before.get(..length).unwrap_or(before))))
    }

    fn value(&mut self, id: u8) -> Result<Value<'a>, Refusal> {
        let reader = &mut self.reader;
        Ok(match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => match reader.u8()? {
                0 => Value::Flag(false),
                1 => Value::Flag(true),
                _ => return Err(Refusal::PROPERTY),
            },
            0x13 | 0x21 | 0x22 | 0x23 => Value::Number(u32::from(reader.u16()?)),
            0x02 | 0x11 | 0x18 | 0x27 => Value::Number(reader.u32()?),
            0x0b => Value::Number(reader.var_int()?),
            0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => Value::Text(reader.text()?),
            0x09 | 0x16 => {
                reader.binary()?;
                Value::Binary
            }
            USER => {
                reader.text()?;
                reader.text()?;
                Value::Pair
            }
            _ => return Err(Refusal::MALFORMED),
        })
    }
}
