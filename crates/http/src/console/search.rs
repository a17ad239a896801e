//! `/search`: devices, components and people by whatever somebody has at hand; where the field
//! in every page's header leads.

use std::sync::Arc;

use axle_app::Found;
use axle_domain::{Access, SearchField, SearchKind, SearchMatch, limit};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use crate::answer::encode;
use crate::api::Api;
use crate::console::layout::{Nav, empty, heading, html_answer, page};
use crate::console::viewer::Viewer;
use crate::problem::Problem;

/// Hits that a page shows.
const PAGE: usize = 50;
/// Hits that the header shows.
const QUICK: usize = 8;

#[derive(Default, Deserialize)]
pub(super) struct Ask {
    #[serde(default)]
    q: String,
}

/// The page, or its hits alone where htmx asks while someone types. The only hit there is, if it
/// is what was typed, is shown at once.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    headers: HeaderMap,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    let text = query.map(|query| query.0.q).unwrap_or_default();
    let text: String = text.trim().chars().take(limit::SEARCH_CHARS_MAX).collect();
    let found = api.app.search.find(&viewer.principal, &text, PAGE).await?;
    if headers.contains_key("hx-request") {
        return Ok(html_answer(StatusCode::OK, hits(&text, &found, &viewer)));
    }
    if let [only] = found.as_slice()
        && only.hit.entry.id == text
        && let Some(address) = address(only, &viewer)
    {
        return Ok(Redirect::to(&address).into_response());
    }
    let body = html! {
        (heading("Search", html! {}))
        form .bar.filter role="search" aria-label="Everything" action="/search" method="get" {
            label .hidden for="everything" { "Find devices, components and people" }
            input #everything type="search" name="q" value=(text) maxlength="64"
                placeholder="Id, serial, name or model, or a part of one" autocomplete="off"
                hx-get="/search" hx-target="#hits" hx-push-url="true" hx-sync="this:replace"
                hx-trigger="input changed delay:150ms, search";
            button type="submit" { "Find" }
        }
        div #hits aria-live="polite" { (hits(&text, &found, &viewer)) }
    };
    Ok(page(&viewer, Nav::None, "Search", body))
}

/// The best few hits as a short list, for the field in every page's header while someone types.
pub(super) async fn quick(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    let text = query.map(|query| query.0.q).unwrap_or_default();
    let found = api.app.search.find(&viewer.principal, text.trim(), QUICK).await?;
    let list = html! {
        @if !found.is_empty() { ul { @for found in &found { li {
            a href=[address(found, &viewer)] {
                strong { (found.hit.entry.id) } " " (found.hit.entry.name) " "
                span .quiet { (found.hit.entry.what) }
            }
        } } } }
        @else if !text.trim().is_empty() { p .quiet { "Nothing matches" } }
    };
    Ok(html_answer(StatusCode::OK, list))
}

fn hits(text: &str, found: &[Found], viewer: &Viewer) -> Markup {
    if found.is_empty() {
        return match text {
            "" => empty(
                "What are you looking for?",
                html! { p { "Type an id, a serial, a name or a model, or three characters of \
                one. Dashes, capitals and a typo do not matter." } },
            ),
            _ => empty(
                "Nothing matches",
                html! { p { "Nothing is like that. Try fewer characters, or "
                a href="/devices" { "look through the devices" } "." } },
            ),
        };
    }
    html! {
        section .panel.flush aria-label="Hits" {
            div .scroll tabindex="0" role="group" aria-label="Table of hits" {
                table {
                    thead { tr { th { "What" } th { "Id" } th { "Name" } th { "Model" }
                        th { "Belongs to" } th { "Why" } } }
                    tbody { @for found in found { (row(found, viewer)) } }
                }
            }
        }
    }
}

fn row(found: &Found, viewer: &Viewer) -> Markup {
    let entry = &found.hit.entry;
    let what = if entry.what.is_empty() { entry.kind.as_str() } else { &entry.what };
    html! {
        tr {
            td { (what) }
            td { a href=[address(found, viewer)] { (entry.id) } }
            td { (entry.name) }
            td { (entry.model) }
            td {
                @for device in found.devices.iter().take(3) {
                    a href={ "/devices/" (encode(device.as_str())) } { (device) } " "
                }
                @if found.devices.len() > 3 { "and " (found.devices.len() - 3) " more" }
            }
            td .quiet { (why(found)) }
        }
    }
}

/// Where a hit leads; the page of people is for administrators alone.
fn address(found: &Found, viewer: &Viewer) -> Option<String> {
    let id = encode(&found.hit.entry.id);
    match found.hit.entry.kind {
        SearchKind::Device => Some(format!("/devices/{id}")),
        SearchKind::Component => Some(format!("/components/{id}")),
        SearchKind::User => {
            viewer.principal.allows(Access::Administer).then(|| "/users".to_owned())
        }
    }
}

fn why(found: &Found) -> String {
    let field = match found.hit.reason.field {
        SearchField::Id => match found.hit.entry.kind {
            SearchKind::Component => "serial",
            SearchKind::Device | SearchKind::User => "id",
        },
        SearchField::Name => "name",
        SearchField::Model => "model",
        SearchField::Kind => "kind",
    };
    match found.hit.reason.matched {
        SearchMatch::Exact => format!("is a word of its {field}"),
        SearchMatch::Prefix => format!("begins a word of its {field}"),
        SearchMatch::Part => format!("is part of its {field}"),
        SearchMatch::Fuzzy => format!("is like its {field}"),
    }
}
