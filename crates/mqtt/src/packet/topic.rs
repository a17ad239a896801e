//! The form of topic names and filters.

use axle_domain::limit;

use super::refusal::Refusal;

/// Checks the form of a topic name.
pub(crate) fn check_name(name: &[u8]) -> Result<&str, Refusal> {
    // [MQTT-4.7.3-1]
    if name.is_empty() || name.len() > limit::TOPIC_BYTES_MAX {
        return Err(Refusal::TOPIC);
    }
    let mut levels = 1;
    for byte in name {
        match byte {
            b'/' => levels += 1,
            // [MQTT-3.3.2-2], [MQTT-4.7.3-2]
            b'+' | b'#' | 0 => return Err(Refusal::TOPIC),
            _ => {}
        }
    }
    if levels > limit::TOPIC_LEVELS_MAX {
        return Err(Refusal::TOPIC_DEEP);
    }
    std::str::from_utf8(name).map_err(|_error| Refusal::TEXT)
}

/// Why a filter is not granted: SUBACK reason codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterError {
    /// Its form is wrong, or it is longer or deeper than we keep.
    Invalid,
}

/// What a filter of good form asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A copy of each message.
    Plain,
    /// A share of the messages.
    Shared,
}

/// Checks the form of a topic filter.
pub(crate) fn check_filter(filter: &str) -> Result<Form, FilterError> {
    // [MQTT-4.7.3-1]
    if filter.is_empty() || filter.len() > limit::TOPIC_BYTES_MAX {
        return Err(FilterError::Invalid);
    }
    if filter.split('/').count() > limit::TOPIC_LEVELS_MAX {
        return Err(FilterError::Invalid);
    }
    if let Some(shared) = filter.strip_prefix("$share/") {
        return check_shared(shared);
    }
    check_levels(filter).map(|()| Form::Plain)
}

fn check_levels(filter: &str) -> Result<(), FilterError> {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_last = levels.peek().is_none();
        let is_good = match level {
            // [MQTT-4.7.1-1]
            "#" => is_last,
            "+" => true,
            // [MQTT-4.7.1-2]
            level => !level.contains(['+', '#']),
        };
        if !is_good {
            return Err(FilterError::Invalid);
        }
    }
    Ok(())
}

fn check_shared(shared: &str) -> Result<Form, FilterError> {
    // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    match shared.split_once('/') {
        Some((name, filter))
            if !name.is_empty() && !name.contains(['+', '#']) && !filter.is_empty() =>
        {
            check_levels(filter).map(|()| Form::Shared)
        }
        _ => Err(FilterError::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_wrong_form_are_invalid() {
        use FilterError::Invalid;
        use Form::{Plain, Shared};
        let deep = "a/".repeat(16);
        let long = "x".repeat(257);
        for (filter, expected) in [
            ("a/b", Ok(Plain)),
            ("#", Ok(Plain)),
            ("+/b/#", Ok(Plain)),
            ("/", Ok(Plain)),
            ("a/#/b", Err(Invalid)),
            ("a+", Err(Invalid)),
            ("##", Err(Invalid)),
            ("+a/+", Err(Invalid)),
            ("", Err(Invalid)),
            ("$share//x", Err(Invalid)),
            ("$share/g+/x", Err(Invalid)),
            ("$share/g/", Err(Invalid)),
            ("$share/g", Err(Invalid)),
            ("$share", Ok(Plain)),
            ("$share/g/x/#", Ok(Shared)),
            (deep.as_str(), Err(Invalid)),
            (long.as_str(), Err(Invalid)),
        ] {
            assert_eq!(check_filter(filter), expected, "{filter:?}");
        }
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, name, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/#", "sport", true),
            ("#", "a/b", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor", "$SYS/monitor", false),
            ("$SYS/#", "$SYS/x", true),
            ("a/b", "a/b/c", false),
            ("A", "a", false),
        ] {
            assert_eq!(axle_domain::filter_contains(filter, name), expected, "{filter} {name}");
        }
    }

    #[test]
    fn names_are_short_flat_and_without_wildcards() {
        let (deep, long) = ("a/".repeat(16), "x".repeat(257));
        for (name, expected) in [
            (&b"a/b"[..], Ok("a/b")),
            (b"", Err(Refusal::TOPIC)),
            (b"a/+", Err(Refusal::TOPIC)),
            (b"a\0", Err(Refusal::TOPIC)),
            (b"\xff", Err(Refusal::TEXT)),
            (deep.as_bytes(), Err(Refusal::TOPIC_DEEP)),
            (long.as_bytes(), Err(Refusal::TOPIC)),
        ] {
            assert_eq!(check_name(name), expected, "{name:?}");
        }
    }
}
