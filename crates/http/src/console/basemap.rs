//! The map under the fleet: one PMTiles file, embedded, or an operator's own on the disk. A page
//! reads the pieces that it shows by HTTP ranges.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use axle_domain::{Error, Kind};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use sha2::{Digest, Sha256};

use crate::api::Api;
use crate::problem::Problem;

/// Natural Earth and GeoNames, made by `tools/basemap`.
static EMBEDDED: &[u8] = include_bytes!("../asset/basemap.pmtiles");
const MEDIA: &str = "application/vnd.pmtiles";
/// Length of the header of an archive.
const HEADER_BYTES: usize = 127;
/// What is read of a file at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Where the tiles are.
pub(crate) struct Basemap {
    source: Source,
    len: u64,
    /// Changes with the contents; part of the address, so that browsers may keep what they read.
    version: String,
}

#[derive(Clone)]
enum Source {
    Embedded,
    File(Arc<File>),
}

impl Basemap {
    /// The archive at a path, or the embedded one for the empty path.
    ///
    /// # Errors
    /// `Invalid`, naming the file: it cannot be read, or is no PMTiles archive of vector tiles.
    pub(crate) fn open(path: &str) -> Result<Self, Error> {
        if path.is_empty() {
            let hash = Sha256::digest(EMBEDDED);
            let len = EMBEDDED.len() as u64;
            return Ok(Self { source: Source::Embedded, len, version: short(&hash) });
        }
        let unreadable = |error: io::Error| {
            let message =
                format!("`console.basemap` names `{path}`, which cannot be read: {error}");
            Error::invalid("console.basemap_unreadable", message)
        };
        let file = File::open(path).map_err(unreadable)?;
        let facts = file.metadata().map_err(unreadable)?;
        let mut header = [0; HEADER_BYTES];
        let is_whole = file.read_exact_at(&mut header, 0).is_ok();
        let fault = if is_whole { fault(&header, facts.len()) } else { Some("it is too short") };
        if let Some(fault) = fault {
            let message = format!(
                "`console.basemap` names `{path}`, which is no PMTiles archive of vector tiles: \
                 {fault}"
            );
            return Err(Error::invalid("console.basemap_invalid", message));
        }
        let mut hash = Sha256::new();
        hash.update(header);
        hash.update(format!("{path} {} {:?}", facts.len(), facts.modified().ok()));
        let (source, len) = (Source::File(Arc::new(file)), facts.len());
        Ok(Self { source, len, version: short(&hash.finalize()) })
    }

    /// Where pages find it.
    pub(crate) fn address(&self) -> String {
        format!("/basemap/{}", self.version)
    }

    fn body(&self, start: u64, end: u64) -> Body {
        match &self.source {
            Source::Embedded => {
                let piece = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                let bytes = EMBEDDED.get(piece(start)..piece(end)).unwrap_or_default();
                Body::from(Bytes::from_static(bytes))
            }
            Source::File(file) => {
                // Asked for more only when the socket takes more.
                let file = Arc::clone(file);
                Body::from_stream(stream::unfold((file, start), move |(file, at)| async move {
                    if at >= end {
                        return None;
                    }
                    let piece = read(Arc::clone(&file), at, end).await;
                    let next = piece.as_ref().map_or(end, |piece| at + piece.len() as u64);
                    Some((piece, (file, next)))
                }))
            }
        }
    }
}

fn short(hash: &[u8]) -> String {
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What is wrong with the header of an archive, in words.
fn fault(header: &[u8; HEADER_BYTES], len: u64) -> Option<&'static str> {
    let number = |at: usize| {
        let bytes = header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(u64::MAX, u64::from_le_bytes)
    };
    if !header.starts_with(b"PMTiles") {
        return Some("it does not begin with `PMTiles`");
    }
    let [.., version, _] = header.first_chunk::<9>().copied().unwrap_or_default();
    if version != 3 {
        return Some("its version is not 3");
    }
    if header.get(99) != Some(&1) {
        return Some("its tiles are no vector tiles");
    }
    // Root directory, metadata, leaf directories, tiles: each an offset and a length.
    let is_cut = (8..72)
        .step_by(16)
        .any(|at| number(at).checked_add(number(at + 8)).is_none_or(|part_end| part_end > len));
    is_cut.then_some("it ends before the parts that its header names")
}

