//! Query parameters: each route names its own, and nothing else passes.

use std::collections::BTreeMap;

use axle_app::parse_time;
use axle_domain::Timestamp;
use axum::extract::Query;
use axum::http::Uri;

use crate::operation::Parameter;
use crate::problem::Problem;

/// Names under which people put tokens into addresses, where they end up in logs.
const TOKEN_NAMES: [&str; 5] = ["access_token", "token", "api_key", "apikey", "authorization"];

/// The query parameters of one request.
#[derive(Debug, Default)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads the query of an address.
    ///
    /// # Errors
    /// 401 for a token in the address; 400 for what is unknown, doubled or unreadable.
    pub(crate) fn read(uri: &Uri, known: &[Parameter]) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_error| {
            Problem::bad_request("request.query_invalid", "the query of the address is unreadable")
        })?;
        let mut read = BTreeMap::new();
        for (name, value) in pairs.0 {
            if !known.iter().any(|parameter| parameter.name == name) {
                return Err(unknown(&name, known));
            }
            if read.insert(name.clone(), value).is_some() {
                let detail = format!("query parameter `{name}` stands there twice");
                return Err(Problem::bad_request("request.parameter_doubled", detail));
            }
        }
        Ok(Self(read))
    }

    /// A parameter, if it was given.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A whole number of a range.
    pub(crate) fn count(&self, name: &str, default: usize, most: usize) -> Result<usize, Problem> {
        let Some(text) = self.find(name) else { return Ok(default) };
        match text.parse() {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            _ => Err(invalid(name, &format!("must be a whole number from 1 to {most}"))),
        }
    }

    /// A switch: `1`, `true`, `0`, `false`.
    pub(crate) fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.find(name) {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => Err(invalid(name, "must be 1 or 0")),
        }
    }

    /// A moment: RFC 3339 or milliseconds since 1970.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.find(name) else { return Ok(None) };
        let millis = text.parse().ok().and_then(Timestamp::from_millis);
        match millis.or_else(|| parse_time(text)) {
            Some(time) => Ok(Some(time)),
            None => Err(invalid(
                name,
                "must be RFC 3339 with a time zone (2026-11-20T10:00:00Z) or epoch milliseconds",
            )),
        }
    }
}

/// A parameter that was given badly.
pub(crate) fn invalid(name: &str, rule: &str) -> Problem {
    Problem::bad_request("request.parameter_invalid", format!("query parameter `{name}` {rule}"))
}

/// Whether the address carries a token.
pub(crate) fn carries_token(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        TOKEN_NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}

fn unknown(name: &str, known: &[Parameter]) -> Problem {
    let shown: String = name.chars().take(64).collect();
    let names: Vec<_> = known.iter().map(|parameter| parameter.name).collect();
    let hint = match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "this route takes none".to_owned(),
        None => format!("there are {}", names.join(", ")),
    };
    let shown = shown.escape_debug();
    Problem::bad_request(
        "request.parameter_unknown",
        format!("query parameter `{shown}` is unknown: {hint}"),
    )
}

/// The name that is at most two changes away.
pub(crate) fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    if name.len() > 64 {
        return None;
    }
    let distances = names.iter().map(|known| (distance(name, known), *known));
    let (changes, near) = distances.min()?;
    (changes <= 2 && changes < near.len()).then_some(near)
}

fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&right) {
            let cost = (diagonal + usize::from(from != *to)).min(before + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = cost;
            before = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        let names = ["from", "to", "fields", "max_points"];
        for (name, expected) in [
            ("form", Some("from")),
            ("field", Some("fields")),
            ("maxpoints", Some("max_points")),
            ("zzzzzz", None),
            ("x", None),
        ] {
            assert_eq!(nearest(name, &names), expected, "{name}");
        }
    }

    #[test]
    fn finds_tokens_in_addresses() {
        for (uri, expected) in [
            ("/x?access_token=1", true),
            ("/x?a=1&Token=2", true),
            ("/x?tokens=1", false),
            ("/x", false),
        ] {
            assert_eq!(carries_token(&uri.parse().unwrap()), expected, "{uri}");
        }
    }
}
