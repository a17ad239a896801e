//! SUBSCRIBE and UNSUBSCRIBE.

use super::Version;
use super::property::{self, Properties, Value};
use super::reader::Reader;
use super::refusal::Refusal;

/// One filter of a SUBSCRIBE packet and what is wished with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish<'a> {
    /// The filter; its form is not checked yet.
    pub(crate) filter: &'a str,
    /// The highest QoS wished for: 0, 1 or 2.
    pub(crate) qos: u8,
    /// Whether the client's own messages stay away.
    pub(crate) is_no_local: bool,
    /// Whether messages keep the retain flag that they were published with.
    pub(crate) is_retain_as_published: bool,
    /// When retained messages are sent: 0 at every subscription, 1 at a new one, 2 never.
    pub(crate) retain_handling: u8,
}

/// A SUBSCRIBE packet, checked whole.
#[derive(Clone, Copy)]
pub(crate) struct Subscribe<'a> {
    /// The packet id.
    pub(crate) packet_id: u16,
    /// The subscription identifier; 0 if none.
    pub(crate) identifier: u32,
    wishes: Reader<'a>,
}

impl<'a> Subscribe<'a> {
    /// Reads the body of a SUBSCRIBE packet.
    pub(crate) fn read(body: &'a [u8], version: Version) -> Result<Self, Refusal> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let mut identifier = 0;
        if version == Version::V5 {
            let mut properties = Properties::take(&mut reader)?;
            while let Some((id, value)) = properties.next()? {
                match (id, value) {
                    (property::SUBSCRIPTION_ID, Value::Number(number)) if number > 0 => {
                        identifier = number;
                    }
                    (property::USER, _) => {}
                    _ => return Err(Refusal::PROPERTY),
                }
            }
        }
        // [MQTT-3.8.3-2]
        if reader.is_empty() {
            return Err(Refusal::NO_FILTERS);
        }
        let mut rest = reader;
        while !rest.is_empty() {
            read_wish(&mut rest, version)?;
        }
        Ok(Self { packet_id, identifier, wishes: reader })
    }

    /// The filters in their order.
    pub(crate) fn wishes(self, version: Version) -> impl Iterator<Item = Wish<'a>> {
        let mut reader = self.wishes;
        std::iter::from_fn(move || read_wish(&mut reader, version).ok())
    }
}

fn read_wish<'a>(reader: &mut Reader<'a>, version: Version) -> Result<Wish<'a>, Refusal> {
    let filter = reader.text()?;
    let options = reader.u8()?;
    let (qos, retain_handling) = (options & 0x03, (options >> 4) & 0x03);
    // 3.1.1 [MQTT-3-8.3-4]; MQTT 5 [MQTT-3.8.3-5]
    let reserved = if version == Version::V3 { 0xfc } else { 0xc0 };
    if options & reserved != 0 || qos == 3 || retain_handling == 3 {
        return Err(Refusal::FLAGS);
    }
    Ok(Wish {
        filter,
        qos,
        is_no_local: options & 0x04 != 0,
        is_retain_as_published: options & 0x08 != 0,
        retain_handling,
    })
}

/// An UNSUBSCRIBE packet, checked whole.
#[derive(Clone, Copy)]
pub(crate) struct Unsubscribe<'a> {
    /// The packet id.
    pub(crate) packet_id: u16,
    filters: Reader<'a>,
}

impl<'a> Unsubscribe<'a> {
    /// Reads the body of an UNSUBSCRIBE packet.
    pub(crate) fn read(body: &'a [u8], version: Version) -> Result<Self, Refusal> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        if version == Version::V5 {
            let mut properties = Properties::take(&mut reader)?;
            while let Some((id, _)) = properties.next()? {
                if id != property::USER {
                    return Err(Refusal::PROPERTY);
                }
            }
        }
        // [MQTT-3.10.3-2]
        if reader.is_empty() {
            return Err(Refusal::NO_FILTERS);
        }
        let mut rest = reader;
        while !rest.is_empty() {
            rest.text()?;
        }
        Ok(Self { packet_id, filters: reader })
    }

    /// The filters in their order.
    pub(crate) fn filters(self) -> impl Iterator<Item = &'a str> {
        let mut reader = self.filters;
        std::iter::from_fn(move || reader.text().ok())
    }
}
