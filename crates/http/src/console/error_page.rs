//! Errors as pages: as clear as the API's problems, with the same code and the same id of the
//! request.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, HeaderMap};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use crate::api::Api;
use crate::console::layout::{self, Nav};
use crate::console::viewer::Viewer;
use crate::origin::require_same_origin;
use crate::problem::Problem;

/// Asks for an answer's problem to be written as HTML.
#[derive(Clone, Debug)]
pub(crate) struct AsPage {
    viewer: Option<Viewer>,
    is_part: bool,
}

impl AsPage {
    /// Whether, and how, a request wants to read its error.
    async fn wanted(api: &Api, headers: &HeaderMap) -> Option<Self> {
        let is_part = headers.contains_key("hx-request");
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let is_page = accept.is_some_and(|accept| accept.contains("text/html"));
        if !is_part && !is_page {
            return None;
        }
        // An error page is there without a viewer too.
        let viewer = Viewer::find(api, headers).await.ok().flatten();
        Some(Self { viewer, is_part })
    }

    /// The body of the answer.
    pub(crate) fn body(&self, problem: &Problem, request_id: &str) -> Body {
        let notice = notice(problem, request_id);
        if self.is_part {
            return Body::from(notice.into_string());
        }
        let title = problem.status().canonical_reason().unwrap_or("Error");
        let body = html! {
            h1 { (title) }
            (notice)
            p { a href="/" { "Go to the overview" } }
        };
        Body::from(layout::document(self.viewer.as_ref(), Nav::None, title, body).into_string())
    }
}

/// What went wrong, as a box that stands at the place it is about.
pub(crate) fn notice(problem: &Problem, request_id: &str) -> Markup {
    html! {
        div .notice.is-bad role="alert" {
            p { strong { (problem.detail()) } }
            p .meta {
                "Code " code { (problem.code()) }
                " · status " (problem.status().as_u16())
                " · request " code { (request_id) }
            }
        }
    }
}

/// Wraps the console's routes: what changes something comes from our own pages alone, and errors
/// are pages where a person reads them.
pub(super) async fn surround(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    let wanted = AsPage::wanted(&api, request.headers()).await;
    let is_change = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let is_change = is_change.contains(request.method());
    let allowed = if is_change { require_same_origin(request.headers()) } else { Ok(()) };
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(wanted) = wanted {
        response.extensions_mut().insert(wanted);
    }
    response
}

/// The answer to a path that no route has.
pub(super) async fn no_page(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let mut response = Problem::of_status(StatusCode::NOT_FOUND).into_response();
    if let Some(wanted) = AsPage::wanted(&api, &headers).await {
        response.extensions_mut().insert(wanted);
    }
    response
}
