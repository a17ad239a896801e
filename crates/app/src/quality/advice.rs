//! What to do about what was set aside.

/// What a person may do about items of a code.
#[must_use]
pub fn quarantine_advice(code: &str) -> &'static str {
    match code {
        "time.future" => {
            "The device's clock is far ahead. Set its clock (NTP, GNSS); to keep these samples, \
             replay them with the time at which they were sent."
        }
        "time.past" => {
            "The time lies before the year 2000: the clock was never set. Let the device wait for \
             its first NTP or GNSS time; replay with the right time, or leave it."
        }
        "time.format" => {
            "Times must be RFC 3339 with a zone, or epoch milliseconds. Mend the sender, then \
             replay with a mended payload."
        }
        "field.range" => {
            "A value is physically impossible. Look for a broken sensor or a wrong unit; mend the \
             value, or replay without the field."
        }
        "field.type" | "field.not_finite" => {
            "A field has another type than its stream declares. Mend the sender; replay with a \
             mended payload."
        }
        "field.too_long" => "A text is longer than is kept. Shorten it in the sender.",
        "stream.unknown" => {
            "Nothing is known of this stream. Check the topic for a slip; a new stream needs a \
             schema first."
        }
        "topic.invalid" | "topic.foreign" => {
            "The topic is not one of a device's own tree. Publish to v1/d/{device}/t/{stream}."
        }
        "payload.type_unknown" | "payload.mismatch" => {
            "The content type is not the one the stream takes. Send JSON, or what the stream \
             declares."
        }
        "payload.too_deep" | "payload.too_many_records" | "payload.extra_too_large" => {
            "The message is over a limit. Send smaller messages; GET /api/v1/limits lists them."
        }
        _ if code.starts_with("payload.") => {
            "The bytes cannot be read. Look at the payload: torn in transfer, another encoding, or \
             a fault of the sender; mend it and replay."
        }
        _ => "Look at an example, mend its cause, then replay.",
    }
}
