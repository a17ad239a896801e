//! DISCONNECT from a client.

use super::Version;
use super::property::{self, Properties, Value};
use super::reader::Reader;
use super::refusal::Refusal;

/// Reads the body of a DISCONNECT packet; says whether the will is to be sent all the same.
pub(crate) fn read(body: &[u8], version: Version) -> Result<bool, Refusal> {
    let mut reader = Reader::new(body);
    if version == Version::V3 || reader.is_empty() {
        reader.end()?;
        return Ok(false);
    }
    let code = reader.u8()?;
    if !matches!(code, 0 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99) {
        return Err(Refusal::MALFORMED);
    }
    if !reader.is_empty() {
        let mut properties = Properties::take(&mut reader)?;
        while let Some((id, value)) = properties.next()? {
            match (id, value) {
                // [MQTT-3.14.2-2]: every session expiry that we grant is 0.
                (property::SESSION_EXPIRY, Value::Number(seconds)) if seconds > 0 => {
                    return Err(Refusal::EXPIRY_RAISED);
                }
                (property::SESSION_EXPIRY | property::REASON_STRING | property::USER, _) => {}
                _ => return Err(Refusal::PROPERTY),
            }
        }
        reader.end()?;
    }
    Ok(code != 0)
}
