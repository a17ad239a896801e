//! When a device that says nothing counts as silent.

use axle_app::SilentAfter;
use serde::{Deserialize, Serialize};

use super::Span;

/// What is told of devices that come, go, or fall silent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PresenceSection {
    /// After which time without a message a device counts as silent, by its kind:
    /// `["bike=15m", "*=1d"]`, where `*` is every kind that has no entry. None is ever silent
    /// where this is empty. As long as your devices may be quiet when all is well.
    pub silent_after: Vec<SilentRule>,
}

impl PresenceSection {
    /// As the use case wants it.
    #[must_use]
    pub fn silent_after(&self) -> Vec<SilentAfter> {
        self.silent_after.iter().map(|rule| rule.0.clone()).collect()
    }
}

/// One kind and its time, as `kind=time`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SilentRule(SilentAfter);

impl TryFrom<String> for SilentRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        const FORM: &str = "expected kind=time, such as \"bike=15m\", or \"*=1d\" for every other";
        let (kind, time) = text.split_once('=').ok_or(FORM)?;
        let (kind, time) = (kind.trim(), time.trim().parse::<Span>()?);
        if kind.is_empty() {
            return Err(FORM.to_owned());
        }
        if time.0.is_zero() {
            return Err("the time must be longer than nothing".to_owned());
        }
        let kind = (kind != "*").then(|| kind.to_owned());
        Ok(Self(SilentAfter { kind, time: time.0 }))
    }
}

impl From<SilentRule> for String {
    fn from(rule: SilentRule) -> Self {
        let SilentAfter { kind, time } = rule.0;
        format!("{}={}", kind.as_deref().unwrap_or("*"), Span(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        for (text, kind, seconds) in [
            ("bike=15m", Some("bike"), 900),
            ("*=1d", None, 86_400),
            ("meter=30s", Some("meter"), 30),
        ] {
            let rule = SilentRule::try_from(text.to_owned()).unwrap();
            let time = Duration::from_secs(seconds);
            assert_eq!(rule.0, SilentAfter { kind: kind.map(str::to_owned), time });
            assert_eq!(String::from(rule), text);
        }
        for bad in ["bike", "bike=", "=1d", "bike=soon", "*=0s"] {
            SilentRule::try_from(bad.to_owned()).unwrap_err();
        }
    }
}
