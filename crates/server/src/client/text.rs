//! Text in paths and queries.

/// A text as one segment of a path.
#[must_use]
pub fn encode_segment(text: &str) -> String {
    encode(text, b"-._~:")
}

/// A text as a value of a query.
#[must_use]
pub fn encode_value(text: &str) -> String {
    encode(text, b"-._~")
}

fn encode(text: &str, plain: &[u8]) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_cannot_leave_its_segment() {
        assert_eq!(encode_segment("VIN:1.2_x-y"), "VIN:1.2_x-y");
        assert_eq!(encode_segment("../a?b#ü"), "..%2Fa%3Fb%23%C3%BC");
        assert_eq!(encode_value("a&b=c d"), "a%26b%3Dc%20d");
    }
}
