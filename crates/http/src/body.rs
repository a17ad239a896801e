//! Request bodies: read within a size and at a least speed, or thrown away within bounds.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, HeaderMap};
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::problem::Problem;

/// A body must bring [`WINDOW_BYTES_MIN`] in each window of this length.
const WINDOW: Duration = Duration::from_secs(10);
/// 1 KiB per second.
const WINDOW_BYTES_MIN: usize = 10 * 1024;
/// What is read of a body that was refused, so that the client gets to see the answer.
const DRAIN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// For how long.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);

/// Reads a body whole.
///
/// # Errors
/// 413 over the limit (before reading where the length is declared), 408 where the client is too
/// slow, 400 where it ends before its length.
pub(crate) async fn read_body(
    mut body: Body,
    headers: &HeaderMap,
    limit: usize,
    code: &'static str,
) -> Result<Bytes, Problem> {
    check_length(headers, limit, code)?;
    let mut whole = BytesMut::new();
    let mut first: Option<Bytes> = None;
    let mut received = 0_usize;
    let (mut deadline, mut in_window) = (Instant::now() + WINDOW, 0_usize);
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(frame)) => frame.map_err(|_error| incomplete())?,
            Ok(None) => break,
            Err(_elapsed) if in_window >= WINDOW_BYTES_MIN => {
                (deadline, in_window) = (Instant::now() + WINDOW, 0);
                continue;
            }
            Err(_elapsed) => return Err(too_slow(received)),
        };
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        in_window += data.len();
        if received > limit {
            return Err(over(code, limit, received as u64));
        }
        match first.take() {
            // Most bodies are one chunk: no copy for them.
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(before) => {
                whole.reserve(before.len() + data.len());
                whole.extend_from_slice(&before);
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

/// Refuses a body whose declared length is over the limit.
pub(crate) fn check_length(
    headers: &HeaderMap,
    limit: usize,
    code: &'static str,
) -> Result<(), Problem> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match declared.and_then(|text| text.parse::<u64>().ok()) {
        Some(declared) if declared > limit as u64 => Err(over(code, limit, declared)),
        _ => Ok(()),
    }
}

fn over(code: &'static str, limit: usize, actual: u64) -> Problem {
    Problem::too_large(code, format!("the body is at most {limit} bytes"), limit, actual).closing()
}

fn too_slow(received: usize) -> Problem {
    let detail = format!("the body came at less than 1 KiB/s: {received} bytes until now");
    Problem::new(StatusCode::REQUEST_TIMEOUT, "request.too_slow", detail).closing()
}

fn incomplete() -> Problem {
    Problem::bad_request("request.body_incomplete", "the body ended before its length").closing()
}

/// A request body that, when nobody reads it to its end, is read on and thrown away for a while:
/// a connection that is closed over unread bytes takes the answer with it.
pub(crate) struct Drained {
    inner: Option<Body>,
    tasks: TaskTracker,
}

impl Drained {
    /// Watches over a body.
    pub(crate) fn new(inner: Body, tasks: TaskTracker) -> Self {
        Self { inner: Some(inner), tasks }
    }
}

impl HttpBody for Drained {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let polled = Pin::new(inner).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.inner = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take() else { return };
        if inner.is_end_stream() || self.tasks.is_closed() {
            return;
        }
        self.tasks.spawn(async move {
            let deadline = Instant::now() + DRAIN_TIME_MAX;
            let mut left = DRAIN_BYTES_MAX;
            while let Ok(Some(Ok(frame))) = timeout_at(deadline, inner.frame()).await {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                left = match left.checked_sub(bytes) {
                    Some(left) => left,
                    None => return,
                };
            }
        });
    }
}
