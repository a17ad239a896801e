//! Whether a browser's request comes from a page of this server. A cookie alone proves nothing:
//! any site can make a browser send one.

use axum::http::StatusCode;
use axum::http::header::{HOST, HeaderMap, ORIGIN};

use crate::problem::Problem;

/// Lets a request pass that the browser, or its `Origin`, says to come from one of our pages.
///
/// # Errors
/// 403 `request.cross_origin`, also where neither header says anything.
pub(crate) fn require_same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    match is_same_origin(headers) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "request.cross_origin",
            "this request does not come from a page of this server: open the page again and \
             repeat it there",
        )),
    }
}

/// Lets a request that only reads pass, unless it says itself that another site has made the
/// browser send it.
///
/// # Errors
/// 403 `request.cross_origin`.
pub(crate) fn refuse_cross_origin(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get("sec-fetch-site") {
        // Typed into the address bar, or followed from a bookmark.
        Some(site) if site.as_bytes() == b"none" => Ok(()),
        None if !headers.contains_key(ORIGIN) => Ok(()),
        _ => require_same_origin(headers),
    }
}

/// See [`require_same_origin`]. `Sec-Fetch-Site` cannot be set by a script and decides where it
/// is there; older browsers send `Origin` with every form.
fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site.as_bytes() == b"same-origin";
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(ORIGIN), text(HOST)) else { return false };
    let origin = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_pass() {
        for (headers, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://a:1")], false),
            (&[("origin", "http://a:1"), ("host", "a:1")], true),
            (&[("origin", "https://A:1"), ("host", "a:1")], true),
            (&[("origin", "http://a:2"), ("host", "a:1")], false),
            (&[("origin", "null"), ("host", "a:1")], false),
            (&[("host", "a:1")], false),
        ] {
            let pairs = headers.iter().map(|(name, value)| {
                (name.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap())
            });
            let map = pairs.collect();
            assert_eq!(is_same_origin(&map), expected, "{headers:?}");
            let is_silent = headers.iter().all(|(name, value)| *name == "host" || *value == "none");
            assert_eq!(refuse_cross_origin(&map).is_ok(), expected || is_silent, "{headers:?}");
        }
    }
}
