//! Parts of a page as Server-Sent Events: HTML that was rendered here, sent when it changes. A
//! small script puts each where its name stands.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use maud::Markup;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::answer::body_answer;
use crate::api::Api;
use crate::console::viewer::Viewer;
use crate::problem::Problem;

/// Something is sent at least so often, so that both sides notice a dead connection; whether the
/// session lasts is asked as often.
const PULSE: Duration = Duration::from_secs(15);

/// A part of a page: the name of its place and what stands there from now on.
pub(crate) struct Part {
    name: &'static str,
    html: String,
    is_line: bool,
}

impl Part {
    /// What stands at a place from now on.
    pub(crate) fn new(name: &'static str, markup: Markup) -> Self {
        Self { name, html: markup.into_string(), is_line: false }
    }

    /// What comes on top of what stands at a place; sent even where it equals the one before.
    pub(crate) fn line(name: &'static str, markup: Markup) -> Self {
        Self { name, html: markup.into_string(), is_line: true }
    }
}

/// Answers with the parts that a source yields, each only where it differs from what was sent
/// before, until the source ends, the session ends or the server stops.
///
/// # Errors
/// 429 when too many pages are open.
pub(crate) fn answer(
    api: &Arc<Api>,
    headers: &HeaderMap,
    source: impl Stream<Item = Vec<Part>> + Send + 'static,
) -> Result<Response, Problem> {
    let permit = Arc::clone(&api.pages).try_acquire_owned().map_err(|_error| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "console.too_many_pages",
            "too many pages are kept up to date: close some, or load this one by hand",
        )
    })?;
    let feed = Feed {
        api: Arc::clone(api),
        headers: headers.clone(),
        source: Box::pin(source),
        sent: BTreeMap::new(),
        _permit: permit,
    };
    // The stream is asked for more only when the socket takes more: nothing queues up here.
    let events = stream::unfold(feed, |mut feed| async move {
        let chunk = feed.next().await?;
        Some((Ok::<_, Infallible>(chunk), feed))
    });
    Ok(body_answer(StatusCode::OK, "text/event-stream", Body::from_stream(events)))
}

struct Feed {
    api: Arc<Api>,
    headers: HeaderMap,
    source: Pin<Box<dyn Stream<Item = Vec<Part>> + Send>>,
    sent: BTreeMap<&'static str, String>,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    async fn next(&mut self) -> Option<Bytes> {
        let stop = self.api.stop.clone();
        loop {
            let parts = tokio::select! {
                () = stop.cancelled() => return None,
                parts = timeout(PULSE, self.source.next()) => parts,
            };
            // Who has signed out sees nothing more.
            Viewer::find(&self.api, &self.headers).await.ok()??;
            let parts = match parts {
                Ok(parts) => parts?,
                Err(_elapsed) => return Some(Bytes::from_static(b": pulse\n\n")),
            };
            let chunk = self.write(parts);
            if !chunk.is_empty() {
                return Some(Bytes::from(chunk));
            }
        }
    }

    fn write(&mut self, parts: Vec<Part>) -> String {
        let mut chunk = String::new();
        for part in parts {
            if self.sent.get(part.name) == Some(&part.html) {
                continue;
            }
            push_event(&mut chunk, part.name, &part.html);
            if !part.is_line {
                self.sent.insert(part.name, part.html);
            }
        }
        chunk
    }
}

/// One event; a line of its text is one line of data.
pub(crate) fn push_event(chunk: &mut String, name: &str, text: &str) {
    chunk.push_str("event: ");
    chunk.push_str(name);
    for line in text.split(['\n', '\r']) {
        chunk.push_str("\ndata: ");
        chunk.push_str(line);
    }
    chunk.push_str("\n\n");
}

#[cfg(test)]
mod tests {
    use super::push_event;

    #[test]
    fn no_text_can_end_an_event_early() {
        let mut chunk = String::new();
        push_event(&mut chunk, "a", "x\n\ny\rz");
        assert_eq!(chunk, "event: a\ndata: x\ndata: \ndata: y\ndata: z\n\n");
    }
}
