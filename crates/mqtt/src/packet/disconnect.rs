//! DISCONNECT from a client.

use super::Version;
use super::property::{self, Properties, Value};
use super::reader::Reader;
use super::refusal::Refusal;

/// What a client says at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disconnect {
    /// Whether the will is to be sent all the same.
    pub(crate) sends_will: bool,
    /// Seconds that the session is to last from now on, where that changes.
    pub(crate) session_expiry: Option<u32>,
}

/// Reads the body of a DISCONNECT packet.
pub(crate) fn read(body: &[u8], version: Version) -> Result<Disconnect, Refusal> {
    let mut reader = Reader::new(body);
    if version == Version::V3 || reader.is_empty() {
        reader.end()?;
        return Ok(Disconnect::default());
    }
    let (code, mut session_expiry) = (reader.u8()?, None);
    if !matches!(code, 0 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99) {
        return Err(Refusal::MALFORMED);
    }
    if !reader.is_empty() {
        let mut properties = Properties::take(&mut reader)?;
        while let Some((id, value)) = properties.next()? {
            match (id, value) {
                (property::SESSION_EXPIRY, Value::Number(seconds)) => {
                    session_expiry = Some(seconds);
                }
                (property::REASON_STRING | property::USER, _) => {}
                _ => return Err(Refusal::PROPERTY),
            }
        }
        reader.end()?;
    }
    Ok(Disconnect { sends_will: code != 0, session_expiry })
}
