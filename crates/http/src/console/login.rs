//! The way in and out: one-time links.

use std::sync::Arc;

use axle_domain::port::WhichSessions;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::html;
use serde::Deserialize;

use crate::api::Api;
use crate::console::layout::{Nav, document, html_answer};
use crate::console::session;
use crate::console::viewer::Viewer;
use crate::problem::Problem;
use crate::visitor::Visitor;

#[derive(Default, Deserialize)]
pub(super) struct Login {
    #[serde(default)]
    code: String,
}

/// `GET /login`: uses a link up, or says how to get one.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    method: Method,
    visitor: Visitor,
    query: Result<Query<Login>, QueryRejection>,
) -> Result<Response, Problem> {
    let code = query.map(|query| query.0.code).unwrap_or_default();
    if code.is_empty() {
        return Ok(sign_in());
    }
    // Whoever only looks at a link must not use it up.
    if method != Method::GET || !api.links.take(&code) {
        return Ok(used_up());
    }
    let secret = api.app.sessions.open(None).await?;
    tracing::info!(how = "link", "signed in");
    Ok(to("/", &session::cookie(&secret, visitor.is_secure)))
}

/// `POST /logout`: ends the session.
pub(super) async fn sign_out(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(viewer) = Viewer::find(&api, &headers).await? {
        api.app.sessions.end(WhichSessions::One(viewer.session.hash)).await?;
    }
    Ok(to("/login", &session::cookie_of_nobody()))
}

fn to(target: &'static str, cookie: &str) -> Response {
    let mut response =
        (StatusCode::SEE_OTHER, [(LOCATION, HeaderValue::from_static(target))]).into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

fn sign_in() -> Response {
    let body = html! {
        section .card.narrow {
            h1 { "Sign in" }
            p { "This console opens with a one-time link." }
            p { "Run " code { "axle login" } " on the server's machine, or look at what "
                code { "axle serve" } " printed at its start." }
            p { a href="/docs" { "API documentation" } }
        }
    };
    html_answer(StatusCode::OK, document(None, Nav::None, "Sign in", body))
}

fn used_up() -> Response {
    let body = html! {
        section .card.narrow {
            h1 { "This link is used up" }
            p { "A link works once, and for an hour." }
            p { "Run " code { "axle login" } " on the server's machine for a new one." }
        }
    };
    html_answer(StatusCode::FORBIDDEN, document(None, Nav::None, "Link used up", body))
}