async fn read(file: Arc<File>, at: u64, end: u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; wanted];
        file.read_exact_at(&mut piece, at)?;
        Ok(Bytes::from(piece))
    });
    read.await.map_err(io::Error::other)?
}

/// `/basemap/{version}`: the archive, or one range of it.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Path(version): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let basemap = &api.basemap;
    let tag = format!("\"{}\"", basemap.version);
    let mut answer = HeaderMap::new();
    // A page that was loaded before a restart with another file finds that one, and notices.
    let cache = match version == basemap.version {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    answer.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    answer.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA));
    put(&mut answer, ETAG, &tag);
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    let is_same = headers.get(IF_RANGE).is_none_or(|known| known.as_bytes() == tag.as_bytes());
    let range = headers.get(RANGE).filter(|_| is_same).and_then(|range| range.to_str().ok());
    let (status, start, end) = match range.map_or(Wanted::Whole, |text| wanted(text, basemap.len)) {
        Wanted::Whole => (StatusCode::OK, 0, basemap.len),
        Wanted::Part(start, end) => {
            let range = format!("bytes {start}-{}/{}", end - 1, basemap.len);
            put(&mut answer, CONTENT_RANGE, &range);
            (StatusCode::PARTIAL_CONTENT, start, end)
        }
        Wanted::Nothing => return Err(unsatisfiable(basemap.len)),
    };
    put(&mut answer, CONTENT_LENGTH, &(end - start).to_string());
    std::future::ready(Ok((status, answer, basemap.body(start, end)).into_response())).await
}

fn put(headers: &mut HeaderMap, name: axum::http::HeaderName, value: &str) {
    headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
}

fn unsatisfiable(len: u64) -> Problem {
    let error = Error::new(
        Kind::Invalid,
        "request.range_unsatisfiable",
        format!("`Range` lies behind the end: there are {len} bytes"),
    );
    let problem = Problem::from(error).with_status(StatusCode::RANGE_NOT_SATISFIABLE);
    match HeaderValue::from_str(&format!("bytes */{len}")) {
        Ok(value) => problem.with_header(CONTENT_RANGE, value),
        Err(_) => problem,
    }
}

/// What a `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// All: it is no range of bytes, or several, which may be ignored (RFC 9110, 14.2).
    Whole,
    /// From the first to before the second.
    Part(u64, u64),
    /// What is not there.
    Nothing,
}

fn wanted(range: &str, len: u64) -> Wanted {
    let Some((from, to)) = range.strip_prefix("bytes=").and_then(|it| it.split_once('-')) else {
        return Wanted::Whole;
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (start, end) = match (number(from), number(to)) {
        (Some(start), Some(last)) if start <= last => (start, last.saturating_add(1).min(len)),
        (Some(start), None) if to.is_empty() => (start, len),
        (None, Some(count)) if from.is_empty() => (len.saturating_sub(count), len),
        _ => return Wanted::Whole,
    };
    if start >= end { Wanted::Nothing } else { Wanted::Part(start, end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        for (range, expected) in [
            ("bytes=0-0", Wanted::Part(0, 1)),
            ("bytes=10-", Wanted::Part(10, 100)),
            ("bytes=-10", Wanted::Part(90, 100)),
            ("bytes=-1000", Wanted::Part(0, 100)),
            ("bytes=90-1000", Wanted::Part(90, 100)),
            ("bytes=0-99999999999999999999", Wanted::Part(0, 100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
        ] {
            assert_eq!(wanted(range, 100), expected, "{range}");
        }
    }

    #[test]
    fn the_embedded_archive_is_one() {
        let header = EMBEDDED.first_chunk().unwrap();
        assert_eq!(fault(header, EMBEDDED.len() as u64), None);
        assert_eq!(fault(header, 1000), Some("it ends before the parts that its header names"));
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let code = |path: &str| Basemap::open(path).err().map(|error| (error.code, error.message));
        let (missing, message) = code("/no/such/file.pmtiles").unwrap();
        assert_eq!(missing, "console.basemap_unreadable");
        assert!(message.contains("/no/such/file.pmtiles"), "{message}");
        let (garbled, message) = code(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        assert_eq!(garbled, "console.basemap_invalid");
        assert!(message.contains("Cargo.toml") && message.contains("`PMTiles`"), "{message}");
        assert_eq!(code(""), None);
    }
}
