//! Durations and sizes as people write them: `90s`, `24h`, `512MiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SPAN_FORM: &str = "a duration such as \"500ms\", \"30s\", \"15m\", \"24h\" or \"7d\"";
const SIZE_FORM: &str = "a size such as \"64KiB\", \"512MiB\" or \"8GiB\"";

/// A duration in one unit: `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub struct Span(pub Duration);

/// A duration with a sign: `36h`, `+36h`, `-90m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignedSpan {
    /// Microseconds; positive is ahead.
    pub micros: i64,
}

/// A number of bytes, in powers of 1024: `B`, `KiB`, `MiB`, `GiB` or `TiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub struct ByteSize(pub u64);

const SPANS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZES: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn write(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = |factor: u64| value != 0 && value.is_multiple_of(factor);
    let found = units.iter().find(|(_, factor)| fits(*factor)).or(units.last());
    match found {
        Some((name, factor)) => write!(f, "{}{name}", value / factor),
        None => write!(f, "{value}"),
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &SPANS).map(|millis| Self(Duration::from_millis(millis))).ok_or(SPAN_FORM)
    }
}

impl FromStr for SignedSpan {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a duration with a sign such as \"+36h\" or \"-90m\"";
        let (span, sign) = match text.strip_prefix('-') {
            Some(span) => (span, -1),
            None => (text.strip_prefix('+').unwrap_or(text), 1),
        };
        let millis = parse(span, &SPANS).and_then(|millis| i64::try_from(millis).ok());
        let micros = millis.and_then(|millis| millis.checked_mul(1000 * sign));
        micros.map(|micros| Self { micros }).ok_or(FORM)
    }
}

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &SIZES).map(Self).ok_or(SIZE_FORM)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &SPANS)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &SIZES)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|form| D::Error::custom(format!("expected {form}")))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|form| D::Error::custom(format!("expected {form}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints_and_refuses_other_units() {
        for text in ["90s", "1m", "24h", "7d", "500ms", "0ms"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>(), Ok(span), "{text}");
        }
        assert_eq!("8GiB".parse::<ByteSize>().unwrap().to_string(), "8GiB");
        assert_eq!("1024 MiB".parse::<ByteSize>().unwrap().to_string(), "1GiB");
        for (text, micros) in
            [("36h", 129_600_000_000), ("+5s", 5_000_000), ("-90m", -5_400_000_000)]
        {
            assert_eq!(text.parse::<SignedSpan>().unwrap().micros, micros, "{text}");
        }
        assert!("--1s".parse::<SignedSpan>().is_err());
        for bad in ["10", "-1s", "1.5h", "s", "", "5MB", "99999999999999999d", "1 year", "NaN"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }
}
