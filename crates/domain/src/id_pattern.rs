//! Which device ids somebody may name: a pattern with `*`.

use std::fmt;
use std::sync::Arc;

use crate::{DeviceId, Error, limit};

/// Most `*` of one pattern.
const WILDCARDS_MAX: usize = 8;

/// A pattern over device ids: `*` stands for any number of characters, none included, and
/// everything else for itself.
#[derive(Clone, PartialEq, Eq)]
pub struct IdPattern(Arc<str>);

impl IdPattern {
    /// Checks the form.
    ///
    /// # Errors
    /// `Invalid`, saying what a pattern looks like.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_id = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        let wildcards = text.bytes().filter(|b| *b == b'*').count();
        let is_good = (1..=limit::DEVICE_ID_BYTES_MAX).contains(&text.len())
            && wildcards <= WILDCARDS_MAX
            && text.bytes().all(|b| b == b'*' || is_id(b));
        if is_good {
            return Ok(Self(Arc::from(text)));
        }
        let shown: String = text.chars().take(64).collect();
        let message = format!(
            "`{}` is no pattern of device ids: characters of an id ([A-Za-z0-9._:-]) and at most \
             {WILDCARDS_MAX} `*`, as in `acme-*`",
            shown.escape_debug()
        );
        Err(Error::invalid("device.pattern_invalid", message))
    }

    /// The pattern itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an id fits. Between two `*` the first fit is as good as any, so nothing is tried
    /// twice.
    #[must_use]
    pub fn matches(&self, id: &DeviceId) -> bool {
        let id = id.as_str();
        let Some((head, rest)) = self.0.split_once('*') else { return id == &*self.0 };
        let Some(mut id) = id.strip_prefix(head) else { return false };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in middle.split('*').filter(|part| !part.is_empty()) {
            match id.split_once(part) {
                Some((_, behind)) => id = behind,
                None => return false,
            }
        }
        id.ends_with(tail)
    }
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, id: &str) -> bool {
        IdPattern::parse(pattern).unwrap().matches(&DeviceId::parse(id).unwrap())
    }

    #[test]
    fn a_star_stands_for_any_characters_and_the_rest_for_itself() {
        for (pattern, id, expected) in [
            ("acme-*", "acme-1", true),
            ("acme-*", "acme-", true),
            ("acme-*", "acme", false),
            ("acme-*", "xacme-1", false),
            ("*", "b-1", true),
            ("b-1", "b-1", true),
            ("b-1", "b-10", false),
            ("*-eu", "b-1-eu", true),
            ("*-eu", "b-1-eu-2", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*bc*bc", "abc", false),
            ("a**", "a", true),
        ] {
            assert_eq!(matches(pattern, id), expected, "{id} by {pattern}");
        }
    }

    #[test]
    fn patterns_of_wrong_form_are_refused() {
        for bad in ["", "a b", "a/*", "?", "*********", &"x".repeat(129)] {
            let error = IdPattern::parse(bad).unwrap_err();
            assert_eq!(error.code, "device.pattern_invalid", "{bad:?}");
        }
    }

    /// The definition, character by character.
    fn plain(pattern: &[u8], id: &[u8]) -> bool {
        match pattern.split_first() {
            None => id.is_empty(),
            Some((b'*', rest)) => (0..=id.len()).any(|at| plain(rest, &id[at..])),
            Some((byte, rest)) => id.first() == Some(byte) && plain(rest, &id[1..]),
        }
    }

    proptest! {
        #[test]
        fn prop_matches_as_defined(pattern in "[ab*]{1,8}", id in "[ab]{1,8}") {
            prop_assert_eq!(matches(&pattern, &id), plain(pattern.as_bytes(), id.as_bytes()));
        }
    }
}
