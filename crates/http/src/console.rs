//! The console: one page that shows what goes on, rendered here and kept up to date by a small
//! script. Nothing on it changes anything.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;
use tokio::time::timeout;

use crate::answer::body_answer;
use crate::api::Api;
use crate::docs_page::head;
use crate::live::Figures;
use crate::ops::healthz;
use crate::problem::Problem;

const SCRIPT: &str = include_str!("asset/app.js");
const STYLE: &str = include_str!("asset/app.css");
const ICON: &str = include_str!("asset/icon.svg");
const HTML: &str = "text/html; charset=utf-8";
/// Something is sent at least so often.
const PULSE: Duration = Duration::from_secs(15);

/// The routes that are not of the API.
pub(crate) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/", get(page))
        .route("/live", get(live))
        .route("/login", get(login))
        .route("/healthz", get(healthz))
        .route("/openapi.json", get(openapi))
        .route("/api/v1/openapi.json", get(openapi))
        .route("/docs", get(docs))
        .route("/app.js", get(|| asset("text/javascript; charset=utf-8", SCRIPT)))
        .route("/app.css", get(|| asset("text/css; charset=utf-8", STYLE)))
        .route("/icon.svg", get(|| asset("image/svg+xml", ICON)))
}

async fn asset(media: &'static str, text: &'static str) -> Response {
    let mut response = body_answer(StatusCode::OK, media, text);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    std::future::ready(response).await
}

async fn openapi(State(api): State<Arc<Api>>) -> Response {
    let json = api.openapi.json.clone();
    std::future::ready(body_answer(StatusCode::OK, "application/json", json)).await
}

async fn docs(State(api): State<Arc<Api>>) -> Response {
    let html = api.openapi.html.clone();
    std::future::ready(body_answer(StatusCode::OK, HTML, html)).await
}

async fn page(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let markup = match api.sessions.is_open(&headers) {
        true => console(&api.figures.borrow()),
        false => notice(
            "Sign in",
            "This console opens with a one-time link. Run axle login on the server's machine, or \
             look at what axle serve printed at its start.",
        ),
    };
    std::future::ready(body_answer(StatusCode::OK, HTML, markup.into_string())).await
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    code: String,
}

async fn login(
    State(api): State<Arc<Api>>,
    method: Method,
    query: Result<Query<Login>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let code = query.map(|query| query.0.code).unwrap_or_default();
    // Whoever only looks at a link must not use it up.
    let cookie = match method == Method::GET {
        true => api.sessions.open(&code)?,
        false => None,
    };
    let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) else {
        let markup = notice(
            "This link is used up",
            "A link works once, and for an hour. Run axle login for a new one.",
        );
        return Ok(body_answer(StatusCode::FORBIDDEN, HTML, markup.into_string()));
    };
    let target = HeaderValue::from_static("/");
    let response = (StatusCode::SEE_OTHER, [(LOCATION, target), (SET_COOKIE, cookie)]);
    std::future::ready(Ok(response.into_response())).await
}

/// The figures of each second as Server-Sent Events.
async fn live(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    if !api.sessions.is_open(&headers) {
        return Err(Problem::unauthenticated("session.missing", "sign in with a one-time link"));
    }
    let permit = Arc::clone(&api.pages).try_acquire_owned().map_err(|_error| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "console.too_many_pages",
            "too many pages are open",
        )
    })?;
    let figures = api.figures.clone();
    let state = (figures, api.stop.clone(), headers, api, permit);
    let events = stream::unfold(state, |mut state| async move {
        let (figures, stop, headers, api, _permit) = &mut state;
        let changed = tokio::select! {
            () = stop.cancelled() => return None,
            changed = timeout(PULSE, figures.changed()) => changed,
        };
        let chunk = match changed {
            Ok(Ok(())) if api.sessions.is_open(headers) => {
                let figures = Arc::clone(&figures.borrow_and_update());
                format!("data: {}\n\n", serde_json::to_string(&*figures).unwrap_or_default())
            }
            Ok(_) => return None,
            Err(_elapsed) => ": pulse\n\n".to_owned(),
        };
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(chunk)), state))
    });
    let media = [(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    Ok((StatusCode::OK, media, Body::from_stream(events)).into_response())
}

fn notice(title: &str, text: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("axle"))
            body { main { h1 { (title) } p { (text) } p { a href="/docs" { "API documentation" } } } }
        }
    }
}

fn console(figures: &Figures) -> Markup {
    let cards = [
        ("messages_per_s", "messages per second", figures.messages_per_s),
        ("rows_per_s", "rows per second", figures.rows_per_s),
        ("devices", "devices", figures.devices as u64),
        ("connections", "connections", figures.connections as u64),
        ("log_records", "messages in the log", figures.log_records),
        ("log_bytes", "bytes in the log", figures.log_bytes),
        ("store_rows", "rows in the store", figures.store_rows),
        ("store_files", "files of the store", figures.store_files),
        ("store_bytes", "bytes of these files", figures.store_bytes),
        ("store_lag", "messages not queryable yet", figures.store_lag),
        ("state_lag", "messages not in latest values yet", figures.state_lag),
        ("quarantined", "set aside in quarantine", figures.quarantined),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("axle"))
            body {
                header {
                    h1 { "axle" }
                    p { span #connection role="status" { "as of loading" } " · "
                        a href="/docs" { "API documentation" } }
                }
                main {
                    p #stuck role="alert" hidden[!figures.is_stuck] {
                        "A projection cannot go on: the server's log says why."
                    }
                    section aria-label="Figures" {
                        dl .cards {
                            @for (name, label, value) in cards {
                                div { dt { (label) } dd data-figure=(name) { (grouped(value)) } }
                            }
                        }
                    }
                    section aria-labelledby="latest-title" {
                        h2 #latest-title { "Latest messages" }
                        (latest(figures))
                    }
                    script src="/app.js" defer {}
                }
            }
        }
    }
}

fn latest(figures: &Figures) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-labelledby="latest-title" {
            table {
                thead { tr { th { "Offset" } th { "Time" } th { "Device" } th { "Topic" }
                    th { "Door" } th { "Bytes" } } }
                tbody #latest {
                    @for message in &figures.latest {
                        tr { td { (message.offset) } td { (message.time) } td { (message.device) }
                            td { (message.topic) } td { (message.source) } td { (message.bytes) } }
                    }
                }
            }
        }
        p #none hidden[!figures.latest.is_empty()] { "No message has come yet." }
    }
}

/// Digits in groups of three, with a thin space between.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn groups_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (1234567, "1 234 567")] {
            assert_eq!(grouped(number).replace('\u{202f}', " "), text);
        }
    }
}
