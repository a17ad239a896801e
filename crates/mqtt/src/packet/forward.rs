//! The properties of a publish that its subscribers get back: what of them is stored, and how
//! they are written again. [MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-18], [MQTT-3.3.2-20]

use std::borrow::Cow;

use super::property::{self, Properties, Value};
use super::write::put_text;

/// Whether subscribers get this property back as it came. The content type is stored apart, and a
/// topic alias is between the publisher and us.
pub(crate) fn is_kept(id: u8) -> bool {
    matches!(
        id,
        property::PAYLOAD_FORMAT
            | property::MESSAGE_EXPIRY
            | property::RESPONSE_TOPIC
            | property::CORRELATION_DATA
            | property::USER
    )
}

/// Of checked properties those that are stored with the message.
pub(crate) fn kept(properties: &[u8]) -> Vec<u8> {
    let mut all = Properties::of(properties);
    let mut kept = Vec::new();
    while let Ok(Some((id, _, bytes))) = all.next_raw() {
        if is_kept(id) {
            kept.extend_from_slice(bytes);
        }
    }
    kept
}

/// What is written to a subscriber: the content type and what was stored.
pub(crate) fn restored(content_type: &str, kept: &[u8]) -> Vec<u8> {
    let mut properties = Vec::with_capacity(3 + content_type.len() + kept.len());
    if !content_type.is_empty() {
        properties.push(property::CONTENT_TYPE);
        put_text(&mut properties, content_type);
    }
    properties.extend_from_slice(kept);
    properties
}

/// The properties of a message that has waited so many seconds, its expiry counted down
/// [MQTT-3.3.2-6]; `None` where it has expired [MQTT-3.3.2-5].
pub(crate) fn aged(properties: &[u8], waited: u64) -> Option<Cow<'_, [u8]>> {
    let Some((seconds, at)) = find_expiry(properties) else {
        return Some(Cow::Borrowed(properties));
    };
    let left = u64::from(seconds).checked_sub(waited).filter(|left| *left > 0)?;
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    let mut aged = properties.to_vec();
    if let Some(place) = aged.get_mut(at..at + 4) {
        place.copy_from_slice(&left.to_be_bytes());
    }
    Some(Cow::Owned(aged))
}

/// The properties of a message whose time is over while it is being delivered
/// [MQTT-4.3.3-7]: of its expiry the least is left that every client reads, a second.
pub(crate) fn spent(properties: &[u8]) -> Cow<'_, [u8]> {
    let mut spent = properties.to_vec();
    if let Some(place) = find_expiry(properties).and_then(|(_, at)| spent.get_mut(at..at + 4)) {
        place.copy_from_slice(&[0, 0, 0, 1]);
    }
    Cow::Owned(spent)
}

/// The message expiry interval in seconds, if there is one.
pub(crate) fn expiry(properties: &[u8]) -> Option<u32> {
    Some(find_expiry(properties)?.0)
}

/// The message expiry interval, and where its four bytes stand.
fn find_expiry(properties: &[u8]) -> Option<(u32, usize)> {
    let mut all = Properties::of(properties);
    let mut end = 0;
    while let Ok(Some((id, value, bytes))) = all.next_raw() {
        end += bytes.len();
        if let (property::MESSAGE_EXPIRY, Value::Number(seconds)) = (id, value) {
            return Some((seconds, end - 4));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRY: &[u8] = b"\x01\x01\x02\0\0\0\x0a\x09\0\x01c";

    #[test]
    fn what_is_between_publisher_and_server_is_not_stored() {
        let all = b"\x23\0\x01\x01\x01\x03\0\x01t\x26\0\x01a\0\x01b\x26\0\x01a\0\x01c";
        assert_eq!(kept(all), b"\x01\x01\x26\0\x01a\0\x01b\x26\0\x01a\0\x01c");
        assert_eq!(restored("t", &kept(EXPIRY)), [b"\x03\0\x01t", EXPIRY].concat());
        assert_eq!(restored("", b""), b"");
    }

    #[test]
    fn the_expiry_is_counted_down_to_nothing() {
        assert_eq!(aged(EXPIRY, 0).as_deref(), Some(EXPIRY));
        assert_eq!(aged(EXPIRY, 9).as_deref(), Some(&b"\x01\x01\x02\0\0\0\x01\x09\0\x01c"[..]));
        assert_eq!(aged(EXPIRY, 10), None);
        assert_eq!(aged(b"\x02\0\0\0\0", 0), None, "0 seconds are over at once");
        assert_eq!(aged(b"\x01\x01", u64::MAX).as_deref(), Some(&b"\x01\x01"[..]));
    }
}
