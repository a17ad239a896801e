//! What the console's pages load: one table of files that are embedded in the binary.
//!
//! All addresses carry one hash over all files, so that a browser may keep each for ever, and so
//! that a module may import another by a relative address.

use std::sync::{LazyLock, OnceLock};

use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, VARY,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file that pages load.
struct Asset {
    name: &'static str,
    media: &'static str,
    bytes: &'static [u8],
}

/// Embeds a file of `src/asset` under its own name.
macro_rules! asset {
    ($name:literal, $media:expr) => {
        Asset { name: $name, media: $media, bytes: include_bytes!(concat!("../asset/", $name)) }
    };
}

/// Every file that pages load.
static ASSETS: &[Asset] = &[
    asset!("app.css", STYLE),
    asset!("app.js", SCRIPT),
    asset!("basemap.js", SCRIPT),
    asset!("charts.js", SCRIPT),
    asset!("energy.js", SCRIPT),
    asset!("icon.svg", SVG),
    asset!("map.css", STYLE),
    asset!("map.js", SCRIPT),
    asset!("passkey.js", SCRIPT),
    asset!("plot.js", SCRIPT),
    asset!("query.js", SCRIPT),
    asset!("ride-map.js", SCRIPT),
    asset!("ride.js", SCRIPT),
    asset!("vendor/htmx.min.js", SCRIPT),
    asset!("vendor/maplibre-gl-worker.js", SCRIPT),
    asset!("vendor/maplibre-gl.css", STYLE),
    asset!("vendor/maplibre-gl.js", SCRIPT),
    asset!("vendor/pmtiles.js", SCRIPT),
    asset!("vendor/uplot.css", STYLE),
    asset!("vendor/uplot.js", SCRIPT),
];

/// The hash over all files, hexadecimal.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in ASSETS {
        hash.update(asset.name);
        hash.update(Sha256::digest(asset.bytes));
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
});

/// Each file as gzip, made when it is asked for first.
static ZIPPED: LazyLock<Vec<OnceLock<Bytes>>> =
    LazyLock::new(|| ASSETS.iter().map(|_| OnceLock::new()).collect());

/// The address of a file of the table.
pub(crate) fn address(name: &str) -> String {
    debug_assert!(ASSETS.iter().any(|asset| asset.name == name), "{name} is not in the table");
    format!("/assets/{}/{name}", *VERSION)
}

/// `/assets/{version}/{*name}`.
pub(super) async fn serve(
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = ASSETS.iter().zip(ZIPPED.iter()).find(|(asset, _)| asset.name == name);
    let Some((asset, zipped)) = found else {
        return Err(Problem::of_status(StatusCode::NOT_FOUND));
    };
    // A page that was loaded before an update may ask for a module late: it gets today's, and
    // keeps it for no longer than it needs.
    let cache = match version == *VERSION {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    // A file that gzip cannot make smaller is sent as it is.
    let zipped = takes_gzip(&headers).then(|| zipped.get_or_init(|| zip(asset.bytes)).clone());
    let zipped = zipped.filter(|zipped| zipped.len() < asset.bytes.len());
    let is_zipped = zipped.is_some();
    let body = zipped.unwrap_or(Bytes::from_static(asset.bytes));
    let mut response = (StatusCode::OK, body).into_response();
    let answer = response.headers_mut();
    answer.insert(CONTENT_TYPE, HeaderValue::from_static(asset.media));
    answer.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    answer.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_zipped {
        answer.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    std::future::ready(Ok(response)).await
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"))
            && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// A file as gzip; as it is where that fails, which writing to memory does not.
fn zip(bytes: &'static [u8]) -> Bytes {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    match encoder.write_all(bytes).and_then(|()| encoder.finish()) {
        Ok(zipped) => Bytes::from(zipped),
        Err(_) => Bytes::from_static(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        for (index, asset) in ASSETS.iter().enumerate() {
            assert!(ASSETS.iter().skip(index + 1).all(|other| other.name != asset.name));
        }
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (line, expected) in [
            ("gzip, deflate, br", true),
            ("GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("x-gzip-not", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, line.parse().unwrap());
            assert_eq!(takes_gzip(&headers), expected, "{line}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
