//! The way in and out: name and password, a passkey, a one-time link.

use std::sync::Arc;

use axle_app::Password;
use axle_domain::port::WhichSessions;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::Api;
use crate::console::form::Form;
use crate::console::layout::{Nav, document, html_answer, module};
use crate::console::passkey::{Place, absent};
use crate::console::session;
use crate::console::viewer::Viewer;
use crate::problem::Problem;
use crate::visitor::Visitor;

#[derive(Default, Deserialize)]
pub(super) struct Login {
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

/// `GET /login`: uses a link up, or asks who is there.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    method: Method,
    headers: HeaderMap,
    visitor: Visitor,
    query: Result<Query<Login>, QueryRejection>,
) -> Result<Response, Problem> {
    let Login { code, next } = query.map(|query| query.0).unwrap_or_default();
    let next = own_path(&next);
    if code.is_empty() {
        if Viewer::find(&api, &headers).await?.is_some() {
            return Ok(to(next, None));
        }
        let body = sign_in(&Place::of(&api, &visitor), "", next, None);
        return Ok(html_answer(StatusCode::OK, alone("Sign in", body)));
    }
    // Whoever only looks at a link must not use it up.
    if method != Method::GET || !api.links.take(&code) {
        let body = used_up(
            html! { "Run " code { "axle login" } " on the server's machine for a new one." },
        );
        return Ok(html_answer(StatusCode::FORBIDDEN, alone("Link used up", body)));
    }
    let secret = api.app.sessions.open(None).await?;
    tracing::info!(how = "link", "signed in");
    enter(&api, &headers, &visitor, &secret, "/").await
}

/// `POST /login`: name and password.
pub(super) async fn post(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let name = form.text("name").trim().to_lowercase();
    let next = own_path(form.text("next"));
    match by_password(&api, &visitor, &name, form.text("password")).await {
        Ok(secret) => enter(&api, &headers, &visitor, &secret, next).await,
        Err(problem) => {
            let body = sign_in(&Place::of(&api, &visitor), &name, next, Some(&problem));
            let mut response = html_answer(problem.status(), alone("Sign in", body));
            let waits = problem.into_response();
            if let Some(wait) = waits.headers().get(RETRY_AFTER) {
                response.headers_mut().insert(RETRY_AFTER, wait.clone());
            }
            Ok(response)
        }
    }
}

async fn by_password(
    api: &Api,
    visitor: &Visitor,
    name: &str,
    password: &str,
) -> Result<String, Problem> {
    api.sign_ins.take(name, visitor.address)?;
    let secret = api.app.sign_in.by_password(name, Password::presented(password)).await?;
    api.sign_ins.give_back(name, visitor.address);
    Ok(secret)
}

/// `POST /logout`: ends the session.
pub(super) async fn sign_out(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    leave(&api, &headers).await?;
    Ok(to("/login", Some(session::cookie_of_nobody())))
}

/// Leads somebody who has signed in on. The session of before ends.
///
/// # Errors
/// As the state.
pub(super) async fn enter(
    api: &Api,
    headers: &HeaderMap,
    visitor: &Visitor,
    secret: &str,
    next: &str,
) -> Result<Response, Problem> {
    leave(api, headers).await?;
    Ok(to(next, Some(session::cookie(secret, visitor.is_secure))))
}

/// Ends the session of a request, if there is one.
///
/// # Errors
/// As the state.
pub(super) async fn leave(api: &Api, headers: &HeaderMap) -> Result<(), Problem> {
    if let Some(viewer) = Viewer::find(api, headers).await? {
        api.app.sessions.end(WhichSessions::One(viewer.session.hash)).await?;
    }
    Ok(())
}

/// Leads to another page of ours.
pub(super) fn to(target: &str, cookie: Option<String>) -> Response {
    let location = HeaderValue::from_str(target).unwrap_or(HeaderValue::from_static("/"));
    let mut response = (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response();
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// A page without navigation, for who has not signed in yet.
pub(super) fn alone(title: &str, body: Markup) -> Markup {
    document(None, Nav::None, title, body)
}

/// What a link that no longer works leads to.
pub(super) fn used_up(next: Markup) -> Markup {
    html! {
        section .card.narrow {
            h1 { "This link is used up" }
            p { "A link works once, and not for ever." }
            p { (next) }
        }
    }
}

/// What went wrong with a form, above it.
pub(super) fn fault(problem: Option<&Problem>) -> Markup {
    html! {
        @if let Some(problem) = problem {
            div .notice.is-bad role="alert" #fault { p { (problem.detail()) } }
        }
    }
}

fn sign_in(place: &Place, name: &str, next: &str, problem: Option<&Problem>) -> Markup {
    html! {
        section .card.narrow {
            h1 { "Sign in" }
            (fault(problem))
            form action="/login" method="post" {
                input type="hidden" name="next" value=(next);
                div .field {
                    label for="name" { "Name" }
                    input #name name="name" value=(name) required maxlength="64"
                        autocomplete="username" autocapitalize="none" spellcheck="false"
                        autofocus[name.is_empty()];
                }
                div .field {
                    label for="password" { "Password" }
                    input #password type="password" name="password" required
                        autocomplete="current-password" autofocus[!name.is_empty()]
                        aria-describedby=[problem.map(|_| "fault")];
                }
                div .buttons {
                    button .primary type="submit" { "Sign in" }
                    @if place.is_here() {
                        button type="button" hidden data-passkey="get" data-next=(next)
                            data-options="/login/passkey/options" data-finish="/login/passkey" {
                            "Use a passkey"
                        }
                    }
                }
                p .meta role="status" data-passkey-status {}
            }
            (absent(place, "/login"))
            details {
                summary { "No account, or nothing works?" }
                p { "Ask an administrator for an invitation: a new one also replaces a forgotten \
                    password or a lost passkey." }
                p { "Whoever runs the server gets in by a one-time link: run " code { "axle login" }
                    " on its machine, or look at what " code { "axle serve" }
                    " printed at its start." }
            }
            p .meta.alone { a href="/docs" { "API documentation" } }
            (module("passkey.js"))
        }
    }
}

/// A path on this server, else the front page: a link must not lead elsewhere from here.
fn own_path(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//");
    let is_plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_path && is_plain && next.len() <= 2048 { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn nothing_leads_away_from_this_server() {
        for (next, expected) in [
            ("/devices/b-1?x=1", "/devices/b-1?x=1"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("javascript:alert(1)", "/"),
        ] {
            assert_eq!(own_path(next), expected, "{next}");
        }
    }
}
