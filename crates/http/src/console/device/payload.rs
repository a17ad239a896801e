//! Payloads for the eye: text as text, anything else as hexadecimal, never as markup.

use maud::{Markup, html};

/// What is shown of a payload.
const SHOWN_CHARS_MAX: usize = 2000;
const SHOWN_BYTES_MAX: usize = 256;

/// A payload as it came, or its beginning.
pub(super) fn shown(payload: &[u8]) -> Markup {
    let (text, is_cut) = match readable(payload) {
        Some(text) => {
            (text.chars().take(SHOWN_CHARS_MAX).collect(), text.chars().count() > SHOWN_CHARS_MAX)
        }
        None => (hexadecimal(payload), payload.len() > SHOWN_BYTES_MAX),
    };
    html! {
        pre .payload tabindex="0" { (text) }
        @if is_cut { p .meta { "The beginning of " (payload.len()) " bytes." } }
    }
}

/// The text of a payload that is one: UTF-8 without control characters but white space.
pub(super) fn readable(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    text.chars().all(|c| !c.is_control() || c.is_whitespace()).then_some(text)
}

/// Sixteen bytes a line, as `xxd` prints them.
pub(super) fn hexadecimal(payload: &[u8]) -> String {
    let shown = payload.get(..SHOWN_BYTES_MAX).unwrap_or(payload);
    let lines = shown.chunks(16).enumerate().map(|(index, line)| {
        let digits: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = line.iter().map(|byte| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        });
        format!("{:04x}  {:<47}  {}", index * 16, digits.join(" "), text.collect::<String>())
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_and_bytes_become_digits() {
        assert_eq!(readable(b"{\"a\":\n1}"), Some("{\"a\":\n1}"));
        assert_eq!(readable(b"a\x1b[2J"), None);
        assert_eq!(readable(b"\xff"), None);
        let line = "0000  0a 41 ff                                         .A.";
        assert_eq!(hexadecimal(b"\x0aA\xff"), line);
        let page = shown(b"<script>").into_string();
        assert!(page.contains("&lt;script&gt;"), "{page}");
    }
}
